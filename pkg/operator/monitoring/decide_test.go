package monitoring

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

func TestStateOfConfigDecidesWhatIsWanted(t *testing.T) {
	state := func(s registryv1.ManagementState) *registryv1.Config {
		return &registryv1.Config{Spec: registryv1.ConfigSpec{ManagementState: s}}
	}
	deleted := state(registryv1.Managed)
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	for name, tc := range map[string]struct {
		config *registryv1.Config
		want   intent
	}{
		"no Config":     {nil, hold},
		"Managed":       {state(registryv1.Managed), everything},
		"Unmanaged":     {state(registryv1.Unmanaged), hold},
		"Removed":       {state(registryv1.Removed), operatorOnly},
		"being deleted": {deleted, operatorOnly},
	} {
		if got := intentOf(tc.config); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// monitor is a ServiceMonitor; with fields it was applied by the operator.
func monitor(interval, label, fields string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/" + version, "kind": "ServiceMonitor",
		"metadata": map[string]any{"name": "image-registry", "namespace": "ns"},
		"spec":     map[string]any{"interval": interval},
	}}
	if label != "" {
		object.SetLabels(map[string]string{registryv1.LabelManagedBy: label})
	}
	if fields != "" {
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: registryv1.OperatorName, Operation: metav1.ManagedFieldsOperationApply,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
		}})
	}
	return object
}

func TestObjectsAreWrittenOnlyWhereTheyDiffer(t *testing.T) {
	const spec, labelled = `{"f:spec":{"f:interval":{}}}`, `{"f:metadata":{"f:labels":{"f:app.kubernetes.io/managed-by":{}}},"f:spec":{"f:interval":{}}}`
	if !json.Valid([]byte(spec)) || !json.Valid([]byte(labelled)) {
		t.Fatal("the fixtures are not JSON")
	}
	ours := registryv1.OperatorName
	going := monitor("30s", ours, labelled)
	going.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	for name, tc := range map[string]struct {
		desired, live *unstructured.Unstructured
		want          action
	}{
		"missing":                      {monitor("30s", ours, ""), nil, create},
		"missing and not wanted":       {nil, nil, keep},
		"as wanted":                    {monitor("30s", ours, ""), monitor("30s", ours, labelled), keep},
		"edited":                       {monitor("30s", ours, ""), monitor("5s", ours, labelled), change},
		"a field that we had not":      {monitor("30s", ours, ""), monitor("30s", "", spec), change},
		"ours and not wanted":          {nil, monitor("30s", ours, labelled), remove},
		"ours without label":           {nil, monitor("30s", "", spec), remove},
		"labelled but never applied":   {monitor("30s", ours, ""), monitor("30s", ours, ""), change},
		"somebody else's":              {monitor("30s", ours, ""), monitor("5s", "", ""), foreign},
		"somebody else's, not wanted":  {nil, monitor("5s", "helm", ""), foreign},
		"being deleted, but wanted":    {monitor("30s", ours, ""), going, keep},
		"being deleted and not wanted": {nil, going, keep},
	} {
		got, _, err := decide(tc.desired, tc.live)
		if err != nil || got != tc.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, tc.want)
		}
	}
}

func TestAKindIsServedOnceItsDefinitionIsEstablished(t *testing.T) {
	definition := func(status, name string, isServed bool) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": "servicemonitors.monitoring.coreos.com", "annotations": map[string]any{"large": "text"}},
			"spec":     map[string]any{"group": group, "versions": []any{map[string]any{"name": name, "served": isServed, "schema": map[string]any{}}}},
			"status":   map[string]any{"conditions": []any{"damaged", map[string]any{"type": "Established", "status": status}}},
		}}
	}
	deleted := definition("True", "v1", true)
	deleted.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	for name, tc := range map[string]struct {
		definition *unstructured.Unstructured
		want       bool
	}{
		"established":       {definition("True", "v1", true), true},
		"not yet":           {definition("False", "v1", true), false},
		"another version":   {definition("True", "v1beta1", true), false},
		"not served":        {definition("True", "v1", false), false},
		"being deleted":     {deleted, false},
		"missing":           {nil, false},
		"without a content": {&unstructured.Unstructured{Object: map[string]any{}}, false},
	} {
		if got := served(tc.definition); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
	short, err := outline(definition("True", "v1", true))
	if err != nil {
		t.Fatal(err)
	}
	kept := short.(*unstructured.Unstructured)
	if !served(kept) || kept.GetAnnotations() != nil || kept.Object["spec"].(map[string]any)["group"] != nil {
		t.Errorf("kept of a definition: %v", kept.Object)
	}
}
