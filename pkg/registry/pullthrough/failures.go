package pullthrough

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/store"

	"go.uber.org/zap"
)

// ErrNoSource: the stream does not contain the digest, or has it from nowhere else.
var ErrNoSource = errors.New("no other registry is known to have it")

// failure is what one source answered.
type failure struct {
	from source
	err  error
}

// codeOf is the label of an outcome.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return string(remote.KindOf(err))
}

// refusal says of all failures the one that helps most. A source that asks for a pause is
// worth waiting for; one that does not have the content, or refuses, is told so that the
// client prints it (4xx); only when nobody answered properly it is worth a repetition.
func (s *Service) refusal(r *Request, failures []failure, code apierror.Code) error {
	if len(failures) == 0 {
		return apierror.New(http.StatusNotFound, code, "%s is not known to %s", r.Digest, r.Name).WithCause(errors.Join(ErrNoSource, store.ErrNotFound))
	}
	best, rank := failures[0], 0
	for _, f := range failures {
		if got := rankOf(f.err); got > rank {
			best, rank = f, got
		}
		if remote.KindOf(f.err) == remote.ContentIntegrity {
			s.options.Log.Error("a source sent content with another digest", zap.Stringer("repository", r.Name),
				zap.String("source", f.from.name()), zap.Stringer("digest", r.Digest))
		}
	}
	ref := best.from.name() + "@" + r.Digest.String()
	cause := fmt.Errorf("pull-through of %s for %s: %w", ref, r.Name, best.err)
	switch kind := remote.KindOf(best.err); kind {
	case remote.TooManyRequests:
		return apierror.New(http.StatusTooManyRequests, apierror.CodeTooManyRequests, "%s", best.err).
			WithRetryAfter(retryAfter(best.err)).WithCause(cause)
	case remote.NotFound:
		return apierror.New(http.StatusNotFound, code, "not found in %s", ref).WithCause(store.ErrNotFound)
	case remote.Unauthorized, remote.Forbidden:
		return apierror.New(http.StatusNotFound, code, "access to %s was denied, check the pull secrets of namespace %s", ref, r.Name.Namespace).
			WithCause(store.ErrNotFound)
	case remote.Blocked:
		return apierror.New(http.StatusNotFound, code, "%s cannot be fetched: %s", ref, best.err).WithCause(store.ErrNotFound)
	}
	return apierror.Unavailable(cause, "%s cannot be fetched at the moment: %s", ref, best.err)
}

func rankOf(err error) int {
	switch remote.KindOf(err) {
	case remote.TooManyRequests:
		return 4
	case remote.Unauthorized, remote.Forbidden, remote.Blocked:
		return 3
	case remote.NotFound:
		return 2
	}
	return 1
}

func retryAfter(err error) time.Duration {
	var known *remote.Error
	if errors.As(err, &known) && known.RetryAfter > 0 {
		return known.RetryAfter
	}
	return apierror.DefaultRetryAfter
}
