package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// stopGrace is how long a daemon may take to end before it is killed.
const stopGrace = 10 * time.Second

// part is what can be stopped and started: a daemon of the machine, a daemon of
// a node, or a node with everything that runs on it.
type part struct {
	// node is the zero value for daemons of the machine.
	node plan.Node
	// daemon is a name of controlDaemons or nodeComponents; empty for a whole node.
	daemon string
}

// onMachine says whether the part is a daemon of the machine itself.
func (p part) onMachine() bool { return p.node == plan.Node{} }

// name is what status and logs call the part.
func (p part) name() string {
	switch {
	case p.onMachine():
		return p.daemon
	case p.daemon == "":
		return p.node.Name()
	}
	return p.node.Daemon(p.daemon)
}

// rank is the place of the part in the order in which a cluster starts.
func (p part) rank() int {
	if p.onMachine() {
		return slices.Index(controlDaemons, p.daemon)
	}
	return len(controlDaemons) + p.node.Index*(len(nodeComponents)+1) + slices.Index(nodeComponents, p.daemon)
}

// parseParts reads the names of parts and returns each once, in the order in
// which they start. The daemons of a node that is named, too, are part of it.
func parseParts(names []string, nodes []plan.Node) ([]part, error) {
	var parts []part
	for _, name := range names {
		p, err := parsePart(name, nodes)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	var once []part
	for _, p := range parts {
		within := p.daemon != "" && slices.Contains(parts, part{node: p.node})
		if !within && !slices.Contains(once, p) {
			once = append(once, p)
		}
	}
	slices.SortFunc(once, func(a, b part) int { return a.rank() - b.rank() })
	return once, nil
}

// parsePart reads one name, as status prints it; the prefix "kube-" of the
// control plane may be left out.
func parsePart(name string, nodes []plan.Node) (part, error) {
	for _, daemon := range controlDaemons {
		if name == daemon || "kube-"+name == daemon {
			return part{daemon: daemon}, nil
		}
	}
	node, daemon, _ := strings.Cut(name, "-")
	for _, n := range nodes {
		p := part{node: n, daemon: daemon}
		if node == n.Name() && p.name() == name && (daemon == "" || slices.Contains(nodeComponents, daemon)) {
			return p, nil
		}
	}
	last := nodes[len(nodes)-1].Name()
	return part{}, fmt.Errorf("there is no %q: there are %s, the nodes up to %s, and of each node %s-%s", name,
		strings.Join(controlDaemons, ", "), last, last, strings.Join(nodeComponents, ", "+last+"-"))
}

// Restart stops the parts and starts them again: a daemon alone, or a node as a
// reboot does, with its containerd, its kubelet and its Pods. With kill, daemons
// get no chance to end by themselves; a node never has one.
func (c *Cluster) Restart(ctx context.Context, names []string, kill bool) error {
	return c.withParts(names, func(parts []part) error {
		if err := c.stopParts(ctx, parts, kill); err != nil {
			return err
		}
		return c.startParts(ctx, parts)
	})(ctx)
}

// Stop stops the parts; nothing starts them again by itself.
func (c *Cluster) Stop(ctx context.Context, names []string, kill bool) error {
	return c.withParts(names, func(parts []part) error { return c.stopParts(ctx, parts, kill) })(ctx)
}

// Start starts what of the parts does not run, and waits until it works.
func (c *Cluster) Start(ctx context.Context, names []string) error {
	return c.withParts(names, func(parts []part) error { return c.startParts(ctx, parts) })(ctx)
}

// Pause lets daemons hang, or go on when that ends: they keep their connections and answer nothing.
func (c *Cluster) Pause(ctx context.Context, names []string, hang bool) error {
	return c.withParts(names, func(parts []part) error {
		for _, p := range parts {
			if err := c.pausePart(p, hang); err != nil {
				return err
			}
		}
		return nil
	})(ctx)
}

func (c *Cluster) pausePart(p part, hang bool) error {
	if !p.onMachine() && p.daemon == "" {
		return fmt.Errorf("%s is a node: only daemons can hang; cut-node pulls its network cable", p.name())
	}
	record, alive := c.daemons.Living(p.name())
	if !alive {
		return fmt.Errorf("%s does not run", p.name())
	}
	signal, what := syscall.SIGCONT, "goes on"
	if hang {
		signal, what = syscall.SIGSTOP, "hangs"
	}
	if err := c.daemons.Table.Signal(record.Identity, signal); err != nil {
		return err
	}
	c.say("%s %s", p.name(), what)
	return nil
}

func (c *Cluster) withParts(names []string, f func([]part) error) func(context.Context) error {
	return func(ctx context.Context) error {
		return c.locked(ctx, func() error {
			nodes, err := c.nodes()
			if err != nil {
				return err
			}
			parts, err := parseParts(names, nodes)
			if err != nil {
				return err
			}
			return f(parts)
		})
	}
}

// stopParts stops in the reverse order of starting.
func (c *Cluster) stopParts(ctx context.Context, parts []part, kill bool) error {
	for _, p := range slices.Backward(parts) {
		if err := c.stopPart(ctx, p, kill); err != nil {
			return err
		}
		c.say("%s is stopped", p.name())
	}
	return nil
}

func (c *Cluster) stopPart(ctx context.Context, p part, kill bool) error {
	if !p.onMachine() && p.daemon == "" {
		return c.killNode(ctx, p.node)
	}
	record, alive := c.daemons.Living(p.name())
	if !alive {
		return nil
	}
	if kill {
		if err := c.daemons.Table.Signal(record.Identity, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return c.daemons.Stop(p.name(), stopGrace)
}

func (c *Cluster) startParts(ctx context.Context, parts []part) error {
	want, _ := c.load()
	for _, p := range parts {
		var err error
		switch {
		case p.onMachine():
			err = c.startMachineDaemon(ctx, want, p.daemon)
		case p.daemon == "":
			err = c.startNode(ctx, p.node)
		default:
			err = c.startNodeDaemon(ctx, p.node, p.daemon)
		}
		if err != nil {
			return err
		}
		c.say("%s works", p.name())
	}
	return nil
}

// startMachineDaemon starts one daemon of the machine and waits for its health.
func (c *Cluster) startMachineDaemon(ctx context.Context, want record, daemon string) error {
	for _, spec := range c.controlPlane(want) {
		if spec.Name != daemon {
			continue
		}
		if err := c.ensure(spec); err != nil {
			return err
		}
		if check, ok := c.probes(want)[daemon]; ok {
			return c.await(ctx, daemon, 90*time.Second, check)
		}
		return nil
	}
	return fmt.Errorf("%s is not a daemon of the machine", daemon)
}

// startNodeDaemon starts one daemon of a node that runs.
func (c *Cluster) startNodeDaemon(ctx context.Context, n plan.Node, daemon string) error {
	holding, alive := c.daemons.Living(n.Daemon(holder))
	if !alive {
		return fmt.Errorf("%s is stopped: start %s first", n.Name(), n.Name())
	}
	for _, spec := range c.nodeDaemons(n, holding.PID) {
		if spec.Name != n.Daemon(daemon) {
			continue
		}
		if err := c.ensure(spec); err != nil {
			return err
		}
		switch daemon {
		case runtime:
			return c.await(ctx, spec.Name, 60*time.Second, containerdAnswers(holding.PID))
		case kubelet:
			return c.awaitKubelet(ctx, n)
		case proxy:
			return c.await(ctx, spec.Name, 60*time.Second, proxyAnswers(n))
		}
	}
	return errors.New("a node has no " + daemon)
}
