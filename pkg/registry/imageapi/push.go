package imageapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/route"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	conflictAttempts = 5
	conflictDelay    = 50 * time.Millisecond
	conflictDelayMax = time.Second

	imageRounds = 3
	// stampInterval coalesces the stamps of Images that are pushed again.
	stampInterval = time.Minute
)

// StreamMaker creates the missing stream of a first push; it may refuse.
type StreamMaker func(ctx context.Context, name route.Name) error

// Pusher records pushes in the image API.
type Pusher struct {
	// Client makes the calls.
	Client Client
	// Now is the clock of the stamps.
	Now func() time.Time
	// Wait pauses between attempts; it returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
}

// Tag maps an image to a tag and creates the stream when it is missing. Every error
// is what the client must be told.
func (p *Pusher) Tag(ctx context.Context, name route.Name, tag string, image *imagev1.Image, create StreamMaker) error {
	attempt := func() error {
		mapping := &imagev1.ImageStreamMapping{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream},
			Image:      *image.DeepCopy(), Tag: tag,
		}
		return p.Client.CreateMapping(ctx, mapping)
	}
	err := p.retryConflicts(ctx, attempt)
	if isMissingStream(err, name) {
		if err := create(ctx, name); err != nil {
			return err
		}
		err = p.retryConflicts(ctx, attempt)
	}
	return Refusal(err, name)
}

// EnsureStream creates the stream when it does not exist.
func (p *Pusher) EnsureStream(ctx context.Context, name route.Name, create StreamMaker) error {
	_, err := p.Client.Stream(ctx, name)
	if apierrors.IsNotFound(err) {
		return create(ctx, name)
	}
	return Refusal(err, name)
}

// Create makes the stream of a first push. A stream that appears meanwhile is fine.
func (p *Pusher) Create(ctx context.Context, name route.Name, user string) error {
	_, err := p.Make(ctx, name, user)
	return err
}

// Make is Create and tells whether it was this call that made the stream.
func (p *Pusher) Make(ctx context.Context, name route.Name, user string) (made bool, err error) {
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{
		Namespace: name.Namespace, Name: name.Stream,
		Annotations: map[string]string{imagev1.ImageStreamCreatedByAnnotation: user},
	}}
	err = p.Client.CreateStream(ctx, stream)
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return false, nil
	}
	return err == nil, Refusal(err, name)
}

// Image stores an image that no tag names. An Image that exists already is stamped
// unless it is young, so that a prune that is under way sees that it is in use again;
// one that came by an import gets the marks of a push, as a mapping gives them: its
// bytes are here now.
func (p *Pusher) Image(ctx context.Context, name route.Name, image *imagev1.Image) error {
	var err error
	for range imageRounds {
		err = p.Client.CreateImage(ctx, image.DeepCopy())
		if !apierrors.IsAlreadyExists(err) {
			return Refusal(err, name)
		}
		if err = p.renew(ctx, image.Name, image.Annotations); !apierrors.IsNotFound(err) {
			return Refusal(err, name)
		}
	}
	return Refusal(err, name)
}

// pushMarks are the annotations that say that the bytes of an Image are in this registry.
var pushMarks = []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation}

// renew writes what an existing Image lacks: a stamp of the last minute, and the marks of
// a push that are among those given.
func (p *Pusher) renew(ctx context.Context, digest string, given map[string]string) error {
	existing, err := p.Client.Image(ctx, digest)
	if err != nil {
		return err
	}
	lacking := map[string]string{}
	if p.Now().Sub(lastReferenced(existing)) >= stampInterval {
		lacking[imagev1.ImageLastReferencedTimeAnnotation] = p.Now().UTC().Format(time.RFC3339)
	}
	// An Image that has been pushed keeps what it says of itself.
	if existing.Annotations[imagev1.ManagedByAlaudaAnnotation] != "true" {
		for _, mark := range pushMarks {
			if given[mark] == "true" {
				lacking[mark] = "true"
			}
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return p.Client.AnnotateImage(ctx, digest, lacking)
}

// lastReferenced is the later of creation and stamp.
func lastReferenced(image *imagev1.Image) time.Time {
	last := image.CreationTimestamp.Time
	stamp, err := time.Parse(time.RFC3339, image.Annotations[imagev1.ImageLastReferencedTimeAnnotation])
	if err == nil && stamp.After(last) {
		last = stamp
	}
	return last
}

func (p *Pusher) retryConflicts(ctx context.Context, attempt func() error) error {
	delay := conflictDelay
	for i := 1; ; i++ {
		err := attempt()
		if !apierrors.IsConflict(err) || i == conflictAttempts {
			return err
		}
		jittered := delay/2 + rand.N(delay/2+1)
		if err := p.Wait(ctx, jittered); err != nil {
			return err
		}
		delay = min(2*delay, conflictDelayMax)
	}
}

// isMissingStream recognises the answer for a mapping into a stream that is not there.
func isMissingStream(err error, name route.Name) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	details := status.Status().Details
	return details.Name == name.Stream &&
		(details.Kind == imagev1.ResourceNameImageStreamMappings || details.Kind == imagev1.ResourceNameImageStreams)
}

// Refusal turns an error of the image API into what a pushing client must see. nil
// stays nil, and what already is a refusal stays as it is.
func Refusal(err error, name route.Name) error {
	var refusal *apierror.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return Unavailable(err)
	}
	answer := status.Status()
	message := answer.Message
	switch {
	case retryAfter(answer) > 0:
		return Unavailable(err).WithRetryAfter(retryAfter(answer))
	case answer.Reason == metav1.StatusReasonServerTimeout:
		return Unavailable(err)
	case isLimit(answer), answer.Code == http.StatusForbidden:
		return apierror.New(http.StatusForbidden, apierror.CodeDenied, "%s", message).WithCause(err)
	case answer.Code == http.StatusNotFound && answer.Details != nil && answer.Details.Kind == "namespaces":
		return apierror.New(http.StatusNotFound, apierror.CodeNameUnknown, "namespace %q not found", name.Namespace).WithCause(err)
	case answer.Code == http.StatusNotFound && answer.Reason == metav1.StatusReasonNotFound:
		return apierror.New(http.StatusNotFound, apierror.CodeNameUnknown, "%s", message).WithCause(err)
	case answer.Code == http.StatusUnprocessableEntity, answer.Code == http.StatusBadRequest:
		return apierror.New(http.StatusBadRequest, apierror.CodeManifestInvalid, "%s", message).WithCause(err)
	case answer.Code == http.StatusRequestEntityTooLarge:
		return apierror.New(http.StatusBadRequest, apierror.CodeManifestInvalid, "%s", message).WithCause(err)
	}
	return Unavailable(err)
}

// Unavailable is the refusal when the image API gives no usable answer.
func Unavailable(err error) *apierror.Error {
	return apierror.Unavailable(fmt.Errorf("image API: %w", err), "the image API is not available, try again")
}

func retryAfter(answer metav1.Status) time.Duration {
	if answer.Details == nil {
		return 0
	}
	return time.Duration(answer.Details.RetryAfterSeconds) * time.Second
}

// isLimit recognises limits and quotas by the texts that the API server promises.
func isLimit(answer metav1.Status) bool {
	if answer.Code != http.StatusForbidden && answer.Code != http.StatusUnprocessableEntity {
		return false
	}
	for _, text := range []string{imagev1.LimitExceededText, imagev1.QuotaExceededText, imagev1.QuotaUnknownText} {
		if strings.Contains(answer.Message, text) {
			return true
		}
	}
	return false
}

// Renew stamps an Image that is taken up again by an index. One that was pruned is
// built and created again.
func (p *Pusher) Renew(ctx context.Context, name route.Name, digest string, build func(context.Context) (*imagev1.Image, error)) error {
	err := p.renew(ctx, digest, nil)
	if !apierrors.IsNotFound(err) {
		return Refusal(err, name)
	}
	image, err := build(ctx)
	if err != nil {
		return err
	}
	return p.Image(ctx, name, image)
}
