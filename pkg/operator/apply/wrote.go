package apply

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WroteMark says whether an annotation of an object is there, is "true", and was written by the manager. The
// annotation alone proves nothing: who copies the YAML of an object copies its annotations, too, but not who
// wrote them.
func WroteMark(object metav1.Object, manager, annotation string) bool {
	return object.GetAnnotations()[annotation] == "true" && Wrote(object, manager, "metadata", "annotations", annotation)
}

// Wrote says whether the manager owns a field of the object, given as the names on the way to it. It does not
// matter whether the object was created or applied by the manager.
func Wrote(object metav1.Object, manager string, path ...string) bool {
	for _, entry := range object.GetManagedFields() {
		if entry.Manager != manager || entry.Subresource != "" || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) == nil && names(fields, path) {
			return true
		}
	}
	return false
}

func names(fields map[string]any, path []string) bool {
	for _, name := range path {
		below, there := fields["f:"+name].(map[string]any)
		if !there {
			return false
		}
		fields = below
	}
	return true
}
