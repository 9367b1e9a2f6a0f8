package remote

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// Repository reads from one repository, through its mirrors where there are any. It is safe for
// concurrent use; whoever wants several things of a repository keeps it, because it keeps the
// credential that worked.
type Repository struct{}

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

func notReady() error {
	return &Error{Kind: Internal, Message: "the registry client is not ready"}
}

// Manifest returns the manifest with a tag or digest.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (*Manifest, error) {
	return nil, notReady()
}

// Head asks for a manifest's digest without reading the manifest. Registries that do not tell the
// digest are asked for the manifest.
func (r *Repository) Head(ctx context.Context, tagOrDigest string) (Descriptor, error) {
	return Descriptor{}, notReady()
}

// Blob returns a whole blob of at most limit bytes; a limit of 0 means that of image configurations.
func (r *Repository) Blob(ctx context.Context, wanted digest.Digest, limit int64) ([]byte, error) {
	return nil, notReady()
}

// StatBlob returns the size of a blob without reading it, or -1 when the registry does not say.
func (r *Repository) StatBlob(ctx context.Context, wanted digest.Digest) (int64, error) {
	return 0, notReady()
}

// OpenBlob starts to read a blob of any size. byteRange is a Range header or empty; a registry may
// answer it with the whole blob. The caller closes the body.
func (r *Repository) OpenBlob(ctx context.Context, wanted digest.Digest, byteRange string) (*Blob, error) {
	return nil, notReady()
}

// Tags returns the repository's tags in the registry's order, without repetitions, at most limit; a
// limit of 0 means the client's own.
func (r *Repository) Tags(ctx context.Context, limit int) ([]string, error) {
	return nil, notReady()
}
