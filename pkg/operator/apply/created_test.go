package apply

import (
	"context"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
)

// An object that was created as new is made an applied one before it is changed, bound to the version that was
// looked at, and only the first time.
func TestACreatedObjectBecomesAnAppliedOne(t *testing.T) {
	for name, test := range map[string]struct {
		operation metav1.ManagedFieldsOperationType
		want      []types.PatchType
	}{
		"created": {metav1.ManagedFieldsOperationUpdate, []types.PatchType{types.JSONPatchType, types.ApplyPatchType}},
		"applied": {metav1.ManagedFieldsOperationApply, []types.PatchType{types.ApplyPatchType}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			live := claim("ours", true)
			live.SetResourceVersion("7")
			live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: test.operation, APIVersion: "v1", FieldsType: "FieldsV1",
				FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:example.com/owned":{},"f:old":{}}}}`)}})
			live.SetAnnotations(map[string]string{mark: "true", "old": "x"})
			b.show(t, live)
			var sent []types.PatchType
			b.client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
				patch := action.(clienttesting.PatchAction)
				sent = append(sent, patch.GetPatchType())
				if patch.GetPatchType() == types.JSONPatchType && !strings.Contains(string(patch.GetPatch()), `"7"`) {
					t.Errorf("the patch is not bound to the version: %s", patch.GetPatch())
				}
				return true, &unstructured.Unstructured{Object: runtime.DeepCopyJSON(live.Object)}, nil
			})
			if _, _, err := b.Apply(context.Background(), claim("", true)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(sent, test.want) {
				t.Errorf("requests %q, want %q", sent, test.want)
			}
		})
	}
}
