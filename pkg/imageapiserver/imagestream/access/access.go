// Package access asks kube-apiserver whether the requesting user may do
// something beside what he asked for: pull from the stream he copies a tag
// from, or create images, which makes him a trusted writer of mappings.
//
// In: the user of the request context, with groups and extra. Out: yes, no, or
// an error when the question could not be asked; callers treat an error as no.
//
// It caches nothing: the questions are rare, and a stale yes would open
// content to somebody whose right was just taken.
package access

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	imagev1 "image.alauda.io/api/image/v1"
)

// Creator sends a SubjectAccessReview. The generated client implements it.
type Creator interface {
	Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, opts metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// Reviewer asks for the rights of the user in a request context.
type Reviewer struct {
	reviews Creator
}

// NewReviewer asks through reviews.
func NewReviewer(reviews Creator) *Reviewer { return &Reviewer{reviews: reviews} }

// CanPull tells whether the user may read the layers of a stream.
func (r *Reviewer) CanPull(ctx context.Context, namespace, stream string) (bool, error) {
	return r.ask(ctx, authorizationv1.ResourceAttributes{
		Verb:        "get",
		Group:       imagev1.GroupName,
		Version:     imagev1.SchemeGroupVersion.Version,
		Resource:    imagev1.ResourceNameImageStreams,
		Subresource: imagev1.SubresourceLayers,
		Namespace:   namespace,
		Name:        stream,
	})
}

// IsTrustedWriter tells whether the user may create images, as the registry
// and administrators may.
func (r *Reviewer) IsTrustedWriter(ctx context.Context) (bool, error) {
	return r.ask(ctx, authorizationv1.ResourceAttributes{
		Verb:     "create",
		Group:    imagev1.GroupName,
		Version:  imagev1.SchemeGroupVersion.Version,
		Resource: imagev1.ResourceNameImages,
	})
}

func (r *Reviewer) ask(ctx context.Context, attributes authorizationv1.ResourceAttributes) (bool, error) {
	subject, ok := request.UserFrom(ctx)
	if !ok {
		return false, errors.New("access review: the request has no user")
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		ResourceAttributes: &attributes,
		User:               subject.GetName(),
		UID:                subject.GetUID(),
		Groups:             subject.GetGroups(),
		Extra:              extraOf(subject),
	}}
	answer, err := r.reviews.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("access review: may %s %s %s: %w", subject.GetName(), attributes.Verb, attributes.Resource, err)
	}
	return answer.Status.Allowed && !answer.Status.Denied, nil
}

func extraOf(subject user.Info) map[string]authorizationv1.ExtraValue {
	extra := subject.GetExtra()
	if len(extra) == 0 {
		return nil
	}
	converted := make(map[string]authorizationv1.ExtraValue, len(extra))
	for key, values := range extra {
		converted[key] = authorizationv1.ExtraValue(values)
	}
	return converted
}
