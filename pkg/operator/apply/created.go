package apply

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"
)

// adopt turns the ownership of an object that was created as new, and not applied, into that of an applied one.
// A created object has a second owner of the same name, and what only the first one gives up would stay for
// ever: an annotation that nobody wants any more, for example.
func (a *Applier) adopt(ctx context.Context, client dynamic.ResourceInterface, live *unstructured.Unstructured) error {
	if !a.created(live) {
		return nil
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(a.FieldManager), a.FieldManager)
	if err != nil || len(patch) == 0 {
		return err
	}
	if _, err := client.Patch(ctx, live.GetName(), types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: a.FieldManager}); err != nil {
		return fmt.Errorf("take over the fields of %s as applied: %w", RefOf(live), err)
	}
	return nil
}

// created says whether fields belong to the creation by this manager.
func (a *Applier) created(live *unstructured.Unstructured) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == a.FieldManager && entry.Operation == metav1.ManagedFieldsOperationUpdate && entry.Subresource == "" {
			return true
		}
	}
	return false
}
