package digestcache

import (
	"time"

	"github.com/opencontainers/go-digest"
)

// maxRemovals bounds what is remembered about removals.
const maxRemovals = 16384

func digestKey(d digest.Digest) string       { return "digest " + string(d) }
func repositoryKey(repository string) string { return "repository " + repository }

type removal struct {
	mark Mark
	at   time.Time
}

// removals remembers when something was removed last. What is older than everything that
// may still be in the cache is forgotten; who looked before that may add nothing.
type removals struct {
	ttl   time.Duration
	now   Mark
	floor Mark
	last  map[string]removal
}

func newRemovals(ttl time.Duration) removals {
	return removals{ttl: ttl, last: map[string]removal{}}
}

// since tells whether the key was, or may have been, removed after the mark.
func (r *removals) since(mark Mark, key string) bool {
	return mark < r.floor || r.last[key].mark > mark
}

// note records a removal. It returns false when there were too many in a short time: then
// all that came before has to go.
func (r *removals) note(key string, now time.Time) bool {
	r.now++
	r.last[key] = removal{mark: r.now, at: now}
	if len(r.last) <= maxRemovals {
		return true
	}
	for old, one := range r.last {
		if now.Sub(one.at) > r.ttl {
			r.floor = max(r.floor, one.mark)
			delete(r.last, old)
		}
	}
	if len(r.last) <= maxRemovals*3/4 {
		return true
	}
	r.floor = r.now
	clear(r.last)
	return false
}
