package access

import (
	"context"
	"errors"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

type reviews struct {
	asked  authorizationv1.SubjectAccessReviewSpec
	status authorizationv1.SubjectAccessReviewStatus
	err    error
}

func (r *reviews) Create(_ context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	r.asked = review.Spec
	return &authorizationv1.SubjectAccessReview{Status: r.status}, r.err
}

func TestAsksForTheRequestingUser(t *testing.T) {
	fake := &reviews{status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}}
	subject := &user.DefaultInfo{Name: "alice", UID: "1", Groups: []string{"devs"}, Extra: map[string][]string{"k": {"v"}}}
	ctx := request.WithUser(t.Context(), subject)
	allowed, err := NewReviewer(fake).CanPull(ctx, "team-a", "app")
	if err != nil || !allowed {
		t.Fatalf("got %t, %v", allowed, err)
	}
	got := *fake.asked.ResourceAttributes
	want := authorizationv1.ResourceAttributes{Verb: "get", Group: "image.alauda.io", Version: "v1", Resource: "imagestreams", Subresource: "layers", Namespace: "team-a", Name: "app"}
	if got.Verb != want.Verb || got.Group != want.Group || got.Version != want.Version || got.Resource != want.Resource ||
		got.Subresource != want.Subresource || got.Namespace != want.Namespace || got.Name != want.Name {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	if fake.asked.User != "alice" || fake.asked.UID != "1" || fake.asked.Groups[0] != "devs" || fake.asked.Extra["k"][0] != "v" {
		t.Errorf("asked on behalf of %+v", fake.asked)
	}
	if _, err := NewReviewer(fake).IsTrustedWriter(ctx); err != nil {
		t.Fatal(err)
	}
	if got := fake.asked.ResourceAttributes; got.Verb != "create" || got.Resource != "images" || got.Namespace != "" || got.Name != "" {
		t.Errorf("a trusted writer is asked for %+v", got)
	}
}

func TestOnlyAPlainYesAllows(t *testing.T) {
	ctx := request.WithUser(t.Context(), &user.DefaultInfo{Name: "alice"})
	for name, fake := range map[string]*reviews{
		"no":     {},
		"denied": {status: authorizationv1.SubjectAccessReviewStatus{Allowed: true, Denied: true}},
		"failed": {status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}, err: errors.New("unreachable")},
	} {
		if allowed, _ := NewReviewer(fake).IsTrustedWriter(ctx); allowed {
			t.Errorf("%s: allowed", name)
		}
	}
	if _, err := NewReviewer(&reviews{}).IsTrustedWriter(t.Context()); err == nil {
		t.Error("a request without user gave no error")
	}
}
