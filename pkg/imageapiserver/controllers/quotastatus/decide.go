package quotastatus

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

// counts tells whether a quota has a name that this controller counts.
func counts(q *corev1.ResourceQuota) bool {
	if !quota.Constrains(q) {
		return false
	}
	for _, name := range quota.Reconciled() {
		if _, found := q.Spec.Hard[name]; found {
			return true
		}
	}
	return false
}

// corrected returns the quota with the usage counted, and whether that differs
// from what it says. What is pending is added: its streams are not counted yet.
// While others go on reserving (inMotion), theirs are not counted yet either, so
// that less is believed only where the quota refuses.
func corrected(q *corev1.ResourceQuota, used, pending quota.Amounts, inMotion bool) (*corev1.ResourceQuota, bool) {
	next, differs := q.DeepCopy(), false
	for _, name := range quota.Reconciled() {
		hard, limited := q.Spec.Hard[name]
		if !limited {
			continue
		}
		amount := *resource.NewQuantity(used[name]+pending[name], resource.DecimalSI)
		published, found := q.Status.Used[name]
		if inMotion && found && amount.Cmp(published) < 0 && published.Cmp(hard) < 0 {
			continue
		}
		if !found || published.Cmp(amount) != 0 {
			set(&next.Status.Used, name, amount)
			differs = true
		}
		if _, found := q.Status.Hard[name]; !found {
			set(&next.Status.Hard, name, hard)
			differs = true
		}
	}
	return next, differs
}

func hasAny(amounts quota.Amounts) bool {
	for _, amount := range amounts {
		if amount != 0 {
			return true
		}
	}
	return false
}

func set(list *corev1.ResourceList, name corev1.ResourceName, quantity resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = quantity
}

// usageDiffers tells whether status.used changed for a name that is counted.
func usageDiffers(old, current *corev1.ResourceQuota) bool {
	return differ(old.Status.Used, current.Status.Used)
}

func hardDiffers(old, current *corev1.ResourceQuota) bool {
	return differ(old.Spec.Hard, current.Spec.Hard) || differ(old.Status.Hard, current.Status.Hard)
}

func differ(old, current corev1.ResourceList) bool {
	for _, name := range quota.Reconciled() {
		before, had := old[name]
		now, has := current[name]
		if had != has || before.Cmp(now) != 0 {
			return true
		}
	}
	return false
}

// waits remembers when somebody reserved or stored, so that a namespace is counted
// in a quiet moment.
type waits struct {
	mu         *sync.Mutex
	namespaces map[string]*activity
}

type activity struct{ first, last time.Time }

func newWaits() waits { return waits{mu: &sync.Mutex{}, namespaces: map[string]*activity{}} }

func (w waits) busy(namespace string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	current := w.namespaces[namespace]
	if current == nil || now.Sub(current.last) > quiet {
		current = &activity{first: now}
		w.namespaces[namespace] = current
	}
	current.last = now
}

// left is how long a namespace has to wait; zero begins anew. It is in motion when it was not quiet but waited
// long enough.
func (w waits) left(namespace string, now time.Time) (left time.Duration, inMotion bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	current := w.namespaces[namespace]
	if current == nil {
		return 0, false
	}
	calm := current.last.Add(quiet)
	until := calm
	if latest := current.first.Add(patience); latest.Before(until) {
		until = latest
	}
	if left := until.Sub(now); left > 0 {
		return left, false
	}
	delete(w.namespaces, namespace)
	return 0, now.Before(calm)
}
