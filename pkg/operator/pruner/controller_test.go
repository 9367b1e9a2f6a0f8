package pruner

import (
	"testing"

	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/keyed"
)

// A write of the status must not bring the next sync: an error whose text changes would be retried for ever.
func TestOnlyWhatIsAskedForBringsASync(t *testing.T) {
	c := &Controller{Single: keyed.NewSingle(controllerName, clock.RealClock{}, nil)}
	defer c.Queue.ShutDown()
	before := bootstrap.DefaultPruner()
	before.Generation = 1
	after := before.DeepCopy()
	after.Status.ObservedGeneration = 1
	c.enqueueAsked(before, after)
	if n := c.Queue.Len(); n != 0 {
		t.Errorf("%d syncs after a write of the status", n)
	}
	after.Generation = 2
	c.enqueueAsked(before, after)
	if n := c.Queue.Len(); n != 1 {
		t.Errorf("%d syncs after an edit of the spec, want 1", n)
	}
}
