// Package quotastatus is the controller quota-status: it keeps status.used of
// ResourceQuotas right for the resources of images.
//
// In: the usage of each namespace as the streams tell it, changes of quotas,
// and what requests to this process have reserved and not yet settled. Out:
// status.used (and a missing status.hard) of the three names that this server
// counts. Deletions so give quota back within seconds, new quotas get their
// usage, and what was reserved for a write that failed disappears.
//
// A reservation is there before its stream, and would look like too much. So
// usage falls at once by what deletions free, and to what is counted only when
// no write can be under way in any replica any more. The controller writes only
// where something differs, and never touches another name of a quota: those
// belong to kube-controller-manager.
package quotastatus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/imageapiserver/controllers"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

const (
	workers = 2
	// settle lets a change of a quota and that of a stream arrive in either order.
	settle = 300 * time.Millisecond
	// calm is how long nobody may have reserved, nor stored, until it is sure that no reservation waits for its
	// stream: longer than the 34 s after which the library cuts a write off.
	calm = 40 * time.Second
	// resync is how often every namespace with a quota is counted anyway.
	resync = 10 * time.Minute

	shortestBackoff = 50 * time.Millisecond
	longestBackoff  = time.Minute
)

// Options make a Controller.
type Options struct {
	// Index counts the namespaces; its changes are followed.
	Index *quota.Index
	// Pending tells what requests to this process have reserved.
	Pending func(namespace string) quota.Amounts
	// OnDoubt, if set, takes what to call for a namespace in which a request to this process left a reservation
	// behind.
	OnDoubt func(fn func(namespace string))
	Quotas  coreinformers.ResourceQuotaInformer
	Client  corev1client.ResourceQuotasGetter
	// Clock defaults to the real one.
	Clock clock.WithTicker
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Index == nil || o.Pending == nil || o.Quotas == nil || o.Client == nil {
		return errors.New("quota status: index, pending, quotas and client must be set")
	}
	return nil
}

// Controller counts namespaces again.
type Controller struct {
	Options

	mu sync.Mutex
	// queue is nil while the controller does not run.
	queue      workqueue.TypedRateLimitingInterface[string]
	activities activities
}

var _ controllers.Controller = (*Controller)(nil)

// New makes the controller. It follows index and quotas from now on, and works
// while it runs. It must be called before the index is fed.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c := &Controller{Options: o}
	c.activities.reset(o.Clock.Now())
	o.Index.OnChange(c.onUsage)
	if o.OnDoubt != nil {
		o.OnDoubt(c.onDoubt)
	}
	_, err := o.Quotas.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { c.onQuota(nil, obj) },
		UpdateFunc: func(old, obj any) {
			c.onQuota(old, obj)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("quota status: %w", err)
	}
	return c, nil
}

// Name implements controllers.Controller.
func (*Controller) Name() string { return controllers.QuotaStatus }

// Run counts namespaces until the context ends.
func (c *Controller) Run(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Index.HasSynced, c.Quotas.Informer().HasSynced) {
		return ctx.Err()
	}
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](shortestBackoff, longestBackoff),
		workqueue.TypedRateLimitingQueueConfig[string]{Name: controllers.QuotaStatus, Clock: c.Clock})
	c.use(queue)
	defer c.use(nil)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for c.next(ctx, queue) {
			}
		})
	}
	c.enqueueAll()
	ticker := c.Clock.NewTicker(resync)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C():
			c.enqueueAll()
		}
	}
	queue.ShutDown()
	running.Wait()
	return nil
}

func (c *Controller) use(queue workqueue.TypedRateLimitingInterface[string]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = queue
	c.activities.reset(c.Clock.Now())
}

func (c *Controller) enqueue(namespace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue != nil {
		c.queue.AddAfter(namespace, settle)
	}
}

func (c *Controller) enqueueAll() {
	all, err := c.Quotas.Lister().List(labels.Everything())
	if err != nil {
		klog.ErrorS(err, "Quotas cannot be listed from memory")
		return
	}
	for _, q := range all {
		if counts(q) {
			c.enqueue(q.Namespace)
		}
	}
}

// onUsage looks at a namespace whose streams changed. Where they grow, others may be on their way between
// reservation and stream.
func (c *Controller) onUsage(namespace string, change quota.Amounts) {
	quotas, err := c.Quotas.Lister().ResourceQuotas(namespace).List(labels.Everything())
	if err != nil || !slices.ContainsFunc(quotas, counts) {
		return
	}
	freed := quota.Amounts{}
	for name, amount := range change {
		if amount > 0 {
			c.activities.busy(namespace, c.Clock.Now())
		} else if amount < 0 {
			freed[name] = -amount
		}
	}
	c.activities.free(namespace, freed)
	c.enqueue(namespace)
}

// onDoubt looks at a namespace whose usage may say too much. The write in doubt gets the time to appear.
func (c *Controller) onDoubt(namespace string) {
	c.activities.busy(namespace, c.Clock.Now())
	c.enqueue(namespace)
}

// onQuota looks at a quota that is new or changed. A changed usage is somebody's
// reservation, in whatever replica.
func (c *Controller) onQuota(old, obj any) {
	current, ok := obj.(*corev1.ResourceQuota)
	if !ok || !counts(current) {
		return
	}
	if before, ok := old.(*corev1.ResourceQuota); ok {
		if !usageDiffers(before, current) && !hardDiffers(before, current) {
			return
		}
		if usageDiffers(before, current) {
			c.activities.busy(current.Namespace, c.Clock.Now())
		}
	}
	c.enqueue(current.Namespace)
}

// next works on one namespace. It returns false when the queue has ended.
func (c *Controller) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[string]) bool {
	namespace, ended := queue.Get()
	if ended {
		return false
	}
	defer queue.Done(namespace)
	if pending := c.Pending(namespace); hasAny(pending) {
		// Where this process is slow to store, the other replicas are, too, and what they reserved is not known here.
		c.activities.busy(namespace, c.Clock.Now())
	}
	freed, left := c.activities.take(namespace, c.Clock.Now())
	if err := c.reconcile(ctx, namespace, freed, left == 0); err != nil {
		if !apierrors.IsConflict(err) && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The usage of a namespace was not written, it is tried again", "namespace", namespace)
		}
		queue.AddRateLimited(namespace)
		return true
	}
	if left > 0 {
		queue.AddAfter(namespace, left)
	}
	queue.Forget(namespace)
	return true
}

// reconcile counts one namespace and writes what differs. What was freed is kept for the next attempt when no
// quota could be written; when some could, the others say too much until the namespace is calm.
func (c *Controller) reconcile(ctx context.Context, namespace string, freed quota.Amounts, calm bool) error {
	quotas, err := c.Quotas.Lister().ResourceQuotas(namespace).List(labels.Everything())
	if err != nil {
		return fmt.Errorf("quotas of namespace %s: %w", namespace, err)
	}
	var problems []error
	written := false
	for _, q := range quotas {
		if !counts(q) {
			continue
		}
		// Counted for each quota: what is reserved meanwhile conflicts with the write.
		pending := c.Pending(namespace)
		next, differs := corrected(q, counted{used: c.Index.Used(namespace), pending: pending, freed: freed, calm: calm && !hasAny(pending)})
		if !differs {
			continue
		}
		switch _, err := c.Client.ResourceQuotas(namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{}); {
		case err == nil:
			written = true
		case !apierrors.IsNotFound(err):
			problems = append(problems, fmt.Errorf("status of quota %s/%s: %w", namespace, q.Name, err))
		}
	}
	if len(problems) > 0 && !written {
		c.activities.free(namespace, freed)
	}
	return errors.Join(problems...)
}
