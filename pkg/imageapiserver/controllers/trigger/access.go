package trigger

import (
	"context"
	"fmt"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
)

const (
	// answerLife is how long an answer about rights holds.
	answerLife = 5 * time.Minute
	// maxAnswers bounds the memory for answers; beyond, the oldest knowledge is dropped as a whole.
	maxAnswers = 10000
)

// AccessReviews asks who may do what. The generated client implements it.
type AccessReviews interface {
	Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, opts metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// access knows which namespaces may pull from which streams of others.
type access struct {
	reviews AccessReviews
	clock   clock.PassiveClock

	mu      sync.Mutex
	answers map[question]answer
}

type question struct {
	// namespace asks to pull from the stream.
	namespace string
	stream    stream
}

type answer struct {
	allowed bool
	until   time.Time
}

func newAccess(reviews AccessReviews, clock clock.PassiveClock) *access {
	return &access{reviews: reviews, clock: clock, answers: map[question]answer{}}
}

// groupsOf are those that every ServiceAccount of a namespace is in: a stream that is open to all of them, or
// to every user, is open to the namespace.
func groupsOf(namespace string) []string {
	return []string{
		serviceaccount.MakeNamespaceGroupName(namespace),
		serviceaccount.AllServiceAccountsGroup,
		user.AllAuthenticated,
	}
}

// mayPull tells whether the ServiceAccounts of a namespace may pull from a stream.
func (a *access) mayPull(ctx context.Context, namespace string, from stream) (bool, error) {
	asked := question{namespace, from}
	a.mu.Lock()
	known, found := a.answers[asked]
	a.mu.Unlock()
	if found && a.clock.Now().Before(known.until) {
		return known.allowed, nil
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		Groups: groupsOf(namespace),
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb:        "get",
			Group:       imagev1.GroupName,
			Version:     imagev1.SchemeGroupVersion.Version,
			Resource:    imagev1.ResourceNameImageStreams,
			Subresource: imagev1.SubresourceLayers,
			Namespace:   from.namespace,
			Name:        from.name,
		},
	}}
	result, err := a.reviews.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("may the ServiceAccounts of namespace %s pull from %s/%s: %w", namespace, from.namespace, from.name, err)
	}
	allowed := result.Status.Allowed && !result.Status.Denied
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.answers) >= maxAnswers {
		clear(a.answers)
	}
	a.answers[asked] = answer{allowed, a.clock.Now().Add(answerLife)}
	return allowed, nil
}
