//go:build component

package crd

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// TestUpdatesForgetWhoManagesFields: kube-apiserver keeps the field maps of each record in memory.
func TestUpdatesForgetWhoManagesFields(t *testing.T) {
	store := newPodStore(t, true)
	const key = "/pods/default/lean"
	pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "lean"}}
	if err := store.Create(t.Context(), key, pod, nil, 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := store.GuaranteedUpdate(t.Context(), key, &example.Pod{}, false, nil, storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			updated := obj.(*example.Pod)
			updated.Spec.NodeName += "x"
			return updated, nil
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		list, err := store.listRecords(context.Background(), location{key: "/pods/"}, listParams{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 1 || len(list.Items[0].ManagedFields) != 0 {
			t.Errorf("%d records, the first with managed fields %v", len(list.Items), list.Items[0].ManagedFields)
		}
	}
}
