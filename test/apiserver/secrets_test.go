//go:build component

package apiserver

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
)

// allow lets a user do verbs to a resource of the image API in a namespace.
func (e *environment) allow(t *testing.T, namespace, user, resource string, verbs ...string) {
	t.Helper()
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{GenerateName: user + "-"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{imagev1.GroupName}, Resources: []string{resource}, Verbs: verbs}},
	}
	role, err := e.kube.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// Behaviour 33: who may get imagestreams/secrets reads the pull secrets of the namespace, managed ones
// included, without any right to Secrets; nobody else does, whatever he may do to streams.
func testSecrets(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	data := map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}
	for _, secret := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Name: "json", Labels: map[string]string{"use": "yes"}}, Type: corev1.SecretTypeDockerConfigJson, Data: data},
		{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{}`)}},
		{ObjectMeta: metav1.ObjectMeta{Name: "opaque", Labels: map[string]string{"use": "yes"}}, Type: corev1.SecretTypeOpaque},
		{ObjectMeta: metav1.ObjectMeta{Name: "excluded", Labels: map[string]string{"use": "yes"}, Annotations: map[string]string{imagev1.ExcludeImageSecretAnnotation: "true"}}, Type: corev1.SecretTypeDockerConfigJson, Data: data},
		{ObjectMeta: metav1.ObjectMeta{
			Name: "default-registry-pull", Labels: map[string]string{imageregistryv1.ManagedPullSecretLabel: "true"},
			Annotations: map[string]string{imageregistryv1.ServiceAccountNameAnnotation: "default"},
		}, Type: corev1.SecretTypeDockerConfigJson, Data: data},
	} {
		if _, err := e.kube.CoreV1().Secrets(namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	e.allow(t, namespace, "puller", "imagestreams/secrets", "get")
	e.allow(t, namespace, "editor", "imagestreams", "*")
	e.allow(t, namespace, "editor", "imagestreams/layers", "*")
	read := func(ctx context.Context, user, selector string) ([]string, error) {
		client := imageclient.NewForConfigOrDie(e.cp.RestConfigFor(user)).ImageV1().RESTClient()
		found := &imagev1.SecretList{}
		// No stream has that name, and none needs to.
		request := client.Get().Namespace(namespace).Resource("imagestreams").Name("none").SubResource("secrets")
		if selector != "" {
			request = request.Param("labelSelector", selector)
		}
		if err := request.Do(ctx).Into(found); err != nil {
			return nil, err
		}
		var names []string
		for _, secret := range found.Items {
			if len(secret.Data) == 0 {
				return nil, fmt.Errorf("secret %s has no content", secret.Name)
			}
			names = append(names, secret.Name)
		}
		slices.Sort(names)
		return names, nil
	}
	for selector, want := range map[string][]string{"": {"default-registry-pull", "json", "old"}, "use=yes": {"json"}, "use=no": nil} {
		e.eventually(t, "secrets with labels "+selector, func(ctx context.Context) error {
			if got, err := read(ctx, "puller", selector); err != nil || !slices.Equal(got, want) {
				return fmt.Errorf("got %v, %w; want %v", got, err, want)
			}
			return nil
		})
	}
	// What editor may do is known by the time he may read streams.
	editor := imageclient.NewForConfigOrDie(e.cp.RestConfigFor("editor")).ImageV1()
	e.eventually(t, "editor reads streams", func(ctx context.Context) error {
		_, err := editor.ImageStreams(namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	for _, user := range []string{"editor", "stranger"} {
		if got, err := read(t.Context(), user, ""); !apierrors.IsForbidden(err) {
			t.Errorf("%s got %v, %v; want Forbidden", user, got, err)
		}
	}
}
