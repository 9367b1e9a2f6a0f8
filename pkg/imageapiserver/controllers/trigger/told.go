package trigger

import "sync"

// told remembers what the owner of a workload was told last, so that an annotation that stays wrong does not
// fill his list of Events.
type told struct {
	mu   sync.Mutex
	last map[workload]map[string]string
}

func newTold() *told { return &told{last: map[workload]map[string]string{}} }

// isNew notes a text under a reason and tells whether the one before was different. The empty text is that
// of no problem.
func (t *told) isNew(w workload, reason, text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last[w][reason] == text {
		return false
	}
	if t.last[w] == nil {
		t.last[w] = map[string]string{}
	}
	t.last[w][reason] = text
	return true
}

func (t *told) forget(w workload) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.last, w)
}
