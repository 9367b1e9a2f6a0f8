package registryconfig

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

const apiServiceName = "v1.image.alauda.io"

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
		{"the Ingresses", func(ctx context.Context) (bool, error) { return true, c.askToRemoveIngresses(ctx, config) }},
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
			inNS("ServiceAccount", registry), c.policies()),
		{"the trust on the nodes", c.cleanNodes},
		deleted("what belongs to node-ca",
			inNS("DaemonSet", registryv1.NodeCAName), inNS("ServiceAccount", registryv1.NodeCAName),
			inNS("ConfigMap", registryv1.ConfigMapNodeCAConfig, registryv1.ConfigMapCertificates, registryv1.ConfigMapPublic)),
		{"every Ingress", func(ctx context.Context) (bool, error) { return c.removeIngresses(ctx, config) }},
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

// namespaceGone says whether that namespace does not exist. A cache that is not filled does not know.
func (c *Controller) namespaceGone() bool {
	_, err := c.listers.namespaces.Get(c.Settings.Namespace)
	return apierrors.IsNotFound(err) && c.Cluster.Core().V1().Namespaces().Informer().HasSynced()
}

// leaveNamespace is all that can be done when the namespace is deleted under a registry that is not Removed:
// its Pods go, and a registered API without a server would hold up the deletion of every namespace.
func (c *Controller) leaveNamespace(ctx context.Context) outcome {
	_, lookupErr := c.removeLookup(ctx)
	_, err := c.removeAPI(ctx)
	why := fault.WaitingFor("Namespace %s, which is being deleted, to be gone", c.Settings.Namespace)
	if c.namespaceGone() {
		why = fault.Permanentf(registryv1.ReasonVerificationFailed,
			"Namespace %s does not exist; install the operator's manifests again, which create it and the operator's rights in it", c.Settings.Namespace)
	}
	return outcome{err: errors.Join(lookupErr, err, why)}
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
