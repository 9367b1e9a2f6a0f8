package registryconfig

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/bootstrap"
)

// running is a Deployment that is rolled out.
func running(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"x": "y"}},
		Spec:       appsv1.DeploymentSpec{Replicas: ptr.To[int32](2)},
		Status: appsv1.DeploymentStatus{
			Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, AvailableReplicas: 2,
			Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: object}
}

// newRunningFixture is a controller whose registry works.
func newRunningFixture(t *testing.T) *fixture {
	t.Helper()
	config := bootstrap.DefaultConfig()
	config.Spec.ManagementState, config.Spec.Replicas = registryv1.Managed, ptr.To[int32](2)
	api := registration(map[string]string{"x": "y"})
	api.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": "True"}}}
	nodes := ownedObject("apps/v1", "DaemonSet", "ns", registryv1.NodeCAName)
	f := newFixture(t, config, api, nodes, running(t, registryv1.RegistryName), running(t, registryv1.ImageAPIName))
	f.fill(t)
	return f
}

// available sets how many Pods of the registry are available.
func (f *fixture) available(t *testing.T, pods int64) {
	t.Helper()
	client := f.dynamic.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace("ns")
	registry, err := client.Get(t.Context(), registryv1.RegistryName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"readyReplicas", "availableReplicas"} {
		if err := unstructured.SetNestedField(registry.Object, pods, "status", field); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Update(t.Context(), registry, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ref := apply.Ref{Kind: "Deployment", Namespace: "ns", Name: registryv1.RegistryName}
	err = wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		seen, found, err := unstructured.NestedInt64(f.Applier.Cache.Get(ref).Object, "status", "availableReplicas")
		return found && seen == pods, err
	})
	if err != nil {
		t.Fatalf("the cache does not learn of %d available Pods: %v", pods, err)
	}
}

// look reports once and returns the two conditions of an outage, and when the next look is due.
func (f *fixture) look(t *testing.T) (available, degraded string, again time.Duration) {
	t.Helper()
	again, err := f.report(t.Context(), f.config(t), outcome{})
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range f.config(t).Status.Conditions {
		text := string(condition.Status) + "/" + condition.Reason
		switch condition.Type {
		case registryv1.ConditionAvailable:
			available = text
		case registryv1.ConditionDegraded:
			degraded = text
		}
	}
	return available, degraded, again
}

// Behaviour 35: registry Pods that are not ready make the registry unavailable at the first look and degraded after
// five minutes, though nothing happens meanwhile that would bring a look; the first look after them clears both.
func TestARegistryWithoutReadyPodsIsReported(t *testing.T) {
	const well, asExpected, none = "True/Ready", "False/AsExpected", "False/NoReplicasAvailable"
	f := newRunningFixture(t)
	for round := range 2 {
		f.available(t, 2)
		if available, degraded, _ := f.look(t); available != well || degraded != asExpected {
			t.Fatalf("round %d: in health Available is %s and Degraded %s", round, available, degraded)
		}
		f.clock.Step(time.Hour)

		f.available(t, 0)
		began := f.clock.Now()
		for {
			available, degraded, again := f.look(t)
			age, want := f.clock.Since(began), asExpected
			if age > 5*time.Minute {
				want = "True/Unavailable"
			}
			if available != none || degraded != want {
				t.Fatalf("round %d: %s into the outage Available is %s and Degraded %s, want %s and %s", round, age, available, degraded, none, want)
			}
			if age > 7*time.Minute {
				break
			}
			if again <= 0 || again > time.Minute {
				t.Fatalf("round %d: %s into the outage the next look is after %s, want one within a minute", round, age, again)
			}
			f.clock.Step(again)
		}
	}
	f.available(t, 1)
	if available, degraded, _ := f.look(t); available != "True/MinimumAvailability" || degraded != asExpected {
		t.Errorf("with the first ready Pod Available is %s and Degraded %s", available, degraded)
	}
}
