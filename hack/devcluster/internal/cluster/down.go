package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/host"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/proc"
	"image.alauda.io/registry/hack/devcluster/internal/sandbox"
)

// Down removes the cluster and everything it made but the built programs.
func (c *Cluster) Down(ctx context.Context) error {
	return c.locked(ctx, func() error {
		if err := c.sweep(ctx); err != nil {
			return err
		}
		c.say("the cluster is gone")
		return nil
	})
}

// sweep finds what to remove by fixed names, never by records: those may be
// lost or half written. It goes on after a failure, so that one thing that does
// not go leaves no others behind.
func (c *Cluster) sweep(ctx context.Context) error {
	killed, err := c.daemons.Table.KillAll(proc.Selector{
		Mark:   func(string) bool { return true },
		NetNS:  namespaces(host.Namespaces()...),
		Cgroup: plan.CgroupPath,
	}, os.Getpid(), 30*time.Second)
	if killed > 0 {
		c.say("ended %d processes", killed)
	}
	var failed []error
	if err != nil {
		failed = append(failed, err)
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"mounts", func() error { return sandbox.Unmount(c.layout.State) }},
		{"network", func() error { return host.RemoveNetwork(ctx) }},
		{"cgroups", func() error { return host.SystemCgroups().Remove(20 * time.Second) }},
		{"files", c.removeState},
	} {
		if err := step.do(); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", step.what, err))
		}
	}
	sandbox.RemoveMountpoints()
	return errors.Join(failed...)
}

// removeState removes every file of the cluster but the built programs.
func (c *Cluster) removeState() error {
	entries, err := os.ReadDir(c.layout.State)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(plan.Kept(), e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.layout.State, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
