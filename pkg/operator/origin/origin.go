// Package origin tells an administrator which of his settings the cluster refused.
//
// The operator copies settings such as tolerations or limits into Deployments, claims and CronJobs without checking
// them: the API server of the cluster knows the rules of its version. Its refusal names a field of the object that
// was sent, which nobody has written by hand.
//
// In comes the refusal and a table of where the fields of the object come from. Out comes a permanent fault with the
// field to correct. The package is pure, and repeats no more of a refused value than a condition can hold.
package origin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

const (
	// mostCauses is how many of the refused fields are told of; who corrects them sees the rest.
	mostCauses = 3
	// mostWords bounds one cause: the API server repeats the value that it refuses.
	mostWords = 200
)

// Field says that what lies below Prefix in an object comes from Setting.
type Field struct{ Prefix, Setting string }

// Source is where the settings stand.
type Source struct {
	// Object is written as in "Config cluster", Where is put before every Setting, as in "spec.".
	Object, Where string
	// Fields are looked through in order.
	Fields []Field
}

// Fault is what follows from a refused object. What is refused now is refused the next time, too; what runs stays as
// it is.
func Fault(ref apply.Ref, err error, source Source) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return fault.Permanentf(registryv1.ReasonVerificationFailed, "%v; correct the field of %s that it comes from", err, source.Object)
	}
	var settings, texts []string
	causes := status.Status().Details.Causes
	for i, cause := range causes {
		if setting := source.setting(cause.Field); setting != "" {
			settings = add(settings, setting)
		}
		if i < mostCauses {
			texts = add(texts, cause.Field+": "+short(cause.Message))
		}
	}
	if rest := len(causes) - mostCauses; rest > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", rest))
	}
	correct := "the field of " + source.Object + " that it comes from"
	if len(settings) > 0 {
		correct = strings.Join(settings, " and ") + " of " + source.Object
	}
	return fault.Permanentf(registryv1.ReasonVerificationFailed, "the cluster refuses %s: %s; correct %s", ref, strings.Join(texts, ", "), correct)
}

func (s Source) setting(field string) string {
	for _, known := range s.Fields {
		if strings.HasPrefix(field, known.Prefix) {
			return s.Where + known.Setting
		}
	}
	return ""
}

func add(list []string, text string) []string {
	if slices.Contains(list, text) {
		return list
	}
	return append(list, text)
}

// short keeps the beginning of a text, which repeats the value, and its end, which says what is wrong with it.
func short(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) <= mostWords {
		return text
	}
	return strings.ToValidUTF8(text[:mostWords/2], "") + " … " + strings.ToValidUTF8(text[len(text)-mostWords/2:], "")
}
