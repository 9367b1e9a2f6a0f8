package registryconfig

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/ingress"
)

// Behaviours 55 and 59: nobody is sent to a host whose Ingress the cluster refused.
func TestRefusedHostsAreNotGivenOut(t *testing.T) {
	routes := []ingress.Route{{Name: "a", Host: "a.test", SecretName: "a"}, {Name: "b", Host: "b.test", SecretName: "b"}}
	config := removedConfig("")
	config.Generation = 2
	f := newFixture(t, config)
	f.dynamic.PrependReactor("patch", "ingresses", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.PatchAction).GetName() == "b" {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "ingresses"}, "b", nil)
		}
		return false, nil, nil
	})
	f.fill(t)
	if got := f.answering(config, routes); !slices.Equal(got, []string{"a.test", "b.test"}) {
		t.Errorf("before anybody knows: %q", got)
	}
	exposed := f.expose(t.Context(), &pass{}, ingress.Plan{Routes: routes})
	if !slices.Equal(exposed.hosts, []string{"a.test"}) || len(exposed.problems) == 0 {
		t.Errorf("hosts %q, problems %q", exposed.hosts, exposed.problems)
	}
	config.Status.ObservedGeneration, config.Status.ExternalRegistryHostnames = 2, exposed.hosts
	if got := f.answering(config, routes); !slices.Equal(got, []string{"a.test"}) {
		t.Errorf("afterwards: %q", got)
	}
	config.Generation = 3
	if got := f.answering(config, routes); !slices.Equal(got, []string{"a.test", "b.test"}) {
		t.Errorf("after an edit: %q", got)
	}

	// An Ingress that was taken once leads here, whatever is said of its changes.
	config.Generation = 2
	taken := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b", Annotations: map[string]string{registryv1.OwnedAnnotation: "true"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: registryv1.OperatorName, FieldsType: "FieldsV1",
			FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:` + registryv1.OwnedAnnotation + `":{}}}}`)}}}}
	taken.Spec.Rules = []networkingv1.IngressRule{{Host: "b.test"}}
	if err := f.Namespaced.Networking().V1().Ingresses().Informer().GetIndexer().Add(taken); err != nil {
		t.Fatal(err)
	}
	if got := f.answering(config, routes); !slices.Equal(got, []string{"a.test", "b.test"}) {
		t.Errorf("of an Ingress that is there: %q", got)
	}
}
