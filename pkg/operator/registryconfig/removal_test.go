package registryconfig

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

// ownedObject is an object with the label of the fixture's operator.
func ownedObject(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "m", "x": "y"})
	return o
}

func registration(labels map[string]string) *unstructured.Unstructured {
	o := ownedObject("apiregistration.k8s.io/v1", "APIService", "", apiServiceName)
	o.SetLabels(labels)
	o.Object["spec"] = map[string]any{"service": map[string]any{"namespace": "ns", "name": "image-api-server"}}
	return o
}

func lookupConfiguration(labels map[string]string, namespace string) *unstructured.Unstructured {
	o := ownedObject("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", lookupWebhookName)
	o.SetLabels(labels)
	o.Object["webhooks"] = []any{map[string]any{"clientConfig": map[string]any{
		"service": map[string]any{"namespace": namespace, "name": "image-api-server-webhook"},
	}}}
	return o
}

// fill starts the cache of the owned objects and waits for it.
func (f *fixture) fill(t *testing.T) {
	t.Helper()
	f.Applier.Cache.Start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if !cache.WaitForCacheSync(ctx.Done(), f.Applier.Cache.HasSynced) {
		t.Fatal("the cache is not filled in time")
	}
	f.dynamic.ClearActions()
}

// changes are the requests about owned objects that change something.
func (f *fixture) changes() []string {
	var out []string
	for _, action := range f.dynamic.Actions() {
		switch action.GetVerb() {
		case "get", "list", "watch":
		default:
			out = append(out, action.GetVerb()+" "+action.GetResource().Resource)
		}
	}
	return out
}

func removedConfig(claim string) *registryv1.Config {
	config := bootstrap.DefaultConfig()
	if claim != "" {
		config.Spec.Storage = registryv1.StorageSpec{ManagementState: registryv1.Managed, PVC: &registryv1.PVCStorage{Claim: claim}}
		config.Status.Storage = config.Spec.Storage.DeepCopy()
	}
	return config
}

// Behaviours 17 and 23: webhook and API go before their server, whatever somebody did to the labels.
func TestARegistrationNeverOutlivesItsServer(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"with labels":    {"app.kubernetes.io/managed-by": "m", "x": "y"},
		"without labels": nil,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, removedConfig(""), registration(labels), lookupConfiguration(labels, "ns"),
				ownedObject("apps/v1", "Deployment", "ns", "image-api-server"))
			f.fill(t)
			f.sync(t)
			want := []string{"delete mutatingwebhookconfigurations", "delete apiservices", "delete deployments"}
			if got := f.changes(); !slices.Equal(got, want) {
				t.Errorf("requests %q, want %q", got, want)
			}
		})
	}
}

func TestARegistrationOfSomebodyElseIsKept(t *testing.T) {
	foreign := registration(nil)
	foreign.Object["spec"] = map[string]any{"service": map[string]any{"namespace": "other", "name": "image-api-server"}}
	f := newFixture(t, removedConfig(""), foreign, lookupConfiguration(nil, "other"), ownedObject("apps/v1", "Deployment", "ns", "image-api-server"))
	f.fill(t)
	f.sync(t)
	if got, want := f.changes(), []string{"delete deployments"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// A namespace that is deleted under a running registry takes the server away; the API must go too.
func TestTheAPIGoesWithItsNamespace(t *testing.T) {
	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState = registryv1.Managed
	labels := map[string]string{"app.kubernetes.io/managed-by": "m", "x": "y"}
	f := newFixture(t, config, registration(labels), lookupConfiguration(labels, "ns"))
	f.fill(t)
	now := metav1.Now()
	ending := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns", DeletionTimestamp: &now}}
	if err := f.Cluster.Core().V1().Namespaces().Informer().GetIndexer().Add(ending); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	if got, want := f.changes(), []string{"delete mutatingwebhookconfigurations", "delete apiservices"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// Behaviour 18: what is deleted is what carries the proof at this moment, in the state that is asked for at
// this moment.
func TestOnlyTheProvenClaimIsDeleted(t *testing.T) {
	for _, test := range []struct {
		name    string
		marked  bool
		copied  bool
		lock    bool
		edited  bool
		gone    bool // deleted afterwards
		done    bool
		waits   bool
		blocked bool
	}{
		{name: "made by the operator", marked: true, gone: true},
		{name: "not marked", done: true},
		{name: "marked by who copied its YAML", marked: true, copied: true, done: true},
		{name: "locked", marked: true, lock: true, blocked: true},
		{name: "Config was edited meanwhile", marked: true, edited: true, waits: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := removedConfig("data")
			if test.lock {
				config.Annotations = map[string]string{registryv1.StorageLockAnnotation: "true"}
			}
			f := newFixture(t, config)
			config = f.config(t)
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data"}}
			if test.marked {
				claim.Annotations = map[string]string{registryv1.OwnedAnnotation: "true"}
			}
			writer := registryv1.OperatorName
			if test.copied {
				writer = "kubectl-create"
			}
			claims := f.Kube.CoreV1().PersistentVolumeClaims("ns")
			if _, err := claims.Create(t.Context(), claim, metav1.CreateOptions{FieldManager: writer}); err != nil {
				t.Fatal(err)
			}
			if test.edited {
				f.registry.PrependReactor("get", "configs", func(clienttesting.Action) (bool, runtime.Object, error) {
					newer := config.DeepCopy()
					newer.ResourceVersion = "next"
					return true, newer, nil
				})
			}
			done, err := f.removeStorage(t.Context(), config)
			classes := fault.Sort(err)
			if done != test.done || (len(classes.Waiting) > 0) != test.waits || (len(classes.Permanent) > 0) != test.blocked || len(classes.Transient) > 0 {
				t.Errorf("done %t, error %v", done, err)
			}
			_, err = claims.Get(t.Context(), "data", metav1.GetOptions{})
			if apierrors.IsNotFound(err) != test.gone {
				t.Errorf("the claim: %v", err)
			}
		})
	}
}

// A Secret that somebody has deleted says nothing about the Pods of the registry.
func TestStorageWaitsForEveryPodOfTheRegistry(t *testing.T) {
	config := removedConfig("data")
	f := newFixture(t, config)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", Labels: map[string]string{registryv1.LabelName: registryv1.RegistryName}}}
	if _, err := f.Kube.CoreV1().Pods("ns").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if none, err := f.noRegistryPod(t.Context(), config); err != nil || none {
		t.Errorf("no Pod %t, error %v, while one is there", none, err)
	}
}

// The patience of a removal that was called off must not shorten the next one.
func TestEveryRemovalHasItsOwnPatience(t *testing.T) {
	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState = registryv1.Unmanaged
	f := newFixture(t, config)
	f.memory.cleanupSince = f.clock.Now().Add(-time.Hour)
	f.sync(t)
	if !f.memory.cleanupSince.IsZero() {
		t.Error("the next removal would not wait for the nodes")
	}
}

func TestAStepThatHangsIsReported(t *testing.T) {
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hanging.Close()
	f := newFixture(t, removedConfig("data"))
	f.workTimeout = 50 * time.Millisecond
	f.Kube = kubernetes.NewForConfigOrDie(&rest.Config{Host: hanging.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := f.Sync(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("error %v, and of the sync %v", err, ctx.Err())
	}
	for _, condition := range f.config(t).Status.Conditions {
		if condition.Type == registryv1.ConditionDegraded && condition.Reason != registryv1.ReasonRemoveFailed {
			t.Errorf("Degraded is %s/%s: %s", condition.Status, condition.Reason, condition.Message)
		}
	}
}

func TestOwnStatusWritesBringNoSync(t *testing.T) {
	f := newFixture(t, bootstrap.DefaultConfig())
	before := bootstrap.DefaultConfig()
	before.Generation, before.ResourceVersion = 1, "1"
	after := before.DeepCopy()
	after.ResourceVersion = "2"
	after.Status.ReadyReplicas = 1
	f.enqueueAsked(before, after)
	if n := f.Queue.Len(); n != 0 {
		t.Errorf("%d syncs after a write of the status", n)
	}
	after.Generation = 2
	f.enqueueAsked(before, after)
	if n := f.Queue.Len(); n != 1 {
		t.Errorf("%d syncs after an edit of the spec, want 1", n)
	}
}

// Trust must not rot while the registry is Unmanaged: after a rotation the nodes would refuse its certificate.
func TestUnmanagedKeepsTheTrustOfNodesCurrent(t *testing.T) {
	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState = registryv1.Unmanaged
	certificates := ownedObject("v1", "ConfigMap", "ns", registryv1.ConfigMapCertificates)
	certificates.Object["data"] = map[string]any{"image-registry.ns.svc..5000": "old"}
	f := newFixture(t, config, certificates)
	f.fill(t)
	var written []string
	f.dynamic.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		written = append(written, action.(clienttesting.PatchAction).GetName())
		return true, certificates, nil
	})
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryv1.ConfigMapServiceCA}, Data: map[string]string{registryv1.KeyServiceCA: "new"}}
	if err := f.Namespaced.Core().V1().ConfigMaps().Informer().GetIndexer().Add(bundle); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	if want := []string{registryv1.ConfigMapCertificates}; !slices.Equal(written, want) {
		t.Errorf("written %q, want what exists: %q", written, want)
	}
}

// What an administrator changed in state Unmanaged is his; only the CA follows the signer.
func TestUnmanagedKeepsWhatWasChangedInRegistrations(t *testing.T) {
	labels := map[string]string{"app.kubernetes.io/managed-by": "m", "x": "y"}
	owns := func(object *unstructured.Unstructured, fields string) *unstructured.Unstructured {
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: "m", Operation: metav1.ManagedFieldsOperationApply, APIVersion: object.GetAPIVersion(), FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(fields),
		}})
		return object
	}
	service := registration(labels)
	service.Object["spec"].(map[string]any)["caBundle"] = "old"
	service.Object["spec"].(map[string]any)["groupPriorityMinimum"] = int64(7)
	owns(service, `{"f:metadata":{"f:labels":{"f:x":{}}},"f:spec":{"f:caBundle":{},"f:service":{}}}`)

	lookup := lookupConfiguration(labels, "ns")
	here := lookup.Object["webhooks"].([]any)[0].(map[string]any)
	here["name"], here["failurePolicy"], here["timeoutSeconds"] = "a", "Fail", int64(5)
	elsewhere := map[string]any{"name": "b", "timeoutSeconds": int64(1), "clientConfig": map[string]any{"url": "https://example.com", "caBundle": "theirs"}}
	lookup.Object["webhooks"] = []any{here, elsewhere}
	owns(lookup, `{"f:webhooks":{"k:{\"name\":\"a\"}":{".":{},"f:name":{},"f:timeoutSeconds":{}},"k:{\"name\":\"b\"}":{".":{},"f:name":{},"f:timeoutSeconds":{}}}}`)

	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState = registryv1.Unmanaged
	f := newFixture(t, config, service, lookup)
	f.fill(t)
	sent := map[string]string{}
	f.dynamic.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		sent[patch.GetResource().Resource] = string(patch.GetPatch())
		return true, service, nil
	})
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryv1.ConfigMapServiceCA}, Data: map[string]string{registryv1.KeyServiceCA: "new"}}
	if err := f.Namespaced.Core().V1().ConfigMaps().Informer().GetIndexer().Add(bundle); err != nil {
		t.Fatal(err)
	}
	f.sync(t)
	for resource, want := range map[string]string{
		"apiservices": `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"labels":{"x":"y"},"name":"v1.image.alauda.io"},` +
			`"spec":{"caBundle":"bmV3","service":{"name":"image-api-server","namespace":"ns"}}}`,
		"mutatingwebhookconfigurations": `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingWebhookConfiguration","metadata":{"name":"image-lookup.image.alauda.io"},` +
			`"webhooks":[{"clientConfig":{"caBundle":"bmV3"},"name":"a","timeoutSeconds":5},{"name":"b","timeoutSeconds":1}]}`,
	} {
		if got := strings.TrimSpace(sent[resource]); got != want {
			t.Errorf("%s: applied %s, want %s", resource, got, want)
		}
	}
}

func TestNumbersOfPullSecretsAreFollowed(t *testing.T) {
	f := newFixture(t, bootstrap.DefaultConfig())
	f.PullSecrets = func() PullSecrets { return PullSecrets{Count: registryv1.ReadyCount{Desired: 2, Ready: 1}} }
	again, err := f.Sync(t.Context())
	if err != nil || again != pullSecretsInterval {
		t.Errorf("looks again after %s, error %v", again, err)
	}
}

// The agents of a healthy registry are ready as well: only those that were told to clean up say anything.
func TestNodesAreCleanOnlyInCleanupMode(t *testing.T) {
	for mode, want := range map[string]bool{render.NodeModeSync: false, render.NodeModeCleanup: true} {
		f := newFixture(t, removedConfig(""))
		daemon, err := render.NodeCADaemonSet(f.Settings, mode)
		if err != nil {
			t.Fatal(err)
		}
		if clean, err := nodesClean(daemon); err != nil || clean != want {
			t.Errorf("mode %s: clean %t, error %v", mode, clean, err)
		}
	}
}

// The switch takes the webhook away and leaves the rest alone, also what lost its labels.
func TestShortNamesCanBeSwitchedOff(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"with labels":    {"app.kubernetes.io/managed-by": "m", "x": "y"},
		"without labels": nil,
	} {
		t.Run(name, func(t *testing.T) {
			config := bootstrap.DefaultConfig()
			config.Spec.ImageAPI.ImageLookup = ptr.To(false)
			f := newFixture(t, config, lookupConfiguration(labels, "ns"), ownedObject("apps/v1", "Deployment", "ns", "image-api-server"))
			f.fill(t)
			if err := f.registerLookup(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if got, want := f.changes(), []string{"delete mutatingwebhookconfigurations"}; !slices.Equal(got, want) {
				t.Errorf("requests %q, want %q", got, want)
			}
		})
	}
}

// Before its server answers, every workload with a short name would wait for it in vain.
func TestTheWebhookWaitsForItsServer(t *testing.T) {
	config := bootstrap.DefaultConfig()
	f := newFixture(t, config)
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: registryv1.ConfigMapServiceCA}, Data: map[string]string{registryv1.KeyServiceCA: "new"}}
	if err := f.Namespaced.Core().V1().ConfigMaps().Informer().GetIndexer().Add(bundle); err != nil {
		t.Fatal(err)
	}
	f.fill(t)
	err := f.registerLookup(t.Context(), config)
	if classes := fault.Sort(err); len(classes.Waiting) != 1 || len(f.changes()) > 0 {
		t.Errorf("error %v, requests %q, want it to wait", err, f.changes())
	}
}
