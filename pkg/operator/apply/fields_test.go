package apply

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const live = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: d
  namespace: n
  labels: {mine: "1", foreign: "2"}
  managedFields:
  - manager: me
    operation: Apply
    fieldsType: FieldsV1
    fieldsV1:
      f:metadata: {f:labels: {f:mine: {}}}
      f:spec:
        f:replicas: {}
        f:template:
          f:spec:
            f:containers:
              'k:{"name":"a"}':
                .: {}
                f:name: {}
                f:args: {}
                f:ports:
                  'k:{"containerPort":80,"protocol":"TCP"}': {.: {}, f:containerPort: {}}
  - manager: me
    operation: Update
    subresource: status
    fieldsType: FieldsV1
    fieldsV1: {f:status: {f:x: {}}}
spec:
  replicas: 2
  paused: false
  template:
    spec:
      containers:
      - {name: foreign, image: x}
      - name: a
        args: [one, two]
        image: defaulted
        ports: [{containerPort: 80, protocol: TCP}]
`

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestDifferenceLooksOnlyAtWhatTheManagerOwns(t *testing.T) {
	head := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: n, labels: {mine: \"1\"}}\n"
	for _, test := range []struct{ name, desired, want string }{
		{"the same", head + "spec: {replicas: 2, template: {spec: {containers: [{name: a, args: [one, two], ports: [{containerPort: 80}]}]}}}", ""},
		{"another value", head + "spec: {replicas: 3, template: {spec: {containers: [{name: a, args: [one, two], ports: [{containerPort: 80}]}]}}}", ".spec.replicas"},
		{"another list", head + "spec: {replicas: 2, template: {spec: {containers: [{name: a, args: [one], ports: [{containerPort: 80}]}]}}}", ".spec.template.spec.containers[0].args"},
		{"no longer wanted", head + "spec: {template: {spec: {containers: [{name: a, args: [one, two], ports: [{containerPort: 80}]}]}}}", ".spec.replicas"},
		{"newly wanted", head + "spec: {replicas: 2, paused: false, template: {spec: {containers: [{name: a, args: [one, two], ports: [{containerPort: 80}]}]}}}", ".spec.paused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			owned, err := Owned(parse(t, live), "me")
			if err != nil {
				t.Fatal(err)
			}
			if got := Difference(parse(t, test.desired), owned); got != test.want {
				t.Errorf("differs at %q, want %q", got, test.want)
			}
		})
	}
}

func TestOwnedIsNilForAManagerThatNeverApplied(t *testing.T) {
	owned, err := Owned(parse(t, live), "somebody")
	if err != nil || owned != nil {
		t.Errorf("got %v, %v", owned, err)
	}
}

func FuzzOwned(f *testing.F) {
	f.Add([]byte(`{"f:spec":{"f:replicas":{}}}`))
	f.Add([]byte(`{"k:{":{}}`))
	f.Fuzz(func(t *testing.T, fields []byte) {
		object := &unstructured.Unstructured{Object: map[string]any{
			"spec": map[string]any{"replicas": int64(1)},
			"metadata": map[string]any{"managedFields": []any{map[string]any{
				"manager": "me", "operation": "Apply", "fieldsV1": map[string]any{"raw": string(fields)},
			}}},
		}}
		_, _ = Owned(object, "me")
		_ = pick(object.Object, map[string]any{string(fields): map[string]any{}})
	})
}
