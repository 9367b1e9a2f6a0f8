package trigger

import (
	"sync"
	"time"
)

const (
	// revertsTolerated patches to the same reference within revertWindow mean that something reverts them.
	revertsTolerated = 3
	revertWindow     = 10 * time.Minute
	// truceInterval is the time between two attempts from then on.
	truceInterval = time.Hour
)

// guard keeps the controller from fighting: it remembers when each field was set to what. Its times come from
// the caller.
type guard struct {
	mu    sync.Mutex
	known map[workload]map[string]*attempts
}

// attempts are the patches of one field to one reference.
type attempts struct {
	reference string
	times     []time.Time
	// contested is set while only one attempt an hour is made.
	contested bool
}

func newGuard() *guard { return &guard{known: map[workload]map[string]*attempts{}} }

// verdict is what the guard says about one field.
type verdict struct {
	// wait is how long the field has to be left alone; 0 allows the patch.
	wait time.Duration
	// begins is true when the conflict has just been found.
	begins bool
}

// ask says whether a field may be set to a reference now.
func (g *guard) ask(w workload, field, reference string, now time.Time) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.known[w][field]
	if a == nil || a.reference != reference || len(a.times) == 0 {
		return verdict{}
	}
	since := now.Sub(a.times[len(a.times)-1])
	if a.contested {
		return verdict{wait: max(0, truceInterval-since)}
	}
	recent := 0
	for _, at := range a.times {
		if now.Sub(at) < revertWindow {
			recent++
		}
	}
	if recent < revertsTolerated {
		return verdict{}
	}
	a.contested = true
	return verdict{wait: max(0, truceInterval-since), begins: true}
}

// patched notes that a field was set to a reference.
func (g *guard) patched(w workload, field, reference string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[w] == nil {
		g.known[w] = map[string]*attempts{}
	}
	a := g.known[w][field]
	if a == nil || a.reference != reference {
		a = &attempts{reference: reference}
		g.known[w][field] = a
	}
	a.times = append(a.times, now)
	if len(a.times) > revertsTolerated {
		a.times = a.times[len(a.times)-revertsTolerated:]
	}
}

// forget drops a workload that has no triggers any more.
func (g *guard) forget(w workload) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.known, w)
}
