package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"image.alauda.io/registry/hack/devcluster/internal/host"
	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// drainTimeout bounds how long the Pods of a node that goes may take to end.
const drainTimeout = 60 * time.Second

// grown is the cluster with one more node, or as it is when the node belongs to
// it already. Without a name it is the next node.
func (r record) grown(name string) (record, plan.Node, error) {
	next := plan.Node{Index: r.Nodes + 1}
	n := next
	if name != "" {
		var err error
		if n, err = plan.ParseNode(name); err != nil {
			return r, n, err
		}
	}
	switch {
	case n.Index > next.Index:
		return r, n, fmt.Errorf("%s cannot come yet: the next node is %s", n.Name(), next.Name())
	case n.Index > plan.MaxNodes:
		return r, n, fmt.Errorf("a cluster has at most %d nodes", plan.MaxNodes)
	case n == next:
		r.Nodes++
	}
	return r, n, nil
}

// shrunk is the cluster without its last node, or as it is when the node does
// not belong to it.
func (r record) shrunk(name string) (record, plan.Node, error) {
	n, err := plan.ParseNode(name)
	if err != nil {
		return r, n, err
	}
	switch {
	case n.Index > r.Nodes:
		return r, n, nil
	case r.Nodes == 1:
		return r, n, fmt.Errorf("%s is the only node: take the cluster away with down", name)
	case n.Index < r.Nodes:
		return r, n, fmt.Errorf("%s cannot go: nodes are numbered, so only the last one can, %s", name, plan.Node{Index: r.Nodes}.Name())
	}
	r.Nodes--
	return r, n, nil
}

// AddNode lets one more node join the running cluster, with every image that
// was loaded onto the others, and waits until it is Ready. A node that is there
// already is repaired.
func (c *Cluster) AddNode(ctx context.Context, name string) error {
	return c.locked(ctx, func() error {
		have, ok := c.load()
		if _, runs := c.daemons.Living("kube-apiserver"); !ok || !runs {
			return errors.New("there is no running cluster that a node could join: start it with up")
		}
		want, n, err := have.grown(name)
		if err != nil {
			return err
		}
		// Remembered first, so that what is begun is found by up and remove-node.
		if err := c.save(want); err != nil {
			return err
		}
		if err := c.writeCredentials([]plan.Node{n}); err != nil {
			return err
		}
		if err := c.writeConfiguration(want, []plan.Node{n}); err != nil {
			return err
		}
		if err := c.startRuntime(ctx, n); err != nil {
			return err
		}
		if err := c.copyImages(ctx, n); err != nil {
			return err
		}
		return c.join(ctx, n)
	})
}

// copyImages gives a node what was loaded onto the others.
func (c *Cluster) copyImages(ctx context.Context, n plan.Node) error {
	others, err := c.runningNodes()
	if err != nil {
		return err
	}
	target, err := c.target(n)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other == n {
			continue
		}
		source, err := c.target(other)
		if err != nil {
			continue // its kubelet lives without its node: another one may do
		}
		return target.CopyFrom(ctx, source, c.layout.Node(n, "images.tar"))
	}
	return nil
}

// RemoveNode moves the Pods of the last node elsewhere and takes the node away,
// with its Node object and its data. A node that does not belong to the cluster
// leaves nothing behind either.
func (c *Cluster) RemoveNode(ctx context.Context, name string) error {
	return c.locked(ctx, func() error {
		have, ok := c.load()
		if !ok {
			return errors.New("there is no development cluster: start one with up")
		}
		want, n, err := have.shrunk(name)
		if err != nil {
			return err
		}
		if want != have {
			if err := c.drain(ctx, n); err != nil {
				c.say("%v", err)
			}
		}
		if err := c.killNode(ctx, n); err != nil {
			return err
		}
		if err := c.forget(ctx, n); err != nil {
			return err
		}
		if err := host.SystemCgroups().RemoveOf(n, 20*time.Second); err != nil {
			return err
		}
		if err := c.removeFiles(n); err != nil {
			return err
		}
		if err := c.save(want); err != nil {
			return err
		}
		c.say("%s is gone: %d nodes", name, want.Nodes)
		return nil
	})
}

// drain lets the node's Pods end and their controllers make others elsewhere.
// What does not end in time is killed with the node.
func (c *Cluster) drain(ctx context.Context, n plan.Node) error {
	cmd := exec.CommandContext(ctx, c.layout.Binary("kubectl"), "--kubeconfig", c.layout.Kubeconfig(), "drain", n.Name(),
		"--ignore-daemonsets", "--delete-emptydir-data", "--disable-eviction", "--force", "--timeout="+drainTimeout.String())
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "not found") {
		return fmt.Errorf("drain %s: %w: %s", n.Name(), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// forget deletes the Node object and the Pods that nobody ends any more.
func (c *Cluster) forget(ctx context.Context, n plan.Node) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.CoreV1().Nodes().Delete(ctx, n.Name(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Node %s: %w", n.Name(), err)
	}
	pods, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.Name()})
	if err != nil {
		return fmt.Errorf("list the Pods of %s: %w", n.Name(), err)
	}
	for _, pod := range pods.Items {
		now := metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
		err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, now)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete Pod %s/%s of %s: %w", pod.Namespace, pod.Name, n.Name(), err)
		}
	}
	return nil
}

// removeFiles removes what is kept for a node alone; its logs stay.
func (c *Cluster) removeFiles(n plan.Node) error {
	records, err := filepath.Glob(filepath.Join(c.layout.Run(), n.Daemon("*.json")))
	if err != nil {
		return err
	}
	paths := append(records, c.layout.Node(n))
	for _, ending := range []string{".crt", ".key", ".kubeconfig"} {
		paths = append(paths, c.layout.PKIFile(n.Name()+ending))
	}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove %s: %w", n.Name(), err)
		}
	}
	return nil
}
