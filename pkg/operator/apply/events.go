package apply

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StatusOnly says of an update that it left alone what people ask for: the generation, which counts changes of
// the spec, and the metadata. A controller that wrote the status itself must not be woken by it: while an error
// lasts whose text is another one each time, it would retry without any pause.
func StatusOnly(before, after any) bool {
	b, okB := before.(metav1.Object)
	a, okA := after.(metav1.Object)
	return okB && okA && b.GetUID() == a.GetUID() && a.GetGeneration() != 0 && b.GetGeneration() == a.GetGeneration() &&
		(b.GetDeletionTimestamp() == nil) == (a.GetDeletionTimestamp() == nil) &&
		maps.Equal(b.GetLabels(), a.GetLabels()) && maps.Equal(b.GetAnnotations(), a.GetAnnotations()) &&
		slices.Equal(b.GetFinalizers(), a.GetFinalizers())
}
