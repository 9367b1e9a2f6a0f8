package apply

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Owned returns the part of a live object that the manager applied last, read along managedFields. The
// result has the shape of an apply request without apiVersion, kind, name and namespace. It is nil when
// the manager never applied the object.
func Owned(live *unstructured.Unstructured, manager string) (map[string]any, error) {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		if entry.FieldsV1 == nil {
			return map[string]any{}, nil
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			return nil, fmt.Errorf("managed fields of %s: %w", Describe(live), err)
		}
		owned, _ := pick(live.Object, fields).(map[string]any)
		if owned == nil {
			owned = map[string]any{}
		}
		return owned, nil
	}
	return nil, nil
}

// pick keeps of value what the field set names. A set without members is a leaf: the whole value.
func pick(value any, fields map[string]any) any {
	if isLeaf(fields) {
		return value
	}
	switch typed := value.(type) {
	case map[string]any:
		return pickMap(typed, fields)
	case []any:
		return pickList(typed, fields)
	default:
		return value
	}
}

func isLeaf(fields map[string]any) bool {
	for key := range fields {
		if key != "." {
			return false
		}
	}
	return true
}

func pickMap(value map[string]any, fields map[string]any) map[string]any {
	out := map[string]any{}
	for key, below := range fields {
		name, ok := strings.CutPrefix(key, "f:")
		if !ok {
			continue
		}
		member, exists := value[name]
		if !exists {
			continue
		}
		belowSet, _ := below.(map[string]any)
		out[name] = pick(member, belowSet)
	}
	return out
}

// pickList walks the list in its own order, so that the result is ordered like the live object.
func pickList(list []any, fields map[string]any) []any {
	out := []any{}
	for _, item := range list {
		if below, ok := selects(fields, item); ok {
			out = append(out, pick(item, below))
		}
	}
	return out
}

// selects finds the member of the field set that stands for this item: "k:" with its key fields or "v:"
// with its value.
func selects(fields map[string]any, item any) (map[string]any, bool) {
	for key, below := range fields {
		belowSet, _ := below.(map[string]any)
		switch {
		case strings.HasPrefix(key, "k:"):
			var want map[string]any
			if json.Unmarshal([]byte(key[2:]), &want) != nil {
				continue
			}
			if object, ok := item.(map[string]any); ok && hasKeys(object, want) {
				return belowSet, true
			}
		case strings.HasPrefix(key, "v:"):
			var want any
			if json.Unmarshal([]byte(key[2:]), &want) == nil && equalScalar(want, item) {
				return belowSet, true
			}
		}
	}
	return nil, false
}

func hasKeys(object, want map[string]any) bool {
	for name, value := range want {
		if !equalScalar(value, object[name]) {
			return false
		}
	}
	return true
}

// Difference returns the path of the first field, in the order of names, in which the desired object is not
// what the manager owns on the live one. It is empty when they are the same.
func Difference(desired *unstructured.Unstructured, owned map[string]any) string {
	want := without(desired.Object, "apiVersion", "kind")
	if metadata, ok := want["metadata"].(map[string]any); ok {
		want["metadata"] = without(metadata, "name", "namespace")
	}
	if owned["metadata"] == nil {
		owned = without(owned)
		owned["metadata"] = map[string]any{}
	}
	return differ("", want, owned)
}

// without copies the top of an object, less some keys.
func without(object map[string]any, keys ...string) map[string]any {
	out := make(map[string]any, len(object)+1)
	for key, value := range object {
		if !slices.Contains(keys, key) {
			out[key] = value
		}
	}
	return out
}

func differ(path string, a, b any) string {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return path
		}
		return differMaps(path, x, y)
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return path
		}
		for i := range x {
			if at := differ(fmt.Sprintf("%s[%d]", path, i), x[i], y[i]); at != "" {
				return at
			}
		}
		return ""
	}
	if equalScalar(a, b) {
		return ""
	}
	return path
}

func differMaps(path string, a, b map[string]any) string {
	keys := slices.Collect(maps.Keys(a))
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		x, inA := a[key]
		y, inB := b[key]
		if !inA || !inB {
			return path + "." + key
		}
		if at := differ(path+"."+key, x, y); at != "" {
			return at
		}
	}
	return ""
}

// equalScalar compares numbers by value: JSON of managedFields brings float64, objects bring int64.
func equalScalar(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a.(type) {
	case map[string]any, []any:
		return false
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

func number(value any) (float64, bool) {
	switch n := value.(type) {
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	case float64:
		return n, true
	default:
		return 0, false
	}
}

// Describe names an object for messages: Kind namespace/name.
func Describe(object *unstructured.Unstructured) string {
	if object.GetNamespace() == "" {
		return object.GetKind() + " " + object.GetName()
	}
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}
