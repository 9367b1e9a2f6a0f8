package pullsecret

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"image.alauda.io/registry/pkg/operator/keyed"
)

// driftEventInterval bounds how often one ServiceAccount is complained about.
const driftEventInterval = time.Hour

// memory is what must not be written into the cluster: the pace of injections, what was complained
// about, and since when a key fails. It is lost at a restart, which does no harm.
type memory struct {
	*sync.Mutex
	injections map[types.NamespacedName][]time.Time
	// mended are the times at which a token was written.
	mended map[types.NamespacedName][]time.Time
	// discarded are those at which Secrets were deleted that could not be mended, or were too many.
	discarded map[types.NamespacedName][]time.Time
	// written is the version in which a token was written last.
	written   map[types.NamespacedName]string
	drifted   map[types.NamespacedName]time.Time
	conflicts map[types.NamespacedName]types.UID
	failing   map[types.NamespacedName]time.Time
	// crowded are those of failing whose namespace has no room for a Secret.
	crowded map[types.NamespacedName]bool
	// arrivals are ServiceAccounts that were created while this process watched and have no credential yet.
	arrivals map[types.NamespacedName]time.Time
}

func newMemory() memory {
	return memory{
		Mutex:      &sync.Mutex{},
		injections: map[types.NamespacedName][]time.Time{},
		mended:     map[types.NamespacedName][]time.Time{},
		discarded:  map[types.NamespacedName][]time.Time{},
		written:    map[types.NamespacedName]string{},
		drifted:    map[types.NamespacedName]time.Time{},
		conflicts:  map[types.NamespacedName]types.UID{},
		failing:    map[types.NamespacedName]time.Time{},
		crowded:    map[types.NamespacedName]bool{},
		arrivals:   map[types.NamespacedName]time.Time{},
	}
}

func (m memory) forget(key types.NamespacedName) {
	m.Lock()
	defer m.Unlock()
	delete(m.injections, key)
	delete(m.mended, key)
	delete(m.discarded, key)
	delete(m.written, key)
	delete(m.drifted, key)
	delete(m.conflicts, key)
	delete(m.failing, key)
	delete(m.crowded, key)
	delete(m.arrivals, key)
}

// tidy forgets the writes that do not count any more: most ServiceAccounts are written to once in half a day.
func (m memory) tidy(key types.NamespacedName, now time.Time) {
	m.Lock()
	defer m.Unlock()
	for _, writes := range []map[types.NamespacedName][]time.Time{m.injections, m.mended, m.discarded} {
		if recentInjections(writes[key], now) == nil {
			delete(writes, key)
		}
	}
	if len(m.mended[key]) == 0 {
		delete(m.written, key)
	}
	if last, ok := m.drifted[key]; ok && now.Sub(last) >= driftEventInterval {
		delete(m.drifted, key)
	}
}

func (m memory) arrived(key types.NamespacedName, now time.Time) {
	m.Lock()
	defer m.Unlock()
	m.arrivals[key] = now
}

// settled ends the wait of a ServiceAccount and returns when it began; false if it was not waited for.
func (m memory) settled(key types.NamespacedName) (since time.Time, waited bool) {
	m.Lock()
	defer m.Unlock()
	since, waited = m.arrivals[key]
	delete(m.arrivals, key)
	return since, waited
}

// next is when one more of the writes is allowed, by the rule of nextInjection, and whether there were too many.
func (m memory) next(writes map[types.NamespacedName][]time.Time, key types.NamespacedName, now time.Time) (at time.Time, drifting bool) {
	m.Lock()
	defer m.Unlock()
	return nextInjection(writes[key], now)
}

func (m memory) note(writes map[types.NamespacedName][]time.Time, key types.NamespacedName, now time.Time) {
	m.Lock()
	defer m.Unlock()
	writes[key] = append(recentInjections(writes[key], now), now)
}

// contested tells whether tokens were written so often that the next one has to wait.
func (m memory) contested(key types.NamespacedName, now time.Time) bool {
	at, drifting := m.next(m.mended, key, now)
	return drifting && at.After(now)
}

// behind tells whether the cached Secret is older than what was written a moment ago: to decide about it would cost
// another token.
func (m memory) behind(key types.NamespacedName, cached *Secret) bool {
	m.Lock()
	defer m.Unlock()
	written, known := m.written[key]
	if !known || cached == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(cached.Version, written)
	return err == nil && order < 0
}

func (m memory) wroteVersion(key types.NamespacedName, version string) {
	m.Lock()
	defer m.Unlock()
	m.written[key] = version
}

// drift tells whether the drift of key is to be reported now.
func (m memory) drift(key types.NamespacedName, now time.Time) bool {
	m.Lock()
	defer m.Unlock()
	if last, ok := m.drifted[key]; ok && now.Sub(last) < driftEventInterval {
		return false
	}
	m.drifted[key] = now
	return true
}

// conflict tells whether the foreign Secret was not reported yet.
func (m memory) conflict(key types.NamespacedName, uid types.UID) bool {
	m.Lock()
	defer m.Unlock()
	if m.conflicts[key] == uid && uid != "" {
		return false
	}
	m.conflicts[key] = uid
	return true
}

// resolved takes back that the name of the Secret is taken.
func (m memory) resolved(key types.NamespacedName) {
	m.Lock()
	defer m.Unlock()
	delete(m.conflicts, key)
}

// conflicting tells whether the name of the Secret was found to be taken.
func (m memory) conflicting(key types.NamespacedName) bool {
	m.Lock()
	defer m.Unlock()
	_, taken := m.conflicts[key]
	return taken
}

// result remembers since when a key fails. Conflicts are not failures. A namespace that had no room and refuses for
// another reason fails since then.
func (m memory) result(key types.NamespacedName, now time.Time, err error) {
	m.Lock()
	defer m.Unlock()
	switch keyed.Classify(err) {
	case keyed.Done:
		delete(m.failing, key)
		delete(m.crowded, key)
	case keyed.Later:
		crowded := overQuota(err)
		if _, known := m.failing[key]; !known || m.crowded[key] && !crowded {
			m.failing[key] = now
		}
		delete(m.crowded, key)
		if crowded {
			m.crowded[key] = true
		}
	}
}

// fails tells which keys fail, and for which of them the namespace itself is to blame.
func (m memory) fails() (failing map[types.NamespacedName]time.Time, crowded map[types.NamespacedName]bool) {
	m.Lock()
	defer m.Unlock()
	return maps.Clone(m.failing), maps.Clone(m.crowded)
}
