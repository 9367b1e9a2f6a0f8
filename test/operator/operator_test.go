//go:build component

package operator

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

func inNS(kind string, names ...string) []apply.Ref {
	var out []apply.Ref
	for _, name := range names {
		out = append(out, apply.Ref{Kind: kind, Namespace: ns, Name: name})
	}
	return out
}

func global(kind string, names ...string) []apply.Ref {
	var out []apply.Ref
	for _, name := range names {
		out = append(out, apply.Ref{Kind: kind, Name: name})
	}
	return out
}

// dataPlane goes away when the registry is removed, kept stays.
func dataPlane() []apply.Ref {
	return slices.Concat(
		inNS("Deployment", "image-registry", "image-api-server"),
		inNS("DaemonSet", "node-ca"),
		inNS("Service", "image-registry", "image-api-server", "image-api-server-webhook"),
		inNS("PodDisruptionBudget", "image-registry", "image-api-server"),
		inNS("NetworkPolicy", "image-registry", "image-api-server", "image-pruner"),
		inNS("ServiceAccount", "image-registry", "image-api-server", "node-ca"),
		inNS("Role", "image-registry", "image-api-server"),
		inNS("RoleBinding", "image-registry", "image-api-server"),
		[]apply.Ref{{Kind: "RoleBinding", Namespace: "kube-system", Name: "image-api-server-authentication-reader"}},
		inNS("Secret", "image-registry-private-configuration"),
		inNS("ConfigMap", "image-registry-certificates", "node-ca-config", "image-api-server-config", "image-registry-public"),
		global("ClusterRole", "system:registry", "system:image-api-server", "registry-monitoring"),
		global("ClusterRoleBinding", "registry-registry-role", "image-api-server", "image-api-server-auth-delegator", "registry-monitoring"),
		global("PriorityLevelConfiguration", "image-registry-storage"),
		global("FlowSchema", "image-api-server"),
		global("ValidatingAdmissionPolicy", "image-storage-guard.image.alauda.io"),
		global("ValidatingAdmissionPolicyBinding", "image-storage-guard.image.alauda.io"),
	)
}

func kept() []apply.Ref {
	return slices.Concat(
		inNS("ServiceAccount", "pruner"),
		inNS("CronJob", "image-pruner"),
		inNS("Role", "registry-monitoring", "image-registry-public-reader"),
		inNS("RoleBinding", "registry-monitoring", "image-registry-public-reader"),
		inNS("ConfigMap", "serviceca", "trusted-ca"),
		inNS("Secret", "image-registry-serving-ca"),
		global("ClusterRole", "system:image-puller", "system:image-pusher", "system:image-deleter", "system:image-builder",
			"system:image-auditor", "system:image-signer", "system:image-aggregate-to-view", "system:image-aggregate-to-edit",
			"system:image-aggregate-to-admin", "system:image-pruner"),
		global("ClusterRoleBinding", "image-registry-pruner"),
		global("CustomResourceDefinition", "storedimages.storage.image.alauda.io", "storedimagestreams.storage.image.alauda.io"),
	)
}

var (
	apiService = apply.Ref{Kind: "APIService", Name: "v1.image.alauda.io"}
	lookup     = apply.Ref{Kind: "MutatingWebhookConfiguration", Name: "image-lookup.image.alauda.io"}
)

// reportEndpoint says that the API server is ready, as its Pod would.
func (c *cluster) reportEndpoint() {
	c.t.Helper()
	_, err := c.kube.DiscoveryV1().EndpointSlices(ns).Create(c.t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "image-api-server-1", Labels: map[string]string{discoveryv1.LabelServiceName: "image-api-server"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"198.18.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To[int32](8443)}},
	}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatalf("report an endpoint: %v", err)
	}
}

// reportCleanNodes says, as the agents would, that every node is clean; false while they were not asked to.
func (c *cluster) reportCleanNodes() bool {
	c.t.Helper()
	daemon, err := c.kube.AppsV1().DaemonSets(ns).Get(c.t.Context(), "node-ca", metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, variable := range daemon.Spec.Template.Spec.Containers[0].Env {
		if variable.Name == "NODE_CA_MODE" && variable.Value != "cleanup" {
			return false
		}
	}
	daemon.Status.ObservedGeneration = daemon.Generation
	_, err = c.kube.AppsV1().DaemonSets(ns).UpdateStatus(c.t.Context(), daemon, metav1.UpdateOptions{})
	return err == nil
}

// Behaviours 9, 11, 14, 17, 19, 20, 21, 23, 24, 25, 26, 31: one registry through its whole life, because starting
// a control plane costs more than all of it.
func TestLifeOfARegistry(t *testing.T) {
	t.Parallel()
	c := start(t)

	t.Run("a fresh installation is Removed and runs nothing", func(t *testing.T) {
		c.t = t
		c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
		c.waitFor(registryv1.ConditionAvailable, registryv1.ConditionTrue, registryv1.ReasonRemoved)
		c.waitFor(registryv1.ConditionProgressing, registryv1.ConditionFalse, registryv1.ReasonRemoved)
		c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonRemoved)
		for _, ref := range append(dataPlane(), apiService, lookup) {
			if c.get(ref) != nil {
				t.Errorf("%s exists before the registry was enabled", ref)
			}
		}
		c.eventually("ImagePruner is suspended because the registry is removed", func() (bool, string) {
			pruner, err := c.registry.ImageregistryV1().ImagePruners().Get(t.Context(), registryv1.SingletonName, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			for _, condition := range pruner.Status.Conditions {
				if condition.Type == registryv1.ConditionPrunerScheduled {
					return condition.Reason == registryv1.ReasonRegistryRemoved, condition.Reason
				}
			}
			return false, "no condition"
		})
	})

	t.Run("without any storage Managed says what to configure", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed })
		c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionTrue, registryv1.ReasonStorageNotConfigured)
		c.waitFor(registryv1.ConditionProgressing, registryv1.ConditionFalse, registryv1.ReasonError)
	})

	t.Run("Managed with emptyDir brings everything up, the API last", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) {
			config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
		})
		for _, ref := range append(dataPlane(), kept()...) {
			c.exists(ref)
		}
		c.waitFor(registryv1.ConditionProgressing, registryv1.ConditionTrue, registryv1.ReasonDeploymentNotCompleted)
		for _, ref := range []apply.Ref{apiService, lookup} {
			if c.get(ref) != nil {
				t.Errorf("%s is registered before its server has a ready endpoint", ref)
			}
		}
		c.reportEndpoint()
		c.exists(apiService)
		c.exists(lookup)
		c.eventually("storage is resolved in the spec", func() (bool, string) {
			config := c.config()
			return config.Spec.Storage.ManagementState == registryv1.Managed && config.Status.Storage != nil, string(config.Spec.Storage.ManagementState)
		})
	})

	t.Run("a second reconcile writes nothing", func(t *testing.T) {
		c.t = t
		c.settle()
		before := c.writes.list()
		c.nudge("first")
		c.nudge("second")
		if after := c.writes.list(); len(after) > len(before) {
			t.Errorf("requests that change something, on a healthy system:\n%s", strings.Join(after[len(before):], "\n"))
		}
	})

	t.Run("a deleted object comes back", func(t *testing.T) {
		c.t = t
		secret := c.get(inNS("Secret", "image-registry-private-configuration")[0])
		for _, ref := range append(dataPlane(), apiService, lookup) {
			if ref.Kind == "Secret" {
				continue
			}
			c.deleteAndWait(ref)
		}
		after := c.get(inNS("Secret", "image-registry-private-configuration")[0])
		if after == nil || secret.GetUID() != after.GetUID() {
			t.Error("the key that signs upload state was replaced without need")
		}
	})

	t.Run("an edited field is put back and a foreign one is kept", func(t *testing.T) {
		c.t = t
		service, err := c.kube.CoreV1().Services(ns).Get(t.Context(), "image-registry", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		service.Spec.Selector = map[string]string{"app": "other"}
		service.Annotations["example.com/mine"] = "yes"
		if _, err := c.kube.CoreV1().Services(ns).Update(t.Context(), service, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
			t.Fatal(err)
		}
		c.eventually("the selector is put back", func() (bool, string) {
			live, err := c.kube.CoreV1().Services(ns).Get(t.Context(), "image-registry", metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return live.Spec.Selector["app.kubernetes.io/name"] == "image-registry" && live.Annotations["example.com/mine"] == "yes", live.String()
		})
	})

	t.Run("an object that somebody keeps changing is left to him for a minute", func(t *testing.T) {
		c.t = t
		edits := c.fight("image-api-server")
		// That the Service was created again after its deletion above was the first of the ten corrections.
		if edits < 10 {
			t.Errorf("the operator gave up after %d edits, want ten corrections", edits)
		}
		c.eventually("the conflict is told", func() (bool, string) {
			events, err := c.kube.CoreV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return false, err.Error()
			}
			return slices.ContainsFunc(events.Items, func(event corev1.Event) bool { return event.Reason == "DriftConflict" }), "no such event"
		})
	})

	t.Run("short image names can be switched off and on", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) { config.Spec.ImageAPI.ImageLookup = ptr.To(false) })
		c.eventually("the webhook is gone", func() (bool, string) { return c.get(lookup) == nil, summary(c.config()) })
		c.edit(func(config *registryv1.Config) { config.Spec.ImageAPI.ImageLookup = nil })
		c.exists(lookup)
	})

	t.Run("Unmanaged repairs nothing", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Unmanaged })
		c.waitFor(registryv1.ConditionAvailable, registryv1.ConditionTrue, registryv1.ReasonUnmanaged)
		budget := inNS("PodDisruptionBudget", "image-registry")[0]
		c.remove(budget)
		c.nudge("unmanaged")
		if c.get(budget) != nil {
			t.Error("an object was repaired although the registry is Unmanaged")
		}
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed })
		c.exists(budget)
	})

	t.Run("Removed takes the data plane away, the API first", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
		c.eventually("the nodes are asked to clean up", func() (bool, string) { return c.reportCleanNodes(), summary(c.config()) })
		c.eventually("the Deployment of the API server is gone", func() (bool, string) {
			gone := c.get(inNS("Deployment", "image-api-server")[0]) == nil
			for _, ref := range []apply.Ref{apiService, lookup} {
				if gone && c.get(ref) != nil {
					t.Fatalf("%s outlived its server", ref)
				}
			}
			return gone, summary(c.config())
		})
		c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
		for _, ref := range append(dataPlane(), apiService, lookup) {
			if c.get(ref) != nil {
				t.Errorf("%s is still there", ref)
			}
		}
		for _, ref := range kept() {
			if c.get(ref) == nil {
				t.Errorf("%s should have been kept", ref)
			}
		}
		if status := c.config().Status; status.Storage != nil || status.InternalRegistryHostname != "" || status.Version != "v1.2.3" {
			t.Errorf("status after removal: storage %v, host %q, version %q", status.Storage, status.InternalRegistryHostname, status.Version)
		}
	})

	t.Run("a deleted Config comes back as Removed", func(t *testing.T) {
		c.t = t
		uid := c.config().UID
		if err := c.registry.ImageregistryV1().Configs().Delete(t.Context(), registryv1.SingletonName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.eventually("a fresh Config", func() (bool, string) {
			config := c.config()
			return config.UID != "" && config.UID != uid && config.Spec.ManagementState == registryv1.Removed, string(config.UID)
		})
	})
}

// Behaviours 12, 15, 16, 18: the operator's own claim, its write-back, and its end with the registry.
func TestClaimOfTheOperator(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	storageClass := defaultClass()
	if _, err := c.kube.StorageV1().StorageClasses().Create(t.Context(), storageClass, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Replicas = ptr.To[int32](1)
	})
	claim := inNS("PersistentVolumeClaim", "image-registry-storage")[0]
	c.exists(claim)
	c.exists(inNS("Deployment", "image-registry")[0])
	c.eventually("the choice is written into the spec", func() (bool, string) {
		storage := c.config().Spec.Storage
		return storage.ManagementState == registryv1.Managed && storage.PVC != nil && storage.PVC.Claim == "image-registry-storage", summary(c.config())
	})
	c.eventually("the strategy on a single-writer volume is Recreate", func() (bool, string) {
		strategy := c.config().Status.RolloutStrategy
		return strategy == "Recreate", strategy
	})
	c.settle()
	before := c.writes.list()
	c.nudge("claim")
	if after := c.writes.list(); len(after) > len(before) {
		t.Errorf("requests that change something, on a healthy system:\n%s", strings.Join(after[len(before):], "\n"))
	}
	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
	c.eventually("the nodes are asked to clean up", func() (bool, string) { return c.reportCleanNodes(), summary(c.config()) })
	c.eventually("the claim is deleted with the registry", func() (bool, string) {
		live := c.get(claim)
		return live == nil || live.GetDeletionTimestamp() != nil, summary(c.config())
	})
}

// settle waits until the operator has written nothing for two seconds.
func (c *cluster) settle() {
	c.t.Helper()
	count, since := len(c.writes.list()), time.Now()
	c.eventually("the operator comes to rest", func() (bool, string) {
		if now := c.writes.list(); len(now) != count {
			count, since = len(now), time.Now()
		}
		return time.Since(since) > 2*time.Second, strings.Join(c.writes.list()[max(0, count-5):], "\n")
	})
}

// nudge makes the operator look at everything again, and waits until it has.
func (c *cluster) nudge(name string) {
	c.t.Helper()
	_, err := c.kube.CoreV1().ConfigMaps(ns).Create(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "nudge-" + name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err)
	}
	c.settle()
}

func (c *cluster) remove(ref apply.Ref) {
	c.t.Helper()
	kind, err := apply.KindNamed(ref.Kind)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.dynamic.Resource(kind.GVR()).Namespace(ref.Namespace).Delete(c.t.Context(), ref.Name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatalf("delete %s: %v", ref, err)
	}
}

func (c *cluster) deleteAndWait(ref apply.Ref) {
	c.t.Helper()
	before := c.get(ref)
	if before == nil {
		c.t.Fatalf("%s does not exist", ref)
	}
	c.remove(ref)
	c.eventually(ref.String()+" comes back", func() (bool, string) {
		after := c.get(ref)
		return after != nil && after.GetUID() != before.GetUID() && after.GetDeletionTimestamp() == nil, summary(c.config())
	})
}
