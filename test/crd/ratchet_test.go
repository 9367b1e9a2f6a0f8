//go:build component

package crd

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
)

// Nobody is locked out by a rule that came later: an object that an older schema took can still be changed, also by
// the operator's own patches and in its status, and only what is changed has to follow the rules.
func TestObjectsOfAnOlderSchemaCanStillBeChanged(t *testing.T) {
	client := install(t)
	for _, test := range []struct {
		resource schema.GroupVersionResource
		object   *unstructured.Unstructured
		// change leaves the bad fields alone, worse changes one of them into something bad.
		change, worse, field, heals string
	}{
		{configs, config(t, `{managementState: Removed, replicas: 2000, imageAPI: {replicas: 500}, storage: {pvc: {claim: Bad_Name, accessModes: [RWO]}},
			ingress: {className: "A b"}, auth: {oidc: {issuerURL: "https://issuer", usernameClaim: "e mail", groupsPrefix: "system:"}}}`),
			`{"spec":{"logLevel":"Debug","imageAPI":{"importMode":"Legacy"},"storage":{"managementState":"Unmanaged"}}}`,
			`{"spec":{"replicas":2001}}`, "spec.replicas", `{"spec":{"replicas":2,"auth":{"oidc":null}}}`},
		{pruners, pruner(t, `{suspend: true, keepYoungerThan: 60, activeDeadlineSeconds: 9223372036854775807, failedJobsHistoryLimit: 5000}`),
			`{"spec":{"schedule":"0 3 * * *","suspend":false}}`,
			`{"spec":{"keepYoungerThan":61}}`, "spec.keepYoungerThan", `{"spec":{"keepYoungerThan":null}}`},
	} {
		t.Run(test.resource.Resource, func(t *testing.T) {
			storeUnchecked(t, client, test.resource, test.object)
			patch := func(body string, subresources ...string) error {
				_, err := client.Resource(test.resource).Patch(t.Context(), "cluster", types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
				return err
			}
			if err := patch(test.change); err != nil {
				t.Errorf("another field cannot be changed: %v", err)
			}
			if err := patch(`{"status":{"observedGeneration":7,"conditions":[{"type":"Degraded","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`, "status"); err != nil {
				t.Errorf("the status cannot be written: %v", err)
			}
			if err := patch(`{"metadata":{"finalizers":["example.com/mine"]}}`); err != nil {
				t.Errorf("the metadata cannot be changed: %v", err)
			}
			wantRefusal(t, patch(test.worse), test.field, "")
			if err := patch(test.heals); err != nil {
				t.Errorf("a field cannot be corrected while others are wrong: %v", err)
			}
			if err := patch(`{"metadata":{"finalizers":null}}`); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// storeUnchecked stores an object by a definition without a schema, as an older release might have, and brings the
// definition back.
func storeUnchecked(t *testing.T, client dynamic.Interface, resource schema.GroupVersionResource, object *unstructured.Unstructured) {
	t.Helper()
	name := fmt.Sprintf("%s.%s", resource.Resource, resource.Group)
	shipped, err := client.Resource(definitions).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(shipped.Object, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("versions of %s: %v, %v", name, versions, err)
	}
	replace := func(schema any) {
		t.Helper()
		body, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Resource(definitions).Patch(t.Context(), name, types.JSONPatchType, body, metav1.PatchOptions{}); err != nil {
			t.Fatalf("change the schema of %s: %v", name, err)
		}
	}
	strict, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil {
		t.Fatal(err)
	}
	replace(map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true})
	t.Cleanup(func() { // other tests need the name
		if err := client.Resource(resource).Delete(context.WithoutCancel(t.Context()), "cluster", metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete: %v", err)
		}
	})
	eventually(t, "the object is taken without a schema", func() error {
		_, err := client.Resource(resource).Create(t.Context(), object, metav1.CreateOptions{})
		return err
	})
	replace(strict)
	eventually(t, "the schema is back", func() error {
		broken := object.DeepCopy()
		broken.SetName("other")
		_, err := client.Resource(resource).Create(t.Context(), broken, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("an object of another name is still taken")
		}
		return nil
	})
}

// eventually waits for what the API server does some time after it was told.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = try()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (%v)", what, err, last)
	}
}
