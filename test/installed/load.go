package installed

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"image.alauda.io/registry/test/pulled"
)

const (
	loadRhythm = 300 * time.Millisecond
	loadLayers = 2
	loadBytes  = 32 << 10
)

// Load is what a running load has done so far.
type Load struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	counts map[string]*count
}

type count struct {
	done, failed int
	last         error
}

// StartLoad pushes new images to ns and pulls one of them completely, over and over, until Stop. Each pull
// uses a new connection.
func (c *Cluster) StartLoad(t *testing.T, ns string) *Load {
	t.Helper()
	token := c.Shell(t, "kubectl -n "+ns+" create token builder --duration=2h")
	auth := remote.WithAuth(&authn.Basic{Username: "serviceaccount", Password: token})
	ctx, cancel := context.WithCancel(context.Background())
	load := &Load{cancel: cancel, counts: map[string]*count{"push": {}, "pull": {}}}
	if err := c.push(ctx, ns, "pulled", auth); err != nil {
		cancel()
		t.Fatalf("the first push: %v", err)
	}
	load.run(ctx, "push", func(ctx context.Context) error { return c.push(ctx, ns, "pushed", auth) })
	load.run(ctx, "pull", func(ctx context.Context) error { return c.pull(ctx, ns, "pulled", auth) })
	t.Cleanup(load.end)
	return load
}

// Project makes a namespace whose ServiceAccount builder may push; it goes away with the test.
func (c *Cluster) Project(t *testing.T, ns string) string {
	t.Helper()
	manifest := fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: builder, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:image-pusher"}
subjects: [{kind: ServiceAccount, name: builder, namespace: %[1]s}]
`, ns)
	c.Apply(t, manifest)
	t.Cleanup(func() { _, _ = c.TryShell("kubectl delete namespace " + ns + " --wait=false") })
	return ns
}

func (l *Load) run(ctx context.Context, what string, do func(context.Context) error) {
	l.group.Go(func() {
		tick := time.NewTicker(loadRhythm)
		defer tick.Stop()
		for {
			err := do(ctx)
			if ctx.Err() != nil {
				return
			}
			l.mu.Lock()
			l.counts[what].done++
			if err != nil {
				l.counts[what].failed++
				l.counts[what].last = fmt.Errorf("%s: %w", time.Now().UTC().Format(time.TimeOnly), err)
			}
			l.mu.Unlock()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

func (l *Load) end() { l.cancel(); l.group.Wait() }

// Stop ends the load and fails the test when anything failed, or when too little ran to say anything.
func (l *Load) Stop(t *testing.T) {
	t.Helper()
	l.end()
	for what, c := range l.counts {
		t.Logf("%s: %d times, %d failed", what, c.done, c.failed)
		if c.failed > 0 {
			t.Errorf("%s: %d of %d failed, the last at %v", what, c.failed, c.done, c.last)
		}
		if c.done < 10 {
			t.Errorf("%s: only %d times", what, c.done)
		}
	}
}

// Done is how often something ended so far.
func (l *Load) Done(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[what].done
}

func (c *Cluster) reference(ns, repository string) (name.Reference, error) {
	return name.ParseReference(c.registry + "/" + ns + "/" + repository + ":v1")
}

func (c *Cluster) push(ctx context.Context, ns, repository string, auth remote.Option) error {
	image, err := random.Image(loadBytes, loadLayers)
	if err != nil {
		return err
	}
	return c.with(ns, repository, func(ref name.Reference, transport remote.Option) error {
		return remote.Write(ref, image, auth, transport, remote.WithContext(ctx))
	})
}

func (c *Cluster) pull(ctx context.Context, ns, repository string, auth remote.Option) error {
	return c.with(ns, repository, func(ref name.Reference, transport remote.Option) error {
		image, err := remote.Image(ref, auth, transport, remote.WithContext(ctx))
		if err != nil {
			return err
		}
		return pulled.Verify(image)
	})
}

func (c *Cluster) with(ns, repository string, do func(name.Reference, remote.Option) error) error {
	ref, err := c.reference(ns, repository)
	if err != nil {
		return err
	}
	transport, err := c.trust()
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	return do(ref, remote.WithTransport(transport))
}
