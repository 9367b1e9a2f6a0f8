package origin

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

func TestARefusalNamesTheSetting(t *testing.T) {
	ref := apply.Ref{Kind: "CronJob", Namespace: "ns", Name: "job"}
	source := Source{Object: "Thing one", Where: "spec.", Fields: []Field{{"spec.a", "first"}, {"spec.b", "second"}}}
	a, b := field.NewPath("spec", "a"), field.NewPath("spec", "b")
	long := strings.Repeat("é\n", 100_000)
	for name, test := range map[string]struct {
		causes field.ErrorList
		has    []string
		ends   string
	}{
		"one":           {field.ErrorList{field.Required(a, "say it")}, []string{"CronJob", "job", "spec.a: Required value: say it"}, "; correct spec.first of Thing one"},
		"below":         {field.ErrorList{field.Required(b.Index(3).Child("x"), "say it")}, []string{"spec.b[3].x"}, "; correct spec.second of Thing one"},
		"two":           {field.ErrorList{field.Required(a, ""), field.Required(b, ""), field.Required(a, "")}, nil, "; correct spec.first and spec.second of Thing one"},
		"unknown":       {field.ErrorList{field.Required(field.NewPath("status"), "")}, nil, "; correct the field of Thing one that it comes from"},
		"nothing named": {nil, nil, "; correct the field of Thing one that it comes from"},
		"a long value":  {field.ErrorList{field.Invalid(a, long, "is too long")}, []string{"é", " … ", "is too long"}, "; correct spec.first of Thing one"},
	} {
		var permanent *fault.Permanent
		err := Fault(ref, apierrors.NewInvalid(schema.GroupKind{Kind: "CronJob"}, "job", test.causes), source)
		if !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonVerificationFailed {
			t.Fatalf("%s: %v, want a permanent fault", name, err)
		}
		text := permanent.Message
		if !strings.HasSuffix(text, test.ends) || len(text) > 1000 || !utf8.ValidString(text) || strings.Contains(text, "\n") {
			t.Errorf("%s: %.1500q, want it to end in %q", name, text, test.ends)
		}
		for _, words := range test.has {
			if !strings.Contains(text, words) {
				t.Errorf("%s: %q lacks %q", name, text, words)
			}
		}
	}
	if err := Fault(ref, errors.New("no"), source); !strings.HasSuffix(err.Error(), "no; correct the field of Thing one that it comes from") {
		t.Errorf("another error: %v", err)
	}
}
