//go:build component

package operator

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/nodeca/inputs"
)

// node creates a node, or changes the runtime that it reports.
func (c *cluster) node(name, runtime string) {
	c.t.Helper()
	nodes := c.kube.CoreV1().Nodes()
	node, err := nodes.Get(c.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		node, err = nodes.Create(c.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}}}, metav1.CreateOptions{})
	}
	if err == nil {
		node.Status.NodeInfo.ContainerRuntimeVersion = runtime
		_, err = nodes.UpdateStatus(c.t.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatalf("node %s: %v", name, err)
	}
}

// mounted is what the agent of a node reads when the kubelet has mounted both ConfigMaps as they are now.
func (c *cluster) mounted() *inputs.Inputs {
	c.t.Helper()
	mount := func(name string) string {
		volume := c.t.TempDir()
		data := filepath.Join(volume, "..2030_01_02")
		if err := os.Mkdir(data, 0o755); err != nil {
			c.t.Fatal(err)
		}
		configMap, err := c.kube.CoreV1().ConfigMaps(ns).Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			c.t.Fatal(err)
		}
		for key, value := range configMap.Data {
			if err := os.WriteFile(filepath.Join(data, key), []byte(value), 0o644); err != nil {
				c.t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join("..data", key), filepath.Join(volume, key)); err != nil {
				c.t.Fatal(err)
			}
		}
		if err := os.Symlink("..2030_01_02", filepath.Join(volume, "..data")); err != nil {
			c.t.Fatal(err)
		}
		return volume
	}
	return inputs.Read(inputs.Sources{
		CertificatesDir: mount(registryv1.ConfigMapCertificates), ConfigDir: mount(registryv1.ConfigMapNodeCAConfig), Families: inputs.FamiliesOf(""),
	}, time.Now())
}

// agree waits until the agent finds nothing to complain of, reads the configuration that belongs to the
// certificates, and the rest holds.
func (c *cluster) agree(what string, holds func(*inputs.Inputs) bool) *inputs.Inputs {
	c.t.Helper()
	var in *inputs.Inputs
	c.eventually(what, func() (bool, string) {
		in = c.mounted()
		if in.Missing || len(in.Reasons) > 0 || in.Config == nil || in.Config.Hash != in.Hash {
			return false, fmt.Sprintf("inputs %+v, configuration %+v", in, in.Config)
		}
		return holds(in), fmt.Sprintf("configuration %+v", in.Config)
	})
	return in
}

func (c *cluster) clusterIP() string {
	service, err := c.kube.CoreV1().Services(ns).Get(c.t.Context(), registryv1.RegistryName, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return service.Spec.ClusterIP
}

func mapsTo(in *inputs.Inputs, ip string) bool {
	if len(in.Config.Hosts) != 1 {
		return false
	}
	address, err := netip.ParseAddr(ip)
	return err == nil && in.Config.Hosts[0].IP == address && slices.Contains(in.Config.Hosts[0].Names, "image-registry."+ns+".svc")
}

// Behaviours 36, 79, 80 and 84: the operator and the agent, which share no code, agree after each change.
//
// Behaviour node-ca 31.
func TestTrustOfTheNodes(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.node("n1", "containerd://2.2.1")
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
	})
	own := "image-registry." + ns + ".svc:5000"
	first := c.agree("the agent understands what the operator wrote", func(in *inputs.Inputs) bool {
		return mapsTo(in, c.clusterIP()) && slices.Equal(in.Config.Runtimes, []string{"containerd://2.2.1"}) && slices.Contains(in.Config.Registries, own) && in.Bundles[own] != nil
	})

	t.Run("a node with another runtime comes", func(t *testing.T) {
		c.t = t
		c.node("n2", "cri-o://1.33.0")
		in := c.agree("both runtimes are there", func(in *inputs.Inputs) bool {
			return slices.Equal(in.Config.Runtimes, []string{"containerd://2.2.1", "cri-o://1.33.0"})
		})
		if in.Hash != first.Hash {
			t.Errorf("the certificates changed from %s to %s", first.Hash, in.Hash)
		}
	})

	t.Run("a runtime is upgraded", func(t *testing.T) {
		c.t = t
		c.node("n1", "containerd://2.3.0")
		c.agree("the new version is there", func(in *inputs.Inputs) bool {
			return slices.Equal(in.Config.Runtimes, []string{"containerd://2.3.0", "cri-o://1.33.0"})
		})
	})

	t.Run("a node goes", func(t *testing.T) {
		c.t = t
		if err := c.kube.CoreV1().Nodes().Delete(t.Context(), "n2", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.agree("its runtime is gone", func(in *inputs.Inputs) bool { return slices.Equal(in.Config.Runtimes, []string{"containerd://2.3.0"}) })
	})

	t.Run("a CA of the administrator", func(t *testing.T) {
		c.t = t
		before := c.mounted()
		bundle, err := c.kube.CoreV1().ConfigMaps(ns).Get(t.Context(), registryv1.ConfigMapServiceCA, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "extra"},
			Data:       map[string]string{"registry.example.com..5000": bundle.Data[registryv1.KeyServiceCA], "../../etc/passwd..1": "x", "_default": "x"},
		}, metav1.CreateOptions{})
		if apierrors.IsInvalid(err) { // the API refuses a name with slashes by itself
			_, err = c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: "extra"},
				Data:       map[string]string{"registry.example.com..5000": bundle.Data[registryv1.KeyServiceCA], "_default": "x"},
			}, metav1.CreateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
		c.edit(func(config *registryv1.Config) { config.Spec.AdditionalTrustedCA.Name = "extra" })
		after := c.agree("the host is trusted", func(in *inputs.Inputs) bool { return in.Bundles["registry.example.com:5000"] != nil })
		if after.Hash == before.Hash {
			t.Error("the hash does not tell of new certificates")
		}
		c.edit(func(config *registryv1.Config) { config.Spec.AdditionalTrustedCA.Name = "" })
		c.agree("the host is forgotten", func(in *inputs.Inputs) bool { return in.Hash == before.Hash })
	})

	t.Run("another signer", func(t *testing.T) {
		c.t = t
		before := c.mounted().Hash
		c.deleteAndWait(inNS("Secret", "image-registry-serving-ca")[0])
		c.agree("the nodes get the new CA", func(in *inputs.Inputs) bool { return in.Hash != before })
	})

	t.Run("another address of the Service", func(t *testing.T) {
		c.t = t
		before := c.clusterIP()
		for c.clusterIP() == before { // the same one may be drawn again
			c.deleteAndWait(inNS("Service", registryv1.RegistryName)[0])
		}
		c.agree("the nodes get the new address", func(in *inputs.Inputs) bool { return mapsTo(in, c.clusterIP()) })
	})

	t.Run("the status counts nodes", func(t *testing.T) {
		c.t = t
		for _, test := range []struct {
			desired, updated, ready int32
			available, progressing  string
		}{
			{3, 3, 0, "False/NodeCAUnavailable", "False/AsExpected"},
			{3, 2, 1, "True/MinimumAvailability", "True/NodeCAUpdating"},
			{3, 3, 3, "True/Ready", "False/AsExpected"},
		} {
			c.reportNodes(test.desired, test.updated, test.ready)
			for kind, want := range map[string]string{registryv1.ConditionNodeCAAvailable: test.available, registryv1.ConditionNodeCAProgressing: test.progressing} {
				status, reason, _ := strings.Cut(want, "/")
				c.waitFor(kind, registryv1.ConditionStatus(status), reason)
			}
			if got := c.config().Status.NodeCA; got.Desired != test.desired || got.Ready != test.ready {
				t.Errorf("status.nodeCA is %+v, want %d of %d", got, test.ready, test.desired)
			}
		}
	})

	t.Run("only the agents need more than the restricted standard", func(t *testing.T) {
		c.t = t
		c.podSecurity()
	})

	t.Run("Removed waits for clean nodes, and a deletion that hangs can be given up", func(t *testing.T) {
		c.t = t
		c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Removed })
		c.eventually("the agents are told to clean up, all at once", func() (bool, string) {
			daemon := c.daemon()
			return daemon.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String() == "100%", fmt.Sprint(daemon.Spec.UpdateStrategy.RollingUpdate)
		})
		c.settle()
		if daemon := c.daemon(); daemon.DeletionTimestamp != nil {
			t.Fatal("the DaemonSet goes before any node is clean")
		}
		daemon := c.daemon()
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "node-ca-1", Labels: daemon.Spec.Template.Labels, Finalizers: []string{"example.com/unreachable"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(daemon, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}}, Spec: daemon.Spec.Template.Spec}
		if _, err := c.kube.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.eventually("the nodes are reported clean", func() (bool, string) { return c.reportCleanNodes(), "" })
		c.eventually("the DaemonSet waits for its Pod", func() (bool, string) {
			daemon := c.daemon()
			return daemon.DeletionTimestamp != nil && slices.Contains(daemon.Finalizers, metav1.FinalizerDeleteDependents), fmt.Sprint(daemon.Finalizers)
		})
		// What the operator does after its patience, which the unit tests show with a clock.
		background := metav1.DeletePropagationBackground
		if err := c.kube.AppsV1().DaemonSets(ns).Delete(t.Context(), "node-ca", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			t.Fatal(err)
		}
		c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	})
}

func (c *cluster) daemon() *appsv1.DaemonSet {
	c.t.Helper()
	daemon, err := c.kube.AppsV1().DaemonSets(ns).Get(c.t.Context(), registryv1.NodeCAName, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return daemon
}

// reportNodes reports numbers of the DaemonSet as its controller would.
func (c *cluster) reportNodes(desired, updated, ready int32) {
	c.t.Helper()
	c.eventually("the numbers are written", func() (bool, string) {
		daemon := c.daemon()
		daemon.Status = appsv1.DaemonSetStatus{
			ObservedGeneration: daemon.Generation, DesiredNumberScheduled: desired, CurrentNumberScheduled: desired,
			UpdatedNumberScheduled: updated, NumberReady: ready, NumberAvailable: ready,
		}
		_, err := c.kube.AppsV1().DaemonSets(ns).UpdateStatus(c.t.Context(), daemon, metav1.UpdateOptions{})
		return err == nil, fmt.Sprint(err)
	})
}

// podSecurity asks the API server about every Pod template that is installed, in a namespace that enforces the
// restricted standard.
func (c *cluster) podSecurity() {
	c.t.Helper()
	ctx, restricted := c.t.Context(), "restricted-"+fmt.Sprint(os.Getpid())
	_, err := c.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: restricted, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted", registryv1.IgnoreLabel: "true"}}}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = c.kube.CoreV1().ServiceAccounts(restricted).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err)
	}
	try := func(spec corev1.PodSpec) error {
		spec.ServiceAccountName, spec.DeprecatedServiceAccount, spec.PriorityClassName = "default", "", ""
		spec.AutomountServiceAccountToken = ptr.To(false)
		_, err := c.kube.CoreV1().Pods(restricted).Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "try"}, Spec: spec},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	for _, name := range []string{registryv1.RegistryName, registryv1.ImageAPIName} {
		deployment, err := c.kube.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			c.t.Fatal(err)
		}
		if err := try(deployment.Spec.Template.Spec); err != nil {
			c.t.Errorf("Deployment %s: %v", name, err)
		}
	}
	if err := try(c.cronJob().Spec.JobTemplate.Spec.Template.Spec); err != nil {
		c.t.Errorf("CronJob image-pruner: %v", err)
	}
	text, err := manifests.Files.ReadFile("operator/deployment.yaml")
	if err != nil {
		c.t.Fatal(err)
	}
	var operator appsv1.Deployment
	if err := yaml.Unmarshal(text, &operator); err != nil {
		c.t.Fatal(err)
	}
	if err := try(operator.Spec.Template.Spec); err != nil {
		c.t.Errorf("the operator: %v", err)
	}

	err = try(c.daemon().Spec.Template.Spec)
	if !apierrors.IsForbidden(err) {
		c.t.Fatalf("the agents of the nodes under the restricted standard: %v", err)
	}
	_, found, _ := strings.Cut(err.Error(), `violates PodSecurity "restricted:latest": `)
	for _, known := range []string{
		`seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t")`,
		`hostPath volumes (volume "host-etc")`,
		`restricted volume types (volume "host-etc" uses restricted volume type "hostPath")`,
		`runAsNonRoot != true (pod or container "node-ca" must set securityContext.runAsNonRoot=true)`,
		`runAsUser=0 (container "node-ca" must not set runAsUser=0)`,
	} {
		if !strings.Contains(found, known) && !strings.HasPrefix(known, "hostPath") {
			c.t.Errorf("the agents do not need %s any more; take it out of this test: %q", known, found)
		}
		found = strings.Replace(found, known, "", 1)
	}
	if rest := strings.Trim(found, " ,"); rest != "" {
		c.t.Errorf("the agents violate more than is known: %s", rest)
	}
}
