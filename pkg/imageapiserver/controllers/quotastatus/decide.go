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

// counted is what a namespace uses, and how sure that is.
type counted struct {
	// used is what the streams use that are known here.
	used quota.Amounts
	// pending is what requests to this process have reserved and not settled.
	pending quota.Amounts
	// freed is what deletions have taken away since the last correction.
	freed quota.Amounts
	// calm says that nobody can be between reservation and stream any more.
	calm bool
}

// corrected returns the quota with the usage counted, and whether that differs
// from what it says. Unless it is calm, other replicas may have reserved for
// streams that are not known here: then usage rises to what is stored for sure,
// and falls by what was freed, never below what is counted.
func corrected(q *corev1.ResourceQuota, c counted) (*corev1.ResourceQuota, bool) {
	next, differs := q.DeepCopy(), false
	for _, name := range quota.Reconciled() {
		hard, limited := q.Spec.Hard[name]
		if !limited {
			continue
		}
		published, found := q.Status.Used[name]
		amount := c.used[name] + c.pending[name]
		if found && !c.calm {
			amount = max(min(amount, published.Value()), c.used[name], published.Value()-c.freed[name])
		}
		if !found || published.CmpInt64(amount) != 0 {
			set(&next.Status.Used, name, *resource.NewQuantity(amount, resource.DecimalSI))
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

// activities remembers when somebody reserved or stored in a namespace, and what
// was freed there since it was corrected.
type activities struct {
	mu         sync.Mutex
	namespaces map[string]*activity
	// begin is when the memory began.
	begin time.Time
}

type activity struct {
	last  time.Time
	freed quota.Amounts
}

// reset forgets everything: what happened while another replica corrected the
// usage is not known.
func (a *activities) reset(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.namespaces, a.begin = map[string]*activity{}, now
}

// busy notes that somebody may be between reservation and stream.
func (a *activities) busy(namespace string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(namespace).last = now
}

// free notes what deletions took away.
func (a *activities) free(namespace string, amounts quota.Amounts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.of(namespace)
	freed := quota.Amounts{}
	for name, amount := range current.freed {
		freed[name] += amount
	}
	for name, amount := range amounts {
		freed[name] += amount
	}
	current.freed = freed
}

func (a *activities) of(namespace string) *activity {
	current := a.namespaces[namespace]
	if current == nil {
		current = &activity{last: a.begin}
		a.namespaces[namespace] = current
	}
	return current
}

// take returns what was freed, which is then forgotten, and the time until the
// namespace is calm, 0 if it is.
func (a *activities) take(namespace string, now time.Time) (freed quota.Amounts, left time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.of(namespace)
	freed, current.freed = current.freed, nil
	if left = current.last.Add(calm).Sub(now); left > 0 {
		return freed, left
	}
	delete(a.namespaces, namespace)
	return freed, 0
}
