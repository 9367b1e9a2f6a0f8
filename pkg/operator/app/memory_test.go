package app

import (
	"reflect"
	"runtime/debug"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

func TestTheEnvironmentOfGoWins(t *testing.T) {
	const given = 77
	before := debug.SetGCPercent(given)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "77")
	spareMemory()
	if got := debug.SetGCPercent(given); got != given {
		t.Errorf("collected at %d although the environment says %d", got, given)
	}
	t.Setenv("GOGC", "")
	spareMemory()
	if got := debug.SetGCPercent(given); got != collectAt {
		t.Errorf("collected at %d, want %d", got, collectAt)
	}
}

// What users write on their namespaces is not kept.
func TestNamespacesAreTrimmed(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "team", UID: "u", ResourceVersion: "7", DeletionTimestamp: &metav1.Time{},
		Labels: map[string]string{"other": "x", registryv1.IgnoreLabel: "true"}, Annotations: map[string]string{"large": "x"},
	}}
	want := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "team", UID: "u", ResourceVersion: "7", DeletionTimestamp: &metav1.Time{},
		Labels: map[string]string{registryv1.IgnoreLabel: "true"},
	}}
	for range 2 {
		kept, err := trim(namespace)
		if err != nil || !reflect.DeepEqual(kept, want) {
			t.Fatalf("%+v, error %v", kept, err)
		}
		namespace = kept.(*corev1.Namespace)
	}
}
