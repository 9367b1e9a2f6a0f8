package agent

import (
	"time"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

const (
	// stableFor is how long inputs must not change before something is removed without a matching hash.
	stableFor = 3 * time.Minute
	// missingFor is how long inputs may be missing before the Pod is not ready.
	missingFor = 5 * time.Minute

	// sweepEvery is how often what an agent left that died, or failed to remove, is looked for.
	sweepEvery = 15 * time.Minute

	repairWindow  = 10 * time.Minute
	maxRepairs    = 5
	contestedWait = 5 * time.Minute
	// hostsInterval is the shortest time between two writes to /etc/hosts.
	hostsInterval = 10 * time.Second
)

// removalGuard decides when something that disappeared from the inputs may be removed from the node.
// The two volumes are updated at different times, and a ConfigMap emptied by mistake must not take
// trust away from all nodes.
type removalGuard struct {
	fingerprint string
	since       time.Time
}

// allows reports whether the inputs are to be believed when they lack something.
func (g *removalGuard) allows(in *inputs.Inputs, now time.Time) bool {
	if fingerprint := in.Fingerprint(); fingerprint != g.fingerprint || g.since.IsZero() {
		g.fingerprint, g.since = fingerprint, now
	}
	if in.Missing || in.Config == nil {
		return false
	}
	return in.Config.Hash == in.Hash || now.Sub(g.since) >= stableFor
}

// repairs remembers when something was repaired that somebody else had changed, and slows down when
// that happens again and again: another manager wants it otherwise, and nobody gains from a fight.
type repairs struct{ times []time.Time }

func (r *repairs) add(now time.Time) { r.times = append(r.times, now) }

// held reports whether the next repair has to wait.
func (r *repairs) held(now time.Time) bool {
	for len(r.times) > 0 && now.Sub(r.times[0]) > repairWindow {
		r.times = r.times[1:]
	}
	return len(r.times) > maxRepairs && now.Sub(r.times[len(r.times)-1]) < contestedWait
}

// contests holds the repairs of all hosts.
type contests map[string]*repairs

func (c contests) held(key string, now time.Time) bool {
	found := c[key]
	return found != nil && found.held(now)
}

func (c contests) add(key string, now time.Time) {
	if c[key] == nil {
		c[key] = &repairs{}
	}
	c[key].add(now)
}
