package pruner

import (
	"testing"

	"k8s.io/client-go/util/workqueue"

	"image.alauda.io/registry/pkg/operator/bootstrap"
)

// A write of the status must not bring the next sync: an error whose text changes would be retried for ever.
func TestOnlyWhatIsAskedForBringsASync(t *testing.T) {
	c := &Controller{queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())}
	defer c.queue.ShutDown()
	before := bootstrap.DefaultPruner()
	before.Generation = 1
	after := before.DeepCopy()
	after.Status.ObservedGeneration = 1
	c.enqueueAsked(before, after)
	if n := c.queue.Len(); n != 0 {
		t.Errorf("%d syncs after a write of the status", n)
	}
	after.Generation = 2
	c.enqueueAsked(before, after)
	if n := c.queue.Len(); n != 1 {
		t.Errorf("%d syncs after an edit of the spec, want 1", n)
	}
}
