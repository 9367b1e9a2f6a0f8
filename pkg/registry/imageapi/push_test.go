package imageapi_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testingclock "k8s.io/utils/clock/testing"
)

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var (
	name     = route.Name{Namespace: "team", Stream: "app"}
	resource = schema.GroupResource{Group: "image.alauda.io", Resource: "imagestreammappings"}
)

func fixture() (*imageapi.Pusher, *imageapitest.API, *testingclock.FakeClock) {
	clock := testingclock.NewFakeClock(time.Unix(1700000000, 0))
	api := imageapitest.New("server:5000", clock.Now)
	api.AddNamespace(name.Namespace)
	wait := func(context.Context, time.Duration) error { return nil }
	return &imageapi.Pusher{Client: api, Now: clock.Now, Wait: wait}, api, clock
}

func image() *imagev1.Image {
	return &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: digest}}
}

// Behaviour 32.
func TestFirstPushCreatesTheStream(t *testing.T) {
	pusher, api, _ := fixture()
	create := func(ctx context.Context, name route.Name) error { return pusher.Create(ctx, name, "dev") }
	if err := pusher.Tag(t.Context(), name, "v1", image(), create); err != nil {
		t.Fatal(err)
	}
	stream, err := api.Stream(t.Context(), name)
	if err != nil || stream.Annotations[imagev1.ImageStreamCreatedByAnnotation] != "dev" || stream.Status.Tags[0].Items[0].Image != digest {
		t.Errorf("stream %+v, %v", stream, err)
	}
	err = pusher.Tag(t.Context(), route.Name{Namespace: "gone", Stream: "app"}, "v1", image(), func(ctx context.Context, name route.Name) error {
		return pusher.Create(ctx, name, "dev")
	})
	if refusal := apierror.From(err); refusal.Status != http.StatusNotFound || refusal.Entries[0].Message != `namespace "gone" not found` {
		t.Errorf("missing namespace: %v", err)
	}
}

// Behaviour 35.
func TestConflictsAreRetriedFiveTimes(t *testing.T) {
	for _, conflicts := range []int{4, 5} {
		pusher, api, _ := fixture()
		api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream}})
		left := conflicts
		api.Fail(func(call string) error {
			if call == "CreateMapping" && left > 0 {
				left--
				return apierrors.NewConflict(resource, "app", errors.New("modified"))
			}
			return nil
		})
		err := pusher.Tag(t.Context(), name, "v1", image(), nil)
		if conflicts == 4 && err != nil {
			t.Errorf("after 4 conflicts: %v", err)
		}
		if conflicts == 5 && apierror.From(err).Status != http.StatusServiceUnavailable {
			t.Errorf("after 5 conflicts: %v, want 503", err)
		}
	}
}

// Behaviour 32a.
func TestKnownImageIsStampedOncePerMinute(t *testing.T) {
	pusher, api, clock := fixture()
	for _, step := range []struct {
		wait   time.Duration
		stamps int
	}{{0, 0}, {59 * time.Second, 0}, {time.Second, 1}, {59 * time.Second, 1}, {time.Second, 2}} {
		clock.Step(step.wait)
		if err := pusher.Image(t.Context(), name, image()); err != nil {
			t.Fatal(err)
		}
		if got := api.Calls("AnnotateImage"); got != step.stamps {
			t.Errorf("%d stamps, want %d", got, step.stamps)
		}
	}
}

// A digest-only push of an image that somebody imported before: its bytes are here from now on, so an index
// makes it local in copies as if the push had come first. Repeated, nothing is written.
func TestImportedImageIsMarkedByAPushWithoutTag(t *testing.T) {
	pushed := image()
	pushed.Annotations = map[string]string{imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"}
	for what, test := range map[string]struct {
		stored map[string]string
		age    time.Duration
		want   map[string]string
	}{
		"young import": {nil, 0, map[string]string{imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"}},
		"old import": {map[string]string{"note": "kept"}, time.Hour, map[string]string{
			"note": "kept", imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			imagev1.ImageLastReferencedTimeAnnotation: "2023-11-14T22:13:20Z",
		}},
		"pushed before": {map[string]string{imagev1.ManagedByAlaudaAnnotation: "true"}, 0, map[string]string{imagev1.ManagedByAlaudaAnnotation: "true"}},
	} {
		pusher, api, clock := fixture()
		stored := image()
		stored.Annotations, stored.CreationTimestamp = test.stored, metav1.NewTime(clock.Now().Add(-test.age))
		api.AddImage(stored)
		for range 2 {
			if err := pusher.Image(t.Context(), name, pushed); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		found, err := api.Image(t.Context(), digest)
		if err != nil || !maps.Equal(found.Annotations, test.want) {
			t.Errorf("%s: annotations %v, %v; want %v", what, found.Annotations, err, test.want)
		}
		if calls := api.Calls("AnnotateImage"); calls > 1 {
			t.Errorf("%s: %d writes, want at most one", what, calls)
		}
	}
}

// An index that names an imported image again does not prove that its bytes are here.
func TestRenewMarksNothing(t *testing.T) {
	pusher, api, clock := fixture()
	stored := image()
	stored.CreationTimestamp = metav1.NewTime(clock.Now().Add(-time.Hour))
	api.AddImage(stored)
	if err := pusher.Renew(t.Context(), name, digest, nil); err != nil {
		t.Fatal(err)
	}
	found, err := api.Image(t.Context(), digest)
	if err != nil || len(found.Annotations) != 1 || found.Annotations[imagev1.ImageLastReferencedTimeAnnotation] == "" {
		t.Errorf("annotations %v, %v; want the stamp alone", found.Annotations, err)
	}
}

// Behaviour 32a.
func TestImageThatVanishesIsCreatedAgain(t *testing.T) {
	pusher, api, clock := fixture()
	if err := pusher.Image(t.Context(), name, image()); err != nil {
		t.Fatal(err)
	}
	clock.Step(time.Hour)
	api.Fail(func(call string) error {
		if call == "Image" && api.Calls("Image") == 1 {
			api.DeleteImage(digest)
		}
		return nil
	})
	if err := pusher.Image(t.Context(), name, image()); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Image(t.Context(), digest); err != nil {
		t.Errorf("the image was not created again: %v", err)
	}
}

// Behaviours 35 and 36.
func TestRefusal(t *testing.T) {
	status := func(code int32, reason metav1.StatusReason, message string, details *metav1.StatusDetails) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message, Details: details}}
	}
	tests := []struct {
		name   string
		err    error
		status int
		code   apierror.Code
		text   string
	}{
		{"quota", status(403, metav1.StatusReasonForbidden, "exceeded quota: q, used 1", nil), 403, apierror.CodeDenied, "exceeded quota: q, used 1"},
		{"limit as 422", status(422, metav1.StatusReasonInvalid, "usage exceeds the maximum limit", nil), 403, apierror.CodeDenied, "usage exceeds the maximum limit"},
		{"quota unknown", status(403, metav1.StatusReasonForbidden, "status unknown for quota: q", nil), 403, apierror.CodeDenied, "status unknown for quota: q"},
		{"other 403", status(403, metav1.StatusReasonForbidden, "namespace is being terminated", nil), 403, apierror.CodeDenied, "namespace is being terminated"},
		{"other 422", status(422, metav1.StatusReasonInvalid, "bad layer", nil), 400, apierror.CodeManifestInvalid, "bad layer"},
		{"413", status(413, metav1.StatusReasonRequestEntityTooLarge, "too big", nil), 400, apierror.CodeManifestInvalid, "too big"},
		{"no namespace", status(404, metav1.StatusReasonNotFound, "x", &metav1.StatusDetails{Kind: "namespaces"}), 404, apierror.CodeNameUnknown, `namespace "team" not found`},
		{"404 without details", status(404, "", "the server could not find the requested resource", nil), 503, apierror.CodeUnavailable, ""},
		{"401", status(401, metav1.StatusReasonUnauthorized, "x", nil), 503, apierror.CodeUnavailable, ""},
		{"500", status(500, metav1.StatusReasonInternalError, "x", nil), 503, apierror.CodeUnavailable, ""},
		{"conflict", apierrors.NewConflict(resource, "a", errors.New("x")), 503, apierror.CodeUnavailable, ""},
		{"server timeout", status(500, metav1.StatusReasonServerTimeout, "loading", &metav1.StatusDetails{RetryAfterSeconds: 2}), 503, apierror.CodeUnavailable, ""},
		{"connection", errors.New("connection refused"), 503, apierror.CodeUnavailable, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			refusal := apierror.From(imageapi.Refusal(test.err, name))
			if refusal.Status != test.status || refusal.Entries[0].Code != test.code {
				t.Errorf("%v, want %d %s", refusal, test.status, test.code)
			}
			if test.text != "" && refusal.Entries[0].Message != test.text {
				t.Errorf("message %q, want %q", refusal.Entries[0].Message, test.text)
			}
			if test.name == "server timeout" && refusal.Header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After %q, want 2", refusal.Header.Get("Retry-After"))
			}
		})
	}
	if imageapi.Refusal(nil, name) != nil {
		t.Error("no error became a refusal")
	}
}
