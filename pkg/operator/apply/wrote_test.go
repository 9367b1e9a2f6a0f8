package apply

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func writtenBy(object *unstructured.Unstructured, manager string, operation metav1.ManagedFieldsOperationType, fields string) *unstructured.Unstructured {
	object.SetManagedFields(append(object.GetManagedFields(), metav1.ManagedFieldsEntry{
		Manager: manager, Operation: operation, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}))
	return object
}

const markField = `{"f:metadata":{"f:annotations":{"f:` + mark + `":{}}}}`

// Behaviours 18 and 56: the mark alone can be copied together with the YAML of an object of ours.
func TestAMarkCountsOnlyFromItsWriter(t *testing.T) {
	const update, apply = metav1.ManagedFieldsOperationUpdate, metav1.ManagedFieldsOperationApply
	for _, test := range []struct {
		name   string
		object *unstructured.Unstructured
		want   bool
	}{
		{"created by us", writtenBy(claim("1", true), manager, update, markField), true},
		{"applied by us", writtenBy(claim("1", true), manager, apply, markField), true},
		{"copied by somebody", writtenBy(claim("1", true), "kubectl-client-side-apply", update, markField), false},
		{"copied, then changed by us elsewhere", writtenBy(writtenBy(claim("1", true), "kubectl", update, markField), manager, update, `{"f:spec":{}}`), false},
		{"nobody known", claim("1", true), false},
		{"not marked", writtenBy(claim("1", false), manager, apply, markField), false},
		{"damaged", writtenBy(claim("1", true), manager, apply, `{"f:metadata":`), false},
	} {
		if got := WroteMark(test.object, manager, mark); got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
}

func TestWhatSomebodyCopiedIsNotDeleted(t *testing.T) {
	for _, kind := range []string{"Ingress", "PersistentVolumeClaim"} {
		copied := object(map[string]string{"Ingress": "networking.k8s.io/v1", "PersistentVolumeClaim": "v1"}[kind], kind, "data", "theirs", "1")
		copied.SetAnnotations(map[string]string{mark: "true"})
		copied.SetLabels(map[string]string{"app.kubernetes.io/managed-by": manager})
		writtenBy(copied, "kubectl-create", metav1.ManagedFieldsOperationUpdate, markField)
		b := newBench(t, copied)
		b.show(t, copied)
		if gone, err := b.Delete(t.Context(), RefOf(copied)); err != nil || !gone {
			t.Errorf("%s: gone %t, error %v", kind, gone, err)
		}
		if verbs := b.verbs(); len(verbs) != 0 {
			t.Errorf("%s: requests %q", kind, verbs)
		}
	}
}
