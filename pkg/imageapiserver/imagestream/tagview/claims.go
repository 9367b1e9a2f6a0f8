package tagview

import (
	"bytes"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	conversions "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
)

// unclaimed are the fields of a spec tag that an apply leaves alone when it
// does not name them: annotations of others, and what nobody but the server
// sets.
var unclaimed = map[string]bool{"annotations": true, "generation": true}

// Claims are the owners of fields under which a tag object is presented to a
// server-side apply. Tags store no owners. Without any, the first apply by
// anybody would be a conflict with what is there; so the applying manager is
// said to own the spec tag, which is at the field named, and an apply replaces
// it.
func Claims(manager, field string, spec *imageapi.TagReference) ([]metav1.ManagedFieldsEntry, error) {
	if manager == "" {
		return nil, nil
	}
	owned := fieldpath.NewSet(fieldpath.MakePathOrDie(field))
	if spec != nil {
		names, err := fieldsOf(spec)
		if err != nil {
			return nil, err
		}
		for _, path := range names {
			owned.Insert(fieldpath.MakePathOrDie(append([]any{field}, path...)...))
		}
	}
	var encoded bytes.Buffer
	if err := owned.ToJSONStream(&encoded); err != nil {
		return nil, fmt.Errorf("owners of the fields of a tag: %w", err)
	}
	return []metav1.ManagedFieldsEntry{{
		Manager:    manager,
		Operation:  metav1.ManagedFieldsOperationApply,
		APIVersion: imagev1.SchemeGroupVersion.String(),
		FieldsType: "FieldsV1",
		FieldsV1:   metav1.NewFieldsV1(encoded.String()),
	}}, nil
}

// fieldsOf are the paths of the fields that a spec tag has on the wire. The
// source is one unit; policies are not.
func fieldsOf(spec *imageapi.TagReference) ([][]any, error) {
	var wire imagev1.TagReference
	if err := conversions.Convert_image_TagReference_To_v1_TagReference(spec, &wire, nil); err != nil {
		return nil, fmt.Errorf("fields of tag %s: %w", spec.Name, err)
	}
	encoded, err := json.Marshal(&wire)
	if err != nil {
		return nil, fmt.Errorf("fields of tag %s: %w", spec.Name, err)
	}
	values := map[string]any{}
	if err := json.Unmarshal(encoded, &values); err != nil {
		return nil, fmt.Errorf("fields of tag %s: %w", spec.Name, err)
	}
	var paths [][]any
	for name, value := range values {
		if unclaimed[name] {
			continue
		}
		policy, nested := value.(map[string]any)
		if !nested || name == "from" {
			paths = append(paths, []any{name})
			continue
		}
		for inner := range policy {
			paths = append(paths, []any{name, inner})
		}
	}
	return paths, nil
}
