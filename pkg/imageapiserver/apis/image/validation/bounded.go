package validation

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// MaxErrors is how many mistakes an answer names.
const MaxErrors = 100

// Bounded is errs, or the first of them and, at the next one, how many there
// are besides. A request has room for a hundred thousand mistakes, nobody reads
// that many, and putting their texts together costs the square of their number.
func Bounded(errs field.ErrorList) field.ErrorList {
	more := len(errs) - MaxErrors
	if more <= 0 {
		return errs
	}
	return append(errs[:MaxErrors:MaxErrors], &field.Error{
		Type: field.ErrorTypeInvalid, Field: errs[MaxErrors].Field, BadValue: field.OmitValueType{},
		Detail: fmt.Sprintf("%d more mistakes, here and behind it, are not listed", more),
	})
}
