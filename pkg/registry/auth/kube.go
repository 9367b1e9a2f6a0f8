package auth

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// kubeReviewer makes reviews with the registry's own account.
type kubeReviewer struct{ client kubernetes.Interface }

// NewKubeReviewer returns the Reviewer of a Kubernetes cluster.
func NewKubeReviewer(client kubernetes.Interface) Reviewer { return kubeReviewer{client} }

func (k kubeReviewer) ReviewToken(ctx context.Context, token string, audiences []string) (TokenResult, error) {
	review, err := k.client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
		return TokenResult{}, err
	}
	result := TokenResult{Authenticated: review.Status.Authenticated, Audiences: review.Status.Audiences}
	if !result.Authenticated {
		return result, nil
	}
	user := review.Status.User
	result.Identity = Identity{Username: user.Username, UID: user.UID, Groups: user.Groups}
	if len(user.Extra) > 0 {
		result.Identity.Extra = make(map[string][]string, len(user.Extra))
		for key, values := range user.Extra {
			result.Identity.Extra[key] = values
		}
	}
	return result, nil
}

func (k kubeReviewer) ReviewAccess(ctx context.Context, identity Identity, attributes Attributes) (Decision, error) {
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: identity.Username, UID: identity.UID, Groups: identity.Groups,
	}
	if len(identity.Extra) > 0 {
		spec.Extra = make(map[string]authorizationv1.ExtraValue, len(identity.Extra))
		for key, values := range identity.Extra {
			spec.Extra[key] = values
		}
	}
	if attributes.Path != "" {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: attributes.Path, Verb: attributes.Verb}
	} else {
		spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Verb: attributes.Verb, Group: attributes.Group, Version: attributes.Version,
			Resource: attributes.Resource, Subresource: attributes.Subresource,
			Namespace: attributes.Namespace, Name: attributes.Name,
		}
	}
	review, err := k.client.AuthorizationV1().SubjectAccessReviews().Create(ctx,
		&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return Decision{}, err
	}
	return Decision{Allowed: review.Status.Allowed, Reason: review.Status.Reason}, nil
}
