package registryconfig

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	// cleanupPatience is how long the agents of the nodes get to clean up.
	cleanupPatience = 10 * time.Minute
	maxNamedNodes   = 20
	apiServiceName  = "v1.image.alauda.io"
)

// removal is how far the removal came.
type removal struct{ done bool }

// stage is one step of the removal. The next begins when it is done.
type stage struct {
	what string
	run  func(context.Context) (bool, error)
}

// remove takes the registry away, in an order that leaves the cluster whole at every moment: the API goes
// before its server, because a registered API without a server stops the deletion of namespaces; no Pod of
// the registry is left when the storage goes.
func (c *Controller) remove(ctx context.Context, config *registryv1.Config) outcome {
	for _, stage := range c.stages(config) {
		done, err := stage.run(ctx)
		if err != nil {
			return outcome{err: fmt.Errorf("remove %s: %w", stage.what, err)}
		}
		if !done {
			return outcome{err: fault.WaitingFor("%s to be gone", stage.what)}
		}
	}
	return outcome{removal: removal{done: true}}
}

func (c *Controller) stages(config *registryv1.Config) []stage {
	ns := c.Settings.Namespace
	inNS := func(kind string, names ...string) []apply.Ref { return refs(kind, ns, names...) }
	global := func(kind string, names ...string) []apply.Ref { return refs(kind, "", names...) }
	deleted := func(what string, groups ...[]apply.Ref) stage {
		var all []apply.Ref
		for _, group := range groups {
			all = append(all, group...)
		}
		return stage{what, func(ctx context.Context) (bool, error) { return c.deleteAll(ctx, all) }}
	}
	const api, registry = registryv1.ImageAPIName, registryv1.RegistryName
	return []stage{
		{lookupWebhook.String(), c.removeLookup},
		{"APIService " + apiServiceName, c.removeAPI},
		deleted("Deployment image-api-server", inNS("Deployment", api)),
		deleted("what belongs to image-api-server",
			inNS("PodDisruptionBudget", api),
			inNS("Service", api, registryv1.ImageAPIWebhookService),
			inNS("ConfigMap", registryv1.ConfigMapImageAPIConfig),
			inNS("RoleBinding", api), inNS("Role", api),
			refs("RoleBinding", metav1.NamespaceSystem, "image-api-server-authentication-reader"),
			global("ClusterRoleBinding", api, "image-api-server-auth-delegator"),
			global("ClusterRole", "system:image-api-server"),
			inNS("ServiceAccount", api),
			global("ValidatingAdmissionPolicyBinding", "image-storage-guard.image.alauda.io"),
			global("ValidatingAdmissionPolicy", "image-storage-guard.image.alauda.io"),
			global("FlowSchema", api), global("PriorityLevelConfiguration", "image-registry-storage")),
		deleted("Deployment image-registry", inNS("Deployment", registry)),
		{"every Pod of the registry", func(ctx context.Context) (bool, error) { return c.noRegistryPod(ctx, config) }},
		deleted("what belongs to the registry",
			inNS("PodDisruptionBudget", registry), inNS("Service", registry),
			inNS("Secret", registryv1.SecretPrivateConfig),
			inNS("RoleBinding", registry), inNS("Role", registry),
			global("ClusterRoleBinding", "registry-registry-role", "registry-monitoring"),
			global("ClusterRole", "system:registry", "registry-monitoring"),
			inNS("ServiceAccount", registry)),
		{"the trust on the nodes", c.cleanNodes},
		deleted("what belongs to node-ca",
			inNS("DaemonSet", registryv1.NodeCAName), inNS("ServiceAccount", registryv1.NodeCAName),
			inNS("ConfigMap", registryv1.ConfigMapNodeCAConfig, registryv1.ConfigMapCertificates, registryv1.ConfigMapPublic)),
		{"the storage", func(ctx context.Context) (bool, error) { return c.removeStorage(ctx, config) }},
	}
}

func refs(kind, namespace string, names ...string) []apply.Ref {
	out := make([]apply.Ref, len(names))
	for i, name := range names {
		out[i] = apply.Ref{Kind: kind, Namespace: namespace, Name: name}
	}
	return out
}

func (c *Controller) deleteAll(ctx context.Context, all []apply.Ref) (bool, error) {
	done, errs := true, []error{}
	for _, ref := range all {
		gone, err := c.Applier.Delete(ctx, ref)
		errs = append(errs, err)
		done = done && gone
	}
	return done, errors.Join(errs...)
}

// removeAPI takes the registration of the Image API away.
func (c *Controller) removeAPI(ctx context.Context) (bool, error) {
	return c.removeServed(ctx, apply.Ref{Kind: "APIService", Name: apiServiceName}, c.servedHere)
}

// removeServed takes away what sends requests to the API server. As long as that exists, kube-apiserver is
// asked too: a registration that has lost its labels is in no cache, and must not outlive the server.
func (c *Controller) removeServed(ctx context.Context, ref apply.Ref, ours func(*unstructured.Unstructured) bool) (bool, error) {
	cached, server := c.Applier.Cache.Get(ref), c.Applier.Cache.Get(c.inNamespace("Deployment", registryv1.ImageAPIName))
	if cached != nil || server == nil {
		return c.Applier.Delete(ctx, ref)
	}
	live, err := c.Applier.Live(ctx, ref)
	if err != nil || live == nil || !ours(live) {
		return err == nil, err
	}
	return c.Applier.DeleteThis(ctx, live)
}

// servedHere says whether an APIService points to the server of this registry.
func (c *Controller) servedHere(object *unstructured.Unstructured) bool {
	namespace, _, _ := unstructured.NestedString(object.Object, "spec", "service", "namespace")
	name, _, _ := unstructured.NestedString(object.Object, "spec", "service", "name")
	return namespace == c.Settings.Namespace && name == registryv1.ImageAPIName
}

// namespaceEnding says whether the namespace of the operands is being deleted.
func (c *Controller) namespaceEnding() bool {
	namespace, err := c.listers.namespaces.Get(c.Settings.Namespace)
	return err == nil && namespace.DeletionTimestamp != nil
}

// leaveNamespace is all that can be done when the namespace is deleted under a registry that is not Removed:
// its Pods go, and a registered API without a server would hold up the deletion of every namespace.
func (c *Controller) leaveNamespace(ctx context.Context) outcome {
	_, lookupErr := c.removeLookup(ctx)
	_, err := c.removeAPI(ctx)
	return outcome{err: errors.Join(lookupErr, err, fault.WaitingFor("Namespace %s, which is being deleted, to be gone", c.Settings.Namespace))}
}

// noRegistryPod asks the API server itself: a writer must not be left when the storage goes. Without storage
// there is nothing to protect and no request.
func (c *Controller) noRegistryPod(ctx context.Context, config *registryv1.Config) (bool, error) {
	if config.Status.Storage == nil {
		return true, nil
	}
	pods, err := c.Kube.CoreV1().Pods(c.Settings.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{registryv1.LabelName: registryv1.RegistryName}.String(),
		Limit:         1,
	})
	if err != nil {
		return false, fmt.Errorf("list Pods of the registry: %w", err)
	}
	return len(pods.Items) == 0, nil
}

// cleanNodes rolls the DaemonSet in cleanup mode and is done when every agent reports a clean node, or when
// the patience ends.
func (c *Controller) cleanNodes(ctx context.Context) (bool, error) {
	ref := apply.Ref{Kind: "DaemonSet", Namespace: c.Settings.Namespace, Name: registryv1.NodeCAName}
	live := c.Applier.Cache.Get(ref)
	if live == nil || live.GetDeletionTimestamp() != nil {
		c.memory.cleanupSince = time.Time{}
		return true, nil
	}
	if c.memory.cleanupSince.IsZero() {
		c.memory.cleanupSince = c.Clock.Now()
	}
	daemon, err := render.NodeCADaemonSet(c.Settings, render.NodeModeCleanup)
	if err != nil {
		return false, err
	}
	after, _, err := c.Applier.Apply(ctx, daemon)
	if err != nil {
		return false, err
	}
	clean, err := nodesClean(after)
	if err != nil || clean {
		return clean, err
	}
	if c.Clock.Now().Sub(c.memory.cleanupSince) < cleanupPatience {
		return false, nil
	}
	nodes, err := c.uncleanNodes(ctx)
	if err != nil {
		return false, err
	}
	c.Events("Warning", "NodeCleanupIncomplete", "these nodes did not report that the registry's CA and host entry are gone: "+nodes)
	return true, nil
}

func nodesClean(object *unstructured.Unstructured) (bool, error) {
	daemon, err := convert[appsv1.DaemonSet](object)
	if err != nil {
		return false, err
	}
	if !cleansUp(daemon) {
		return false, nil // somebody else keeps it in its other mode
	}
	s := daemon.Status
	return s.ObservedGeneration >= daemon.Generation && s.UpdatedNumberScheduled == s.DesiredNumberScheduled && s.NumberReady == s.DesiredNumberScheduled, nil
}

// cleansUp says whether the agents were told to clean up: those of a healthy registry are ready too.
func cleansUp(daemon *appsv1.DaemonSet) bool {
	for _, container := range daemon.Spec.Template.Spec.Containers {
		for _, variable := range container.Env {
			if variable.Name == "NODE_CA_MODE" {
				return variable.Value == render.NodeModeCleanup
			}
		}
	}
	return false
}

// uncleanNodes names nodes whose agent is not ready.
func (c *Controller) uncleanNodes(ctx context.Context) (string, error) {
	pods, err := c.Kube.CoreV1().Pods(c.Settings.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{registryv1.LabelName: registryv1.NodeCAName}.String(),
	})
	if err != nil {
		return "", fmt.Errorf("list Pods of node-ca: %w", err)
	}
	var names []string
	for i := range pods.Items {
		if !podReady(&pods.Items[i]) && pods.Items[i].Spec.NodeName != "" {
			names = append(names, pods.Items[i].Spec.NodeName)
		}
	}
	sort.Strings(names)
	if len(names) > maxNamedNodes {
		names = append(names[:maxNamedNodes], "…")
	}
	return strings.Join(names, ", "), nil
}

func podReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
