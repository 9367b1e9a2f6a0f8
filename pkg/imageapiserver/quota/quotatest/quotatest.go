// Package quotatest lets a clientset in memory treat ResourceQuotas as
// kube-apiserver does, for tests of what reserves quota.
//
// In: a fake clientset. Out: the same, in which each write of a quota has a new
// resourceVersion, and a write of an old one is a conflict. It is for tests
// only.
package quotatest

import (
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// Quotas watches over the writes of quotas.
type Quotas struct {
	client *fake.Clientset
	// Before, if set, runs before each write.
	Before func()

	mu                sync.Mutex
	writes, conflicts int
}

var resource = corev1.SchemeGroupVersion.WithResource("resourcequotas")

// Guard changes how the clientset writes quotas.
func Guard(client *fake.Clientset) *Quotas {
	q := &Quotas{client: client}
	client.PrependReactor("update", resource.Resource, q.update)
	return q
}

func (q *Quotas) update(action clienttesting.Action) (bool, runtime.Object, error) {
	next := action.(clienttesting.UpdateAction).GetObject().(*corev1.ResourceQuota).DeepCopy()
	if q.Before != nil {
		q.Before()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	current, err := q.current(next.Namespace, next.Name)
	if err != nil {
		return true, nil, err
	}
	if current.ResourceVersion != next.ResourceVersion {
		q.conflicts++
		return true, nil, apierrors.NewConflict(resource.GroupResource(), next.Name, nil)
	}
	q.writes++
	return true, next, q.store(next, current.ResourceVersion)
}

// Touch writes a quota without a change, as somebody else might.
func (q *Quotas) Touch(namespace, name string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	current, err := q.current(namespace, name)
	if err != nil {
		return err
	}
	return q.store(current.DeepCopy(), current.ResourceVersion)
}

func (q *Quotas) current(namespace, name string) (*corev1.ResourceQuota, error) {
	obj, err := q.client.Tracker().Get(resource, namespace, name)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.ResourceQuota), nil
}

func (q *Quotas) store(next *corev1.ResourceQuota, before string) error {
	version, err := strconv.Atoi(before)
	if err != nil && before != "" {
		return err
	}
	next.ResourceVersion = strconv.Itoa(version + 1)
	return q.client.Tracker().Update(resource, next, next.Namespace)
}

// Writes is the number of writes that came through, Conflicts of those that
// did not.
func (q *Quotas) Writes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.writes
}

// Conflicts is the number of writes of an old version.
func (q *Quotas) Conflicts() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.conflicts
}
