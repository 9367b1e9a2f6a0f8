//go:build component

package apiserver

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// creates makes one object of each kind that users create in a namespace, by resource name.
func (e *environment) creates(namespace string) map[string]func(context.Context) error {
	api := e.images.ImageV1()
	return map[string]func(context.Context) error{
		"imagestreams": func(ctx context.Context) error {
			_, err := api.ImageStreams(namespace).Create(ctx, stream("app"), metav1.CreateOptions{})
			return err
		},
		"imagestreammappings": func(ctx context.Context) error {
			_, err := api.ImageStreamMappings(namespace).Create(ctx, mapping("app", "v1", namespace), metav1.CreateOptions{})
			return err
		},
		"imagestreamtags": func(ctx context.Context) error {
			_, err := api.ImageStreamTags(namespace).Create(ctx, &imagev1.ImageStreamTag{
				ObjectMeta: metav1.ObjectMeta{Name: "app:v1"},
				Tag:        &imagev1.TagReference{Name: "v1", From: &corev1.ObjectReference{Kind: "DockerImage", Name: "example.test/app:v1"}},
			}, metav1.CreateOptions{})
			return err
		},
	}
}

// details returns what an error says about its object, empty when it is no answer of the API.
func details(err error) metav1.StatusDetails {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return metav1.StatusDetails{}
	}
	return *status.Status().Details
}

// testMissing holds the answers that the registry acts upon when it pushes: it creates a missing
// stream, but not a missing namespace. Behaviour 34.
func testMissing(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	err := e.creates(namespace)["imagestreammappings"](t.Context())
	if got := details(err); !apierrors.IsNotFound(err) || got.Group != "image.alauda.io" || got.Kind != "imagestreammappings" || got.Name != "app" {
		t.Errorf("mapping into a missing stream: %v with %+v, want NotFound of imagestreammappings.image.alauda.io app", err, got)
	}
	const missing = "no-such-namespace"
	for resource, create := range e.creates(missing) {
		err := create(t.Context())
		if got := details(err); !apierrors.IsNotFound(err) || got.Kind != "namespaces" || got.Name != missing {
			t.Errorf("create of %s in a missing namespace: %v with %+v, want NotFound of namespaces %s", resource, err, got, missing)
		}
	}
}

// testTerminating creates into a namespace that cannot finish being deleted.
func testTerminating(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	maps := e.kube.CoreV1().ConfigMaps(namespace)
	held, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.test/hold"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.kube.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for resource, create := range e.creates(namespace) {
		// The server sees the deletion through a watch.
		e.eventually(t, "create of "+resource+" is refused", func(ctx context.Context) error {
			err := create(ctx)
			if apierrors.IsForbidden(err) && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
				return nil
			}
			return errors.Join(errors.New("it is not Forbidden with the cause NamespaceTerminating"), err)
		})
	}
	e.eventually(t, "the namespace is let go", func(ctx context.Context) error {
		current, err := maps.Get(ctx, held.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		current.Finalizers = nil
		_, err = maps.Update(ctx, current, metav1.UpdateOptions{})
		return err
	})
}
