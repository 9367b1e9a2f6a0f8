package validation

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"image.alauda.io/api/image/reference"
)

// pullSpec checks a pull spec that must be there.
func pullSpec(text string, path *field.Path) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "name an image as host/namespace/name:tag or @digest")}
	}
	if _, err := reference.Parse(text); err != nil {
		return field.ErrorList{field.Invalid(path, text, err.Error())}
	}
	return nil
}

// ParseTime parses a time as it stands in annotations of the group.
func ParseTime(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) }
