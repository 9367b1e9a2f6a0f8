package app

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Behaviour 70: no token stays in memory, of no namespace and in no cache.
func TestCachesForgetTokens(t *testing.T) {
	labels := map[string]string{registryv1.ManagedPullSecretLabel: "true"}
	data := map[string][]byte{corev1.DockerConfigJsonKey: []byte("x")}
	for _, test := range []struct {
		name   string
		labels map[string]string
		keeps  bool
	}{{"pull secret", labels, false}, {"serving certificate", nil, true}} {
		t.Run(test.name, func(t *testing.T) {
			typed := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: test.labels}, Data: data}
			if _, err := forgetToken(typed); err != nil || (len(typed.Data) > 0) != test.keeps {
				t.Errorf("typed: data %v, error %v", typed.Data, err)
			}
			untyped := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"x": "y"}}}
			untyped.SetLabels(test.labels)
			if _, err := forgetToken(untyped); err != nil || (untyped.Object["data"] != nil) != test.keeps {
				t.Errorf("untyped: %v, error %v", untyped.Object, err)
			}
		})
	}
	if object, err := forgetToken("something else"); err != nil || object != "something else" {
		t.Errorf("%v, %v", object, err)
	}
}
