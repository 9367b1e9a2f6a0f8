package apply

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// write bridges the time until the cache has seen our own request. Before is the version that the request
// changed, empty when it created the object.
type write struct {
	before string
	after  *unstructured.Unstructured
	at     time.Time
}

// bridge is the longest time for which a request of our own hides the cache. A cache that is further behind
// does not lag: the API server was restored, and its versions count from an earlier number.
const bridge = time.Minute

// newer is the cached object, or the outcome of our own request while the cache has not seen it.
func (a *Applier) newer(ref Ref, cached *unstructured.Unstructured) *unstructured.Unstructured {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.written[ref]
	if !ok {
		return cached
	}
	if a.Clock.Now().Sub(last.at) < bridge && behind(cached.GetResourceVersion(), last) {
		return last.after
	}
	delete(a.written, ref)
	return cached
}

// behind says whether the cache has not seen the request yet. It may have seen changes of others that came
// between.
func behind(cached string, last write) bool {
	order, err := resourceversion.CompareResourceVersion(cached, last.after.GetResourceVersion())
	if err != nil {
		return cached == last.before
	}
	return order < 0
}

// unseen returns an object that was created a moment ago and that the cache does not hold yet.
func (a *Applier) unseen(ref Ref) *unstructured.Unstructured {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last, ok := a.written[ref]; ok && last.before == "" && a.Clock.Now().Sub(last.at) < bridge {
		return last.after
	}
	return nil
}

func (a *Applier) remember(ref Ref, before string, after *unstructured.Unstructured) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.written[ref] = write{before: before, after: after, at: a.Clock.Now()}
}

func (a *Applier) forget(ref Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.written, ref)
}
