package registryconfig

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	// cleanupPatience is how long the agents of the nodes get to clean up and to go.
	cleanupPatience = 10 * time.Minute
	maxNamedNodes   = 20
)

// watchNodes notices new nodes and new container runtimes, which the agents are told of. A heartbeat of a node
// is no reason to look at the registry.
func (c *Controller) watchNodes() error {
	return c.handle(c.Cluster.Core().V1().Nodes().Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.Enqueue() },
		DeleteFunc: func(any) { c.Enqueue() },
		UpdateFunc: func(before, after any) {
			b, okB := before.(*corev1.Node)
			a, okA := after.(*corev1.Node)
			if !okB || !okA || nodeFacts(b) != nodeFacts(a) {
				c.Enqueue()
			}
		},
	})
}

// nodeFacts is what of a node goes into what is rendered.
func nodeFacts(node *corev1.Node) [2]string {
	return [2]string{node.Status.NodeInfo.ContainerRuntimeVersion, node.Labels[corev1.LabelTopologyZone]}
}

// cleanNodes rolls the DaemonSet in cleanup mode and is done when every agent reports a clean node. When the
// patience ends, the DaemonSet goes without waiting for the Pods of nodes that nobody reaches.
func (c *Controller) cleanNodes(ctx context.Context) (bool, error) {
	live := c.Applier.Cache.Get(c.inNamespace("DaemonSet", registryv1.NodeCAName))
	if live == nil {
		c.memory.cleanupSince = time.Time{}
		return true, nil
	}
	if c.memory.cleanupSince.IsZero() {
		c.memory.cleanupSince = c.Clock.Now()
	}
	late := c.Clock.Now().Sub(c.memory.cleanupSince) >= cleanupPatience
	going := live.GetDeletionTimestamp() != nil
	if going && !late {
		return true, nil // the next stage waits for it to be gone
	}
	var err error
	if !going {
		var clean bool
		if clean, err = c.cleanup(ctx); clean || err != nil && !late {
			return clean, err
		}
	}
	if !late {
		return false, nil
	}
	return false, errors.Join(err, c.giveUpCleaning(ctx, live))
}

// cleanup asks for the roll and says whether every node is clean.
func (c *Controller) cleanup(ctx context.Context) (bool, error) {
	daemon, err := render.NodeCADaemonSet(c.Settings, render.NodeModeCleanup)
	if err != nil {
		return false, err
	}
	after, _, err := c.Applier.Apply(ctx, daemon)
	if err != nil {
		return false, err
	}
	return nodesClean(after)
}

// giveUpCleaning tells which nodes are left and deletes the DaemonSet in the background: its Pods on nodes that
// nobody reaches end when those come back or are removed, and a deletion in the foreground would wait for them.
func (c *Controller) giveUpCleaning(ctx context.Context, live *unstructured.Unstructured) error {
	nodes, err := c.uncleanNodes(ctx)
	if err != nil {
		return err
	}
	uid, background := live.GetUID(), metav1.DeletePropagationBackground
	err = c.Kube.AppsV1().DaemonSets(live.GetNamespace()).Delete(ctx, live.GetName(), metav1.DeleteOptions{
		PropagationPolicy: &background,
		Preconditions:     &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete %s: %w", apply.Describe(live), err)
	}
	c.Events("Warning", "NodeCleanupIncomplete", "these nodes did not report that the registry's CA and host entry are gone: "+named(nodes)+"; what is left there harms nothing, and the next agent takes it over")
	return nil
}

func nodesClean(object *unstructured.Unstructured) (bool, error) {
	daemon, err := convert[appsv1.DaemonSet](object)
	if err != nil {
		return false, err
	}
	if !cleansUp(&daemon.Spec.Template.Spec) {
		return false, nil // somebody else keeps it in its other mode
	}
	s := daemon.Status
	return s.ObservedGeneration >= daemon.Generation && s.UpdatedNumberScheduled == s.DesiredNumberScheduled && s.NumberReady == s.DesiredNumberScheduled, nil
}

// cleansUp says whether the agents were told to clean up: those of a healthy registry are ready too.
func cleansUp(pod *corev1.PodSpec) bool {
	for _, container := range pod.Containers {
		for _, variable := range container.Env {
			if variable.Name == render.NodeModeVariable {
				return variable.Value == render.NodeModeCleanup
			}
		}
	}
	return false
}

// uncleanNodes are the nodes without an agent that has cleaned up and says so. A node whose agent was never
// told to, and a node of Linux without any agent, are among them.
func (c *Controller) uncleanNodes(ctx context.Context) ([]string, error) {
	pods, err := c.Kube.CoreV1().Pods(c.Settings.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{registryv1.LabelName: registryv1.NodeCAName}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list Pods of node-ca: %w", err)
	}
	nodes, err := c.listers.nodes.List(labels.SelectorFromSet(labels.Set{corev1.LabelOSStable: "linux"}))
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	clean := map[string]bool{}
	for _, node := range nodes {
		clean[node.Name] = false
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; pod.Spec.NodeName != "" {
			clean[pod.Spec.NodeName] = clean[pod.Spec.NodeName] || cleansUp(&pod.Spec) && podReady(pod)
		}
	}
	var left []string
	for name, done := range clean {
		if !done {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left, nil
}

// named joins at most twenty names.
func named(nodes []string) string {
	if len(nodes) > maxNamedNodes {
		return fmt.Sprintf("%s and %d more", strings.Join(nodes[:maxNamedNodes], ", "), len(nodes)-maxNamedNodes)
	}
	return strings.Join(nodes, ", ")
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
