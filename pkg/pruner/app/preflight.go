package app

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// preflight asks for every right that a confirmed run needs and names all that are missing at once.
func (r *run) preflight(ctx context.Context) error {
	group := imagev1.SchemeGroupVersion.Group
	streams, images := imagev1.ResourceNameImageStreams, imagev1.ResourceNameImages
	needed := []authorizationv1.ResourceAttributes{
		{Verb: "update", Group: group, Resource: streams, Subresource: imagev1.SubresourceStatus, Namespace: r.Namespace},
		{Verb: "get", Group: group, Resource: streams, Namespace: r.Namespace},
		{Verb: "list", Group: group, Resource: streams},
		{Verb: "get", Group: group, Resource: images},
		{Verb: "list", Group: group, Resource: images},
	}
	if r.Namespace == "" {
		needed = append(needed, authorizationv1.ResourceAttributes{Verb: "delete", Group: group, Resource: images})
	}
	if r.OverSizeLimit {
		needed = append(needed, authorizationv1.ResourceAttributes{Verb: "list", Resource: "limitranges"})
	}
	for _, root := range snapshot.Roots() {
		needed = append(needed, authorizationv1.ResourceAttributes{Verb: "list", Group: root.Group, Resource: root.Resource})
	}
	var missing []string
	for _, attributes := range needed {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes}}
		answer, err := r.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return retryable(exitFailed, fmt.Errorf("review of permissions: %w", err))
		}
		if !answer.Status.Allowed {
			missing = append(missing, permission(attributes))
		}
	}
	if len(missing) > 0 {
		return failure(exitRefused, "permissions are missing, nothing was changed: %s (ClusterRole system:image-pruner grants them)", strings.Join(missing, ", "))
	}
	return nil
}

func permission(a authorizationv1.ResourceAttributes) string {
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	if a.Group != "" {
		resource += "." + a.Group
	}
	return a.Verb + " " + resource
}
