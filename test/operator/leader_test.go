//go:build component

package operator

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/leader"
)

// leaseTimes let a standby look often, and a leader be slow for a while.
func leaseTimes() leader.Times {
	return leader.Times{Duration: 30 * time.Second, Renew: 20 * time.Second, Retry: 500 * time.Millisecond}
}

func (w *writes) times() (leases int, last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leases, w.last
}

func (c *cluster) holder() string {
	lease, err := c.kube.CoordinationV1().Leases(ns).Get(c.t.Context(), registryv1.OperatorName, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// Behaviour 23: one writer at a time, and a new leader finds nothing to write on a healthy system.
func TestLeaderHandOver(t *testing.T) {
	t.Parallel()
	c := install(t)
	stop := c.operator(leaseTimes(), "first", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	standby := &writes{}
	c.operator(leaseTimes(), "second", standby)
	c.eventually("the second operator asks for the lease", func() (bool, string) {
		leases, _ := standby.times()
		return leases > 0, ""
	})

	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
	})
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	c.settle()
	if written := standby.list(); len(written) > 0 {
		t.Errorf("the standby wrote: %v", written)
	}
	if holder := c.holder(); holder != "first" {
		t.Fatalf("the lease is held by %q, want first", holder)
	}

	stop()
	stopped := time.Now()
	c.eventually("the second operator leads", func() (bool, string) { return c.holder() == "second", c.holder() })
	c.writes, standby = standby, c.writes
	c.settle()
	if written := c.writes.list(); len(written) > 0 {
		t.Errorf("the new leader wrote on a healthy system: %v", written)
	}
	if _, last := standby.times(); last.After(stopped) {
		t.Error("the first operator wrote after it had ended")
	}
	c.deleteAndWait(inNS("PodDisruptionBudget", "image-registry")[0])
	if len(c.writes.list()) == 0 {
		t.Error("the second operator did not write what came back")
	}
}
