package registryconfig

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/fault"
)

// A refused object is told of by the field of Config that it comes from.
func TestARefusedObjectNamesTheFieldOfConfig(t *testing.T) {
	pod := field.NewPath("spec", "template", "spec")
	deployment := func(name string) apply.Ref { return apply.Ref{Kind: "Deployment", Namespace: "ns", Name: name} }
	var many field.ErrorList
	for i := range 1000 {
		many = append(many, field.NotSupported(pod.Child("tolerations").Index(i).Child("operator"), "Foo", []string{"Equal", "Exists"}))
	}
	for name, test := range map[string]struct {
		ref    apply.Ref
		causes field.ErrorList
		want   string
	}{
		"toleration": {deployment(registryv1.RegistryName), field.ErrorList{field.Required(pod.Child("tolerations").Index(0).Child("operator"), "x")}, "; correct spec.tolerations of Config cluster"},
		"toleration of the API server": {deployment(registryv1.ImageAPIName), field.ErrorList{field.Required(pod.Child("tolerations").Index(0).Child("operator"), "x")},
			"; correct spec.imageAPI.tolerations of Config cluster"},
		"limits": {deployment(registryv1.ImageAPIName), field.ErrorList{field.Invalid(pod.Child("containers").Index(0).Child("resources", "requests"), "2Gi", "too much")},
			"; correct spec.imageAPI.resources of Config cluster"},
		"two fields": {deployment(registryv1.RegistryName), field.ErrorList{field.Required(pod.Child("nodeSelector"), "x"), field.Required(pod.Child("affinity"), "y")},
			"; correct spec.nodeSelector and spec.affinity of Config cluster"},
		"annotation twice": {deployment(registryv1.RegistryName), field.ErrorList{field.Required(field.NewPath("metadata", "annotations"), "x"), field.Required(field.NewPath("spec", "template", "annotations"), "y")},
			"; correct spec.unsupportedConfigOverrides.deployment.annotations of Config cluster"},
		"a thousand": {deployment(registryv1.RegistryName), many, ", and 997 more; correct spec.tolerations of Config cluster"},
		"size":       {apply.Ref{Kind: "PersistentVolumeClaim", Namespace: "ns", Name: "data"}, field.ErrorList{field.Invalid(field.NewPath("spec", "resources", "requests"), "-1", "x")}, "; correct spec.storage.pvc.size of Config cluster"},
		"another":    {apply.Ref{Kind: "Service", Namespace: "ns", Name: "s"}, field.ErrorList{field.Required(field.NewPath("spec", "ports"), "x")}, "; correct the field of Config cluster that it comes from"},
		"no causes":  {deployment(registryv1.RegistryName), nil, "; correct the field of Config cluster that it comes from"},
	} {
		refused := fmt.Errorf("apply: %w", apierrors.NewInvalid(schema.GroupKind{Kind: test.ref.Kind}, test.ref.Name, test.causes))
		var permanent *fault.Permanent
		if err := refusal(test.ref, refused); !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonVerificationFailed ||
			!strings.HasSuffix(permanent.Message, test.want) || !strings.Contains(permanent.Message, test.ref.Name) || len(permanent.Message) > 1000 {
			t.Errorf("%s: %v, want it to end in %q", name, err, test.want)
		}
	}
}
