package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"image.alauda.io/registry/hack/devcluster/internal/components"
	"image.alauda.io/registry/hack/devcluster/internal/host"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// UpOptions say what cluster is wanted.
type UpOptions struct {
	// Nodes is the number of nodes; 0 keeps what there is, or makes two.
	Nodes int
	// RegistryPort is the port of 127.0.0.1 that leads to the registry; 0 keeps
	// what there is, or takes 5000.
	RegistryPort int
}

// Validate refuses values outside their ranges.
func (o UpOptions) Validate() error {
	if o.Nodes < 0 || o.Nodes > plan.MaxNodes {
		return fmt.Errorf("--nodes %d: a cluster has 1 to %d nodes", o.Nodes, plan.MaxNodes)
	}
	if o.RegistryPort < 0 || o.RegistryPort > 65535 {
		return fmt.Errorf("--registry-port %d: a port is 1 to 65535", o.RegistryPort)
	}
	return nil
}

// merge completes the wanted values from the recorded cluster and the defaults.
func (o UpOptions) merge(have record) (record, error) {
	if o.Nodes != 0 && o.Nodes < have.Nodes {
		return have, fmt.Errorf("the cluster has %d nodes and up does not take any away: run remove-node, or down first", have.Nodes)
	}
	want := record{Nodes: 2, RegistryPort: plan.RegistryPort}
	if have.Nodes != 0 {
		want = have
	}
	if o.Nodes != 0 {
		want.Nodes = o.Nodes
	}
	if o.RegistryPort != 0 {
		want.RegistryPort = o.RegistryPort
	}
	return want, nil
}

// Build installs what the machine lacks and builds the components.
func (c *Cluster) Build(ctx context.Context) error {
	return c.locked(ctx, func() error { return c.build(ctx) })
}

func (c *Cluster) build(ctx context.Context) error {
	if err := c.layout.Validate(); err != nil {
		return err
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return errors.New("go is not installed or not in PATH: Go 1.26 is needed to build the components")
	}
	if missing := host.Missing(); len(missing) > 0 {
		c.say("installing Debian packages: %s", strings.Join(missing, " "))
		if err := host.Install(ctx, missing); err != nil {
			return err
		}
	}
	b := components.Builder{Source: c.layout.Source(), Bin: c.layout.Bin(), Go: goCommand, Report: c.say}
	if err := b.BuildAll(ctx); err != nil {
		return err
	}
	return c.keepSelf()
}

// keepSelf puts this program where daemons can be started from: `go run` removes
// it as soon as the command ends.
func (c *Cluster) keepSelf() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	if have, err := os.ReadFile(c.self()); err == nil && bytes.Equal(have, content) {
		return nil
	}
	return writeFile(c.self(), content, 0o755)
}

func (c *Cluster) self() string { return c.layout.Binary("devcluster") }

// Up brings the cluster to the wanted state, whatever state it is in.
func (c *Cluster) Up(ctx context.Context, o UpOptions) error {
	if err := o.Validate(); err != nil {
		return err
	}
	return c.locked(ctx, func() error { return c.up(ctx, o) })
}

func (c *Cluster) up(ctx context.Context, o UpOptions) error {
	if err := c.build(ctx); err != nil {
		return err
	}
	have, recorded := c.load()
	if !c.survives() {
		if recorded {
			c.say("the processes of an earlier cluster are gone: starting over")
		}
		if err := c.sweep(ctx); err != nil {
			return err
		}
		have = record{}
	}
	want, err := o.merge(have)
	if err != nil {
		return err
	}
	nodes, err := plan.Nodes(want.Nodes)
	if err != nil {
		return err
	}
	if err := c.prepare(ctx, want, nodes); err != nil {
		return err
	}
	if err := c.startAll(ctx, want, nodes); err != nil {
		return err
	}
	c.say("the cluster is ready: %d nodes", len(nodes))
	fmt.Fprintf(c.out, "\n  . %s      # sets KUBECONFIG, REGISTRY_HOST, REGISTRY_CA and PATH\n  kubectl get nodes\n", c.layout.Env())
	return nil
}

// survives says whether a cluster runs at all. When neither the store nor any
// node does, what is left is of no use.
func (c *Cluster) survives() bool {
	if _, ok := c.daemons.Living("etcd"); ok {
		return true
	}
	for _, r := range c.daemons.List() {
		if strings.HasSuffix(r.Name, "-"+holder) && c.daemons.Table.Alive(r.Identity) {
			return true
		}
	}
	return false
}

// prepare does everything that needs no running daemon.
func (c *Cluster) prepare(ctx context.Context, want record, nodes []plan.Node) error {
	host.LoadModules(ctx)
	raised, err := host.RaiseLimits()
	if err != nil {
		return err
	}
	for _, path := range raised {
		c.say("raised the kernel limit %s", path)
	}
	if err := host.SetUpBridge(ctx); err != nil {
		return err
	}
	if err := c.checkPorts(want); err != nil {
		return err
	}
	if err := c.save(want); err != nil {
		return err
	}
	if err := c.writeCredentials(nodes); err != nil {
		return err
	}
	return c.writeConfiguration(want, nodes)
}

// checkPorts looks at the ports of daemons that do not run yet.
func (c *Cluster) checkPorts(want record) error {
	for _, p := range []struct {
		daemon, address string
		port            int
	}{
		{"etcd", "127.0.0.1", plan.EtcdPort},
		{"etcd", "127.0.0.1", plan.EtcdPeerPort},
		{"kube-apiserver", "0.0.0.0", plan.APIServerPort},
		{"kube-controller-manager", "127.0.0.1", plan.ControllersPort},
		{"kube-scheduler", "127.0.0.1", plan.SchedulerPort},
		{"coredns", plan.HostAddress, plan.DNSPort},
		{"forward", "127.0.0.1", want.RegistryPort},
	} {
		if _, alive := c.daemons.Living(p.daemon); alive {
			continue
		}
		if err := host.CheckPort(p.address, p.port); err != nil {
			return fmt.Errorf("%s cannot start: %w", p.daemon, err)
		}
	}
	return nil
}

// startAll starts the control plane and, while it comes up, the nodes' runtimes.
func (c *Cluster) startAll(ctx context.Context, want record, nodes []plan.Node) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.startControlPlane(groupCtx, want) })
	for _, n := range nodes {
		group.Go(func() error { return c.startRuntime(groupCtx, n) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := c.startAgents(n); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := host.Connect(ctx, n, true); err != nil {
			return err
		}
	}
	if err := c.networkPods(ctx, nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := c.awaitReady(ctx, n); err != nil {
			return err
		}
	}
	return c.awaitForward(ctx, want)
}

func (c *Cluster) awaitForward(ctx context.Context, want record) error {
	return c.await(ctx, "forward", 20*time.Second, func(ctx context.Context) error {
		return dial(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", want.RegistryPort))
	})
}
