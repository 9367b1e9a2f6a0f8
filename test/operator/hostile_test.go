//go:build component

package operator

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// gate answers every request of the operator with a refusal while it is closed, and counts all requests.
type gate struct {
	mu     sync.Mutex
	code   int
	header http.Header
	seen   int
}

func (g *gate) set(code int, header http.Header) (seen int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen, g.seen, g.code, g.header = g.seen, 0, code, header
	return seen
}

func (g *gate) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		g.mu.Lock()
		g.seen++
		code, header := g.code, g.header
		g.mu.Unlock()
		if code == 0 {
			return next.RoundTrip(r)
		}
		return refusal(r, code, "ServiceUnavailable", header), nil
	})
}

// meets lets a user's edit come right before one write of the operator to the spec of Config.
type meets struct {
	once sync.Once
	edit func()
}

func (m *meets) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/configs/"+registryv1.SingletonName) {
			m.once.Do(m.edit)
		}
		return next.RoundTrip(r)
	})
}

func onEmptyDir(config *registryv1.Config) {
	config.Spec.ManagementState = registryv1.Managed
	config.Spec.Storage = registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}}
}

// Behaviour 27: an edit that comes between the operator's look at Config and its own write survives, and so does
// what the operator had to write.
func TestAnEditMeetsTheOperatorsWrite(t *testing.T) {
	t.Parallel()
	c := install(t)
	if _, err := c.kube.StorageV1().StorageClasses().Create(t.Context(), defaultClass(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	edited := false
	m := &meets{edit: func() {
		patch := []byte(`{"spec":{"logLevel":"Trace","nodeSelector":{"mine":"yes"},"storage":{"pvc":{"size":"100Gi"}}}}`)
		_, err := c.registry.ImageregistryV1().Configs().Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "user"})
		edited = err == nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	done := c.run(ctx, c.options(), m.wrap)
	defer func() { cancel(); <-done }()
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed })
	c.eventually("the claim is written into the spec", func() (bool, string) {
		storage := c.config().Spec.Storage
		return storage.PVC != nil && storage.PVC.Claim != "" && storage.ManagementState == registryv1.Managed, summary(c.config())
	})
	spec := c.config().Spec
	if !edited || spec.LogLevel != registryv1.LogTrace || spec.NodeSelector["mine"] != "yes" || spec.Storage.PVC.Size == nil || spec.Storage.PVC.Size.String() != "100Gi" {
		t.Errorf("the edit (made: %t) was lost: %+v, storage %+v", edited, spec.LogLevel, spec.Storage.PVC)
	}
}

// Behaviour 28: one edit of several fields makes one ReplicaSet, counted by the real controller of Deployments.
func TestOneEditMakesOneReplicaSet(t *testing.T) {
	t.Parallel()
	c := installWith(t, "deployment-controller", "replicaset-controller")
	c.operator(c.options().Lease, "", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(onEmptyDir)
	replicaSets := func() []appsv1.ReplicaSet {
		list, err := c.kube.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{LabelSelector: registryv1.LabelName + "=" + registryv1.RegistryName})
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	c.eventually("the first ReplicaSet", func() (bool, string) { return len(replicaSets()) == 1, summary(c.config()) })
	c.settle()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	if _, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.edit(func(config *registryv1.Config) {
		onClaim("mine")(config)
		config.Spec.Replicas = ptr.To[int32](3)
		config.Spec.Affinity = &corev1.Affinity{}
		config.Spec.LogLevel = registryv1.LogDebug
		config.Spec.Resources = &corev1.ResourceRequirements{}
	})
	c.eventually("the second ReplicaSet", func() (bool, string) { return len(replicaSets()) >= 2, summary(c.config()) })
	c.settle()
	if n := len(replicaSets()); n != 2 {
		t.Errorf("%d ReplicaSets after one edit, want one more than the first", n)
	}
	deployment, err := c.kube.AppsV1().Deployments(ns).Get(t.Context(), registryv1.RegistryName, metav1.GetOptions{})
	if err != nil || *deployment.Spec.Replicas != 3 || deployment.Generation != 2 {
		t.Errorf("replicas %v, generation %d, want 3 and 2: %v", deployment.Spec.Replicas, deployment.Generation, err)
	}
}

// An API server that throttles, or is ill, is asked rarely; no condition cries wolf, and all is done when it is well.
// Afterwards the version appears with the end of the roll-out and not before.
//
// Behaviour 39: status.version and status.generations.
func TestAnAPIServerInTrouble(t *testing.T) {
	t.Parallel()
	c := install(t)
	g := &gate{}
	ctx, cancel := context.WithCancel(t.Context())
	done := c.run(ctx, c.options(), g.wrap)
	defer func() { cancel(); <-done }()
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	const trouble = 6 * time.Second
	for name, answer := range map[string]struct {
		code   int
		header http.Header
	}{"throttles": {429, http.Header{"Retry-After": {"1"}}}, "is ill": {503, nil}} {
		g.set(answer.code, answer.header)
		c.edit(func(config *registryv1.Config) {
			config.Spec.OperatorLogLevel = registryv1.LogDebug
			onEmptyDir(config)
		})
		ended := time.Now().Add(trouble)
		c.eventually("the trouble lasts", func() (bool, string) {
			if got := conditionOf(c.config(), registryv1.ConditionDegraded); got.Status == registryv1.ConditionTrue {
				t.Fatalf("the API server %s: Degraded: %s", name, got.Message)
			}
			return time.Now().After(ended), ""
		})
		if seen := g.set(0, nil); seen > 60*int(trouble/time.Second) {
			t.Errorf("the API server %s: %d requests in %s", name, seen, trouble)
		}
	}
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	c.eventually("the workloads are in status.generations", func() (bool, string) { return len(c.config().Status.Generations) >= 3, summary(c.config()) })
	config := c.config()
	for _, entry := range config.Status.Generations {
		if entry.Resource == "deployments" && (entry.LastGeneration != 1 || len(entry.Hash) != 64) {
			t.Errorf("status.generations: %+v", entry)
		}
	}
	// The version of the time before stays while a roll-out runs.
	raw := c.raw()
	if err := unstructured.SetNestedField(raw.Object, "v0", "status", "version"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.dynamic.Resource(configs).UpdateStatus(t.Context(), raw, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	finish := func(name string) {
		deployment, err := c.kube.AppsV1().Deployments(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		deployment.Status = rolledOut(deployment)
		if _, err := c.kube.AppsV1().Deployments(ns).UpdateStatus(t.Context(), deployment, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	finish(registryv1.RegistryName)
	c.eventually("the registry is counted", func() (bool, string) { return c.config().Status.ReadyReplicas == 1, summary(c.config()) })
	if version := c.config().Status.Version; version != "v0" {
		t.Errorf("status.version is %q while image-api-server rolls out", version)
	}
	finish(registryv1.ImageAPIName)
	c.eventually("the version is the new one", func() (bool, string) { return c.config().Status.Version == "v1.2.3", c.config().Status.Version })
}

// The namespace of the operands is deleted: the API goes first, the fault is named, nothing spins, and all comes
// back with the namespace.
func TestTheNamespaceIsDeleted(t *testing.T) {
	t.Parallel()
	c := installWith(t, "namespace-controller")
	g := &gate{}
	ctx, cancel := context.WithCancel(t.Context())
	done := c.run(ctx, c.options(), g.wrap)
	defer func() { cancel(); <-done }()
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.reportEndpoint()
	c.edit(onEmptyDir)
	c.exists(apiService)
	if err := c.kube.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the namespace is gone", func() (bool, string) {
		_, err := c.kube.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
		return apierrors.IsNotFound(err), summary(c.config())
	})
	if c.get(apiService) != nil {
		t.Errorf("%s outlived its namespace", apiService)
	}
	c.eventually("the fault is named", func() (bool, string) {
		got := conditionOf(c.config(), registryv1.ConditionDegraded)
		return got.Status == registryv1.ConditionTrue && strings.Contains(got.Message, "Namespace "+ns+" does not exist"), summary(c.config())
	})
	g.set(0, nil)
	since := time.Now()
	c.eventually("some time passes", func() (bool, string) { return time.Since(since) > 5*time.Second, "" })
	if seen := g.set(0, nil); seen > 100 {
		t.Errorf("%d requests in five seconds without a namespace", seen)
	}
	c.create()
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
}

// A Config that the schema would refuse, as after a restore or under an older schema: Degraded names the field, what
// runs goes on, an operator that starts says the same, and the correction heals.
func TestAStoredConfigThatIsInvalid(t *testing.T) {
	t.Parallel()
	c := install(t)
	stop := c.operator(c.options().Lease, "", c.writes)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(onEmptyDir)
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	c.settle()
	c.anything()
	written := len(c.writes.list())
	for _, test := range []struct{ patch, field string }{
		{`{"spec":{"replicas":-1}}`, "spec.replicas"},
		{`{"spec":{"replicas":"two"}}`, "replicas"},
		{`{"spec":{"replicas":1,"managementState":"Force"}}`, "spec.managementState"},
		{`{"spec":{"managementState":{"a":"b"}}}`, "managementState"},
	} {
		if _, err := c.dynamic.Resource(configs).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(test.patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		named := func() (bool, string) {
			status := conditionTexts(c.raw(), registryv1.ConditionDegraded)
			return strings.HasPrefix(status, "True/"+registryv1.ReasonVerificationFailed) && strings.Contains(status, test.field), status
		}
		c.eventually(test.patch+" is named", named)
		stop()
		stop = c.operator(c.options().Lease, "", c.writes)
		c.eventually(test.patch+" is named by an operator that starts", named)
	}
	for _, request := range c.writes.list()[written:] {
		// The admission policy of the pull secrets goes with their state; it closes a race and holds nothing.
		if !strings.HasSuffix(request, "/status") && !strings.HasSuffix(request, "/image-registry-pull-secret") {
			t.Errorf("written while Config was invalid: %s", request)
		}
	}
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	if _, err := c.dynamic.Resource(configs).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":{"managementState":"Managed","replicas":1}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonAsExpected)
}

// anything opens the schema of Config, as if it had always been so.
func (c *cluster) anything() {
	c.t.Helper()
	c.open(configs.Resource)
	c.eventually("the open schema is served", func() (bool, string) {
		_, err := c.dynamic.Resource(configs).Patch(c.t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":{"anything":"goes"}}`), metav1.PatchOptions{})
		if err != nil {
			return false, err.Error()
		}
		text, _, _ := unstructured.NestedString(c.raw().Object, "spec", "anything")
		return text == "goes", text
	})
}

// open lets a kind of the operator take any fields.
func (c *cluster) open(resource string) {
	c.t.Helper()
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	name := resource + "." + registryv1.SchemeGroupVersion.Group
	open := `[{"op":"replace","path":"/spec/versions/0/schema/openAPIV3Schema","value":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}]`
	if _, err := c.dynamic.Resource(crds).Patch(c.t.Context(), name, types.JSONPatchType, []byte(open), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) raw() *unstructured.Unstructured {
	c.t.Helper()
	object, err := c.dynamic.Resource(configs).Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return object
}

// conditionTexts is status, reason and message of a condition, of a Config that cannot be decoded, too.
func conditionTexts(object *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, entry := range list {
		fields, _ := entry.(map[string]any)
		if fields["type"] == kind {
			status, _ := fields["status"].(string)
			reason, _ := fields["reason"].(string)
			message, _ := fields["message"].(string)
			return status + "/" + reason + ": " + message
		}
	}
	return ""
}

func conditionOf(config *registryv1.Config, kind string) registryv1.OperatorCondition {
	for _, condition := range config.Status.Conditions {
		if condition.Type == kind {
			return condition
		}
	}
	return registryv1.OperatorCondition{}
}
