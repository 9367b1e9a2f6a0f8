package remote

import (
	"context"
	"errors"
	"io"
	"strings"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/opencontainers/go-digest"
)

// Repository reads from one repository, through its mirrors where there are any. It is safe for
// concurrent use; whoever wants several things of a repository keeps it, because it keeps the
// credential that worked.
type Repository struct {
	host            string
	limits          Limits
	byTag, byDigest []*source
}

// Descriptor is what a registry says about a manifest.
type Descriptor struct {
	Digest    digest.Digest
	MediaType string
	Size      int64
}

// Manifest is a manifest as the registry sent it.
type Manifest struct {
	Descriptor
	Content []byte
	// Source is the repository that answered, host/path: the one asked for, or one of its mirrors.
	// References are recorded with the name that was asked for.
	Source string
}

// Blob is a blob that is being read.
type Blob struct {
	// Body ends with an *Error of kind ContentIntegrity when a whole blob does not have its digest.
	Body io.ReadCloser
	// Size of the whole blob, or -1 when the registry does not say.
	Size int64
	// ContentRange is the header of that name when the registry sent a part of the blob, else empty.
	ContentRange string
	// Source is the repository that answered, host/path.
	Source string
}

// Manifest returns the manifest with a tag or digest.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (*Manifest, error) {
	sources, err := r.sourcesOf(tagOrDigest)
	if err != nil {
		return nil, err
	}
	return first(ctx, r, sources, func(s *source) (*Manifest, error) { return s.manifest(ctx, tagOrDigest) })
}

// Head asks for a manifest's digest without reading the manifest. Registries that do not tell the
// digest are asked for the manifest.
func (r *Repository) Head(ctx context.Context, tagOrDigest string) (Descriptor, error) {
	sources, err := r.sourcesOf(tagOrDigest)
	if err != nil {
		return Descriptor{}, err
	}
	return first(ctx, r, sources, func(s *source) (Descriptor, error) { return s.head(ctx, tagOrDigest) })
}

// Blob returns a whole blob of at most limit bytes; a limit of 0 means that of image configurations.
func (r *Repository) Blob(ctx context.Context, wanted digest.Digest, limit int64) ([]byte, error) {
	if err := r.checkDigest(wanted); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = r.limits.Config
	}
	return first(ctx, r, r.byDigest, func(s *source) ([]byte, error) { return s.blob(ctx, wanted, limit) })
}

// StatBlob returns the size of a blob without reading it, or -1 when the registry does not say.
func (r *Repository) StatBlob(ctx context.Context, wanted digest.Digest) (int64, error) {
	if err := r.checkDigest(wanted); err != nil {
		return 0, err
	}
	return first(ctx, r, r.byDigest, func(s *source) (int64, error) { return s.statBlob(ctx, wanted) })
}

// OpenBlob starts to read a blob of any size. byteRange is a Range header or empty; a registry may
// answer it with the whole blob. The caller closes the body.
func (r *Repository) OpenBlob(ctx context.Context, wanted digest.Digest, byteRange string) (*Blob, error) {
	if err := r.checkDigest(wanted); err != nil {
		return nil, err
	}
	return first(ctx, r, r.byDigest, func(s *source) (*Blob, error) { return s.openBlob(ctx, wanted, byteRange) })
}

// Tags returns the repository's tags in the registry's order, without repetitions, at most limit; a
// limit of 0 means the client's own.
func (r *Repository) Tags(ctx context.Context, limit int) ([]string, error) {
	if limit <= 0 || limit > r.limits.Tags {
		limit = r.limits.Tags
	}
	return first(ctx, r, r.byTag, func(s *source) ([]string, error) { return s.tags(ctx, limit) })
}

func (r *Repository) sourcesOf(tagOrDigest string) ([]*source, error) {
	if strings.Contains(tagOrDigest, ":") {
		return r.byDigest, r.checkDigest(digest.Digest(tagOrDigest))
	}
	if err := reference.ValidateTag(tagOrDigest); err != nil {
		return nil, &Error{Kind: Internal, Host: r.host, Message: err.Error()}
	}
	return r.byTag, nil
}

// checkDigest keeps everything but a digest out of addresses.
func (r *Repository) checkDigest(wanted digest.Digest) error {
	if _, err := manifest.ParseDigest(wanted.String()); err != nil {
		return &Error{Kind: Internal, Host: r.host, Message: err.Error()}
	}
	return nil
}

// first asks the sources in order and returns the first success.
func first[T any](ctx context.Context, r *Repository, sources []*source, ask func(*source) (T, error)) (T, error) {
	var none T
	var failures []error
	for _, s := range sources {
		found, err := ask(s)
		if err == nil {
			return found, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failures) == 0 {
		return none, blockedError(r.host)
	}
	return none, joined(failures)
}

// joined makes one error of the failures of all sources. Its kind is that of the last one, which is the
// repository that was asked for unless it must not be contacted; a single failure stays as it is.
func joined(failures []error) error {
	last := asError(failures[len(failures)-1])
	if len(failures) == 1 {
		return last
	}
	all := &Error{Kind: last.Kind, Host: last.Host, cause: errors.Join(failures...)}
	texts := make([]string, 0, len(failures))
	for _, failure := range failures {
		e := asError(failure)
		texts = append(texts, e.Message)
		all.RetryAfter = max(all.RetryAfter, e.RetryAfter)
	}
	if all.Kind != TooManyRequests {
		all.RetryAfter = 0
	}
	all.Message = strings.Join(texts, "; ")
	return all
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Message: "the registry client failed", cause: err}
}
