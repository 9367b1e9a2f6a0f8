package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/hack/devcluster/internal/host"
	"image.alauda.io/registry/hack/devcluster/internal/images"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/proc"
	"image.alauda.io/registry/hack/devcluster/internal/render"
	"image.alauda.io/registry/hack/devcluster/internal/sandbox"
	"image.alauda.io/registry/hack/devcluster/internal/supervise"
)

// Daemons of a node, under the names of Node.Daemon.
const (
	holder  = "holder"
	runtime = "containerd"
	kubelet = "kubelet"
	proxy   = "kube-proxy"
)

// nodeComponents lists the daemons that can be stopped one by one.
var nodeComponents = []string{runtime, kubelet, proxy}

// startRuntime brings a node to where it can hold containers.
func (c *Cluster) startRuntime(ctx context.Context, n plan.Node) error {
	l := c.layout
	if _, alive := c.daemons.Living(n.Daemon(holder)); !alive {
		// Without its holder a node cannot be entered: what is left of it goes.
		if err := c.killNode(ctx, n); err != nil {
			return err
		}
	}
	if err := host.SetUpNode(ctx, n); err != nil {
		return err
	}
	if err := host.SystemCgroups().SetUp(n); err != nil {
		return err
	}
	if err := os.MkdirAll(l.Node(n, "cni"), 0o755); err != nil {
		return err
	}
	if err := c.ensure(supervise.Spec{Name: n.Daemon(holder), Args: sandbox.HolderArgs(c.self(), l, n), Keep: true}); err != nil {
		return err
	}
	record, _ := c.daemons.Living(n.Daemon(holder))
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := sandbox.WaitReady(wait, l, n, record.Identity); err != nil {
		return c.fail(n.Daemon(holder), err)
	}
	if err := c.ensure(c.nodeDaemons(n, record.PID)[0]); err != nil {
		return err
	}
	if err := c.await(ctx, n.Daemon(runtime), 60*time.Second, containerdAnswers(record.PID)); err != nil {
		return err
	}
	return c.loadPause(ctx, n)
}

func containerdAnswers(holderPID int) func(context.Context) error {
	return func(ctx context.Context) error {
		return dial(ctx, "unix", filepath.Join(sandbox.Root(holderPID), plan.ContainerdSock))
	}
}

func (c *Cluster) loadPause(ctx context.Context, n plan.Node) error {
	path := c.layout.Node(n, "pause.tar")
	if err := images.WriteProgram(c.layout.Binary("pause"), plan.PauseImage, path); err != nil {
		return err
	}
	target, err := c.target(n)
	if err != nil {
		return err
	}
	_, err = target.Load(ctx, path)
	return err
}

func (c *Cluster) target(n plan.Node) (*images.Target, error) {
	record, alive := c.daemons.Living(n.Daemon(holder))
	if !alive {
		return nil, fmt.Errorf("%s is stopped: start it with start-node or up", n.Name())
	}
	return &images.Target{Node: n.Name(), Command: sandbox.EnterArgs(record.PID, c.layout.Binary("ctr")), Record: c.layout.Node(n, "loaded.json")}, nil
}

// nodeDaemons lists what runs on a node besides its holder, in the order of
// nodeComponents.
func (c *Cluster) nodeDaemons(n plan.Node, holderPID int) []supervise.Spec {
	l := c.layout
	return []supervise.Spec{
		{Name: n.Daemon(runtime), Args: sandbox.EnterArgs(holderPID, render.ContainerdCommand(l, n)...),
			Inputs: []string{l.Stamp("containerd"), l.Node(n, "containerd.toml")}},
		{Name: n.Daemon(kubelet), Args: sandbox.EnterArgs(holderPID, render.KubeletCommand(l, n)...),
			Inputs: []string{l.Stamp("kubernetes"), l.Node(n, "kubelet.yaml"), l.PKIFile(n.Name() + ".kubeconfig"), l.PKIFile("ca.crt")}},
		{Name: n.Daemon(proxy), Args: sandbox.EnterArgs(holderPID, render.ProxyCommand(l, n)...),
			Inputs: []string{l.Stamp("kubernetes"), l.Node(n, "kube-proxy.yaml"), l.PKIFile("proxy.kubeconfig")}},
	}
}

// startAgents starts what makes the node a member of the cluster.
func (c *Cluster) startAgents(n plan.Node) error {
	record, alive := c.daemons.Living(n.Daemon(holder))
	if !alive {
		return c.fail(n.Daemon(holder), errors.New("it ended"))
	}
	for _, spec := range c.nodeDaemons(n, record.PID)[1:] {
		if err := c.ensure(spec); err != nil {
			return err
		}
	}
	return nil
}

// networkPods gives the Pods of every node a network in the range that the
// cluster chose when the node registered, and the routes between them.
func (c *Cluster) networkPods(ctx context.Context, nodes []plan.Node) error {
	ranges := map[plan.Node]string{}
	for _, n := range nodes {
		err := c.await(ctx, n.Daemon(kubelet), 90*time.Second, func(ctx context.Context) error {
			object, err := c.nodeObject(ctx, n)
			if err != nil {
				return err
			}
			if object.Spec.PodCIDR == "" {
				return errors.New("the node has no range for Pods")
			}
			ranges[n] = object.Spec.PodCIDR
			return nil
		})
		if err != nil {
			return err
		}
		conf, err := render.Network(c.layout, n, ranges[n])
		if err != nil {
			return err
		}
		if err := writeFile(c.layout.Node(n, "cni", "10-devcluster.conflist"), conf, 0o644); err != nil {
			return err
		}
	}
	return host.RoutePods(ctx, ranges)
}

// awaitReady waits until the node is Ready and its Pods reach Services.
func (c *Cluster) awaitReady(ctx context.Context, n plan.Node) error {
	if err := c.awaitKubelet(ctx, n); err != nil {
		return err
	}
	if err := c.await(ctx, n.Daemon(proxy), 60*time.Second, proxyAnswers(n)); err != nil {
		return err
	}
	c.say("%s is Ready", n.Name())
	return nil
}

// awaitKubelet waits until the cluster calls the node Ready.
func (c *Cluster) awaitKubelet(ctx context.Context, n plan.Node) error {
	record, _ := c.daemons.Load(n.Daemon(kubelet))
	return c.await(ctx, n.Daemon(kubelet), 120*time.Second, func(ctx context.Context) error {
		object, err := c.nodeObject(ctx, n)
		if err != nil {
			return err
		}
		return ready(object, record.Since)
	})
}

func proxyAnswers(n plan.Node) func(context.Context) error {
	return get(fmt.Sprintf("http://%s:%d/healthz", n.Address(), plan.ProxyHealth))
}

func kubeletAnswers(n plan.Node) func(context.Context) error {
	return get(fmt.Sprintf("http://%s:%d/healthz", n.Address(), plan.KubeletHealth))
}

func (c *Cluster) nodeObject(ctx context.Context, n plan.Node) (*corev1.Node, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return client.CoreV1().Nodes().Get(ctx, n.Name(), metav1.GetOptions{})
}

// ready looks at the node's Ready condition. What the node said before its
// kubelet started counts for nothing.
func ready(n *corev1.Node, since time.Time) error {
	for _, cond := range n.Status.Conditions {
		switch {
		case cond.Type != corev1.NodeReady:
		case cond.LastHeartbeatTime.Time.Before(since.Truncate(time.Second)):
			return errors.New("the node has not reported since its kubelet started")
		case cond.Status == corev1.ConditionTrue:
			return nil
		default:
			return fmt.Errorf("the node is not Ready: %s", cond.Message)
		}
	}
	return errors.New("the node has not reported yet")
}

// StopNode ends every process of a node, as when its power fails, or only one
// of its daemons.
func (c *Cluster) StopNode(ctx context.Context, name, component string) error {
	return c.locked(ctx, func() error {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		if component != "" {
			return c.stopComponent(n, component)
		}
		if err := c.killNode(ctx, n); err != nil {
			return err
		}
		c.say("%s is stopped", name)
		return nil
	})
}

func (c *Cluster) stopComponent(n plan.Node, component string) error {
	for _, known := range nodeComponents {
		if component != known {
			continue
		}
		record, alive := c.daemons.Living(n.Daemon(component))
		if !alive {
			return nil
		}
		if err := c.daemons.Table.Signal(record.Identity, syscall.SIGKILL); err != nil {
			return err
		}
		c.say("%s of %s is killed", component, n.Name())
		return c.daemons.Stop(n.Daemon(component), time.Second)
	}
	return fmt.Errorf("--component %s: a node has %s", component, strings.Join(nodeComponents, ", "))
}

// killNode ends every process of the node and takes its network and cgroups.
func (c *Cluster) killNode(ctx context.Context, n plan.Node) error {
	selector := proc.Selector{
		Mark:   func(daemon string) bool { return strings.HasPrefix(daemon, n.Daemon("")) },
		NetNS:  namespaces(n.Namespace()),
		Cgroup: regexp.MustCompile(`(?m)^[^:]*:[^:]*:/(?:.*/)?` + n.Cgroup() + `(?:/|$)`),
	}
	if _, err := c.daemons.Table.KillAll(selector, os.Getpid(), 20*time.Second); err != nil {
		return fmt.Errorf("stop %s: %w", n.Name(), err)
	}
	return host.RemoveNode(ctx, n)
}

// namespaces returns the inodes of network namespaces that exist.
func namespaces(names ...string) map[uint64]bool {
	inodes := map[uint64]bool{}
	for _, name := range names {
		if inode, ok := proc.Inode(filepath.Join(plan.NamespaceFolder, name)); ok {
			inodes[inode] = true
		}
	}
	return inodes
}

// StartNode starts whatever of a node does not run.
func (c *Cluster) StartNode(ctx context.Context, name string) error {
	return c.locked(ctx, func() error {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		return c.startNode(ctx, n)
	})
}

func (c *Cluster) startNode(ctx context.Context, n plan.Node) error {
	if err := c.startRuntime(ctx, n); err != nil {
		return err
	}
	return c.join(ctx, n)
}

// join makes a node whose containerd runs a member of the cluster and waits
// until it is Ready.
func (c *Cluster) join(ctx context.Context, n plan.Node) error {
	if err := c.startAgents(n); err != nil {
		return err
	}
	if err := host.Connect(ctx, n, true); err != nil {
		return err
	}
	members, err := c.runningNodes()
	if err != nil {
		return err
	}
	if err := c.networkPods(ctx, members); err != nil {
		return err
	}
	return c.awaitReady(ctx, n)
}

// runningNodes lists the nodes that have a kubelet.
func (c *Cluster) runningNodes() ([]plan.Node, error) {
	all, err := c.nodes()
	if err != nil {
		return nil, err
	}
	var running []plan.Node
	for _, n := range all {
		if _, alive := c.daemons.Living(n.Daemon(kubelet)); alive {
			running = append(running, n)
		}
	}
	return running, nil
}

// Connect plugs in or pulls the network cable of a node.
func (c *Cluster) Connect(ctx context.Context, name string, on bool) error {
	return c.locked(ctx, func() error {
		n, err := c.node(name)
		if err != nil {
			return err
		}
		if err := host.Connect(ctx, n, on); err != nil {
			return err
		}
		if on {
			c.say("%s is connected", name)
		} else {
			c.say("%s is cut off", name)
		}
		return nil
	})
}
