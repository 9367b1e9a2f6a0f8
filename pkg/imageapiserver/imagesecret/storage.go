// Package imagesecret serves imagestreams/secrets: the pull secrets of a
// namespace, which imports and pull-through may use on behalf of its streams.
//
// In: the namespace of the request and list options. Out: the Secrets of the
// two pull secret types, except those that carry the annotation
// alauda.io/image.excludeSecret.
//
// Secrets are read live with the server's own identity and never cached or
// logged. Whether the stream of the request exists is not asked.
package imagesecret

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// REST serves imagestreams/secrets.
type REST struct {
	secrets corev1client.SecretsGetter
	rest.TableConvertor
}

var (
	_ rest.GetterWithOptions    = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST reads Secrets through secrets.
func NewREST(secrets corev1client.SecretsGetter) *REST {
	return &REST{secrets: secrets, TableConvertor: rest.NewDefaultTableConvertor(corev1.Resource("secrets"))}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.SecretList{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "secret" }

// NewGetOptions says that the options of a list are accepted.
func (*REST) NewGetOptions() (runtime.Object, bool, string) {
	return &metav1.ListOptions{}, false, ""
}

// Get lists the pull secrets of the namespace. The name is not used.
func (r *REST) Get(ctx context.Context, _ string, options runtime.Object) (runtime.Object, error) {
	namespace := request.NamespaceValue(ctx)
	selected, err := listOptions(options)
	if err != nil {
		return nil, err
	}
	found, err := r.secrets.Secrets(namespace).List(ctx, selected)
	if err != nil {
		return nil, err
	}
	result := &imageapi.SecretList{Items: []corev1.Secret{}}
	result.ResourceVersion = found.ResourceVersion
	result.Continue = found.Continue
	for i := range found.Items {
		if usable(&found.Items[i]) {
			result.Items = append(result.Items, found.Items[i])
		}
	}
	return result, nil
}

// usable tells whether a Secret is a pull secret that its owner did not
// exclude.
func usable(secret *corev1.Secret) bool {
	switch secret.Type {
	case corev1.SecretTypeDockercfg, corev1.SecretTypeDockerConfigJson:
		return secret.Annotations[imagev1.ExcludeImageSecretAnnotation] != "true"
	}
	return false
}

// listOptions keeps those options that make sense for one answer.
func listOptions(options runtime.Object) (metav1.ListOptions, error) {
	given, ok := options.(*metav1.ListOptions)
	if !ok {
		return metav1.ListOptions{}, fmt.Errorf("list options have the unexpected type %T", options)
	}
	return metav1.ListOptions{
		LabelSelector: given.LabelSelector,
		FieldSelector: given.FieldSelector,
		Limit:         given.Limit,
		Continue:      given.Continue,
	}, nil
}
