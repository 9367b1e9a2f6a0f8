// Package store is the blob store of the registry.
//
// It puts distribution's storage engine under upload sessions and adds what the engine
// does not export: links by digest, manifests as raw bytes, referrer links, tag hints
// and the markers of the reuse protocol that keeps a blob which a push relies on away
// from the collector. Blobs are read straight from the driver, because the engine's
// reader allocates 4 MiB for each open blob.
//
// In come repositories and digests that were checked before; out come bytes, sizes and
// errors: ErrNotFound, ErrUploadUnknown and friends, and *Error for a storage that does
// not work. It decides nothing about permissions or membership, knows no HTTP and never
// talks to the Kubernetes API.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: no such link, blob or manifest, or it is being deleted.
	ErrNotFound = errors.New("not found in storage")
	// ErrCorrupt: the stored bytes do not have their digest.
	ErrCorrupt = errors.New("stored content does not have its digest")
	// ErrUploadUnknown: no such upload session.
	ErrUploadUnknown = errors.New("upload is not known")
	// ErrUploadBusy: another request writes to the session.
	ErrUploadBusy = errors.New("another request writes to this upload")
	// ErrDigestMismatch: the uploaded content has another digest.
	ErrDigestMismatch = errors.New("content does not match its digest")
)

// Error is a storage that does not work.
type Error struct {
	// Op is what was tried, with its object.
	Op  string
	Err error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("storage: %s: %v", e.Op, e.Err) }

// Unwrap gives the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// Full tells whether the storage has no space or takes no writes.
func (e *Error) Full() bool {
	err := Cause(e.Err)
	return isFull(err) || errors.Is(err, syscall.EROFS)
}

// Cause looks behind the drivers' own error type, which has no Unwrap method and may hold another of it.
func Cause(err error) error {
	for {
		var wrapped driver.Error
		if !errors.As(err, &wrapped) || wrapped.Detail == nil {
			return err
		}
		err = wrapped.Detail
	}
}

// Options of a Store.
type Options struct {
	// ReadOnly writes no markers.
	ReadOnly bool
	// Now is the clock that ages are measured with.
	Now func() time.Time
	// Observer may be nil.
	Observer Observer
	// MaxManifest is the size in bytes above which content is no manifest. Configs are
	// read like manifests, so it has no effect below manifest.MaxConfigBytes.
	MaxManifest int64
	// OnDelete is called before bytes are removed, so that no cache promises them.
	OnDelete func(canonical digest.Digest)
	// OnUnlink is called after links of a repository were removed, so that no cache promises
	// what they named.
	OnUnlink func(repository route.Name)
	// OnDeletion hears what became of every request to delete a blob.
	OnDeletion func(Deletion)
}

// Observer hears how long operations took, those that failed included. Their names are
// those of the engine's interfaces: BlobStore.Open, BlobWriter.Commit and the like.
type Observer interface {
	OperationDone(operation string, took time.Duration)
}

// timed measures an operation until the returned function is called.
func (s *Store) timed(operation string) func() {
	if s.options.Observer == nil {
		return func() {}
	}
	start := time.Now()
	return func() { s.options.Observer.OperationDone(operation, time.Since(start)) }
}

// Info is what is known about stored bytes.
type Info struct {
	// Digest is canonical: sha256.
	Digest digest.Digest
	// Size in bytes.
	Size    int64
	ModTime time.Time
}

// Store is the blob store. All methods may be used concurrently.
type Store struct {
	driver driver.StorageDriver
	// directories is nil where the driver has no such thing.
	directories emptyRemover
	namespace   distribution.Namespace
	options     Options
	touches     *touches
	sessions    *sessions
	aliases     *tagAliases
	manifests   *manifestCache
	// makingRoom counts those to whom the last of a full storage belongs.
	makingRoom atomic.Int32
}

// New puts a Store on a driver. Nothing is read or written.
func New(ctx context.Context, storageDriver driver.StorageDriver, options Options) (*Store, error) {
	if options.Now == nil {
		return nil, fmt.Errorf("store options: no clock")
	}
	empties := directoriesOf(storageDriver)
	storageDriver = &steady{storageDriver}
	engine := &thrifty{StorageDriver: storageDriver}
	namespace, err := storage.NewRegistry(ctx, engine, storage.EnableDelete)
	if err != nil {
		return nil, fmt.Errorf("storage engine: %w", err)
	}
	return &Store{
		driver: storageDriver, directories: empties, namespace: namespace, options: options,
		touches: newTouches(), sessions: newSessions(), aliases: newTagAliases(), manifests: newManifestCache(maxManifestBytes),
	}, nil
}

// Check tells whether the storage answers.
func (s *Store) Check(ctx context.Context) error {
	_, err := s.driver.Stat(ctx, "/")
	if err != nil && !isNotFound(err) {
		return &Error{"stat /", err}
	}
	return nil
}

// Stat finds a blob or manifest by its canonical digest, in no repository and from no
// cache.
func (s *Store) Stat(ctx context.Context, canonical digest.Digest) (Info, error) {
	info, err := s.stat(ctx, blobPath(canonical))
	if err != nil {
		return Info{}, err
	}
	return Info{Digest: canonical, Size: info.Size(), ModTime: info.ModTime()}, nil
}

func (s *Store) stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := s.driver.Stat(ctx, path)
	switch {
	case isNotFound(err):
		return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
	case err != nil:
		return nil, &Error{"stat " + path, err}
	case info.IsDir():
		return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
	}
	return info, nil
}

func (s *Store) get(ctx context.Context, path string) ([]byte, error) {
	raw, err := s.driver.GetContent(ctx, path)
	switch {
	case isNotFound(err):
		return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
	case err != nil:
		return nil, &Error{"read " + path, err}
	}
	return raw, nil
}

// putAttempts is how often a small file is written when somebody comes in between.
const putAttempts = 5

// put writes a small file. Object stores can refuse one of several writes at the same time;
// as all of them write the same, the next attempt finds nobody or is no worse.
func (s *Store) put(ctx context.Context, path string, content []byte) error {
	var err error
	for range putAttempts {
		if err = s.driver.PutContent(ctx, path, content); err == nil {
			return nil
		}
		if ctx.Err() != nil || !isConflict(err) {
			break
		}
	}
	return &Error{"write " + path, err}
}

// remove deletes a path with everything below; what is not there is fine.
func (s *Store) remove(ctx context.Context, path string) error {
	if err := s.driver.Delete(ctx, path); err != nil && !isNotFound(err) {
		return &Error{"delete " + path, err}
	}
	return nil
}

func isNotFound(err error) bool {
	var notFound driver.PathNotFoundError
	return errors.As(err, &notFound)
}

// isVanished tells as well that a directory went while it was read. It says nothing about what is stored:
// whoever meets it has to look again.
func isVanished(err error) bool {
	cause := Cause(err)
	return isNotFound(err) || isNotFound(cause) || errors.Is(cause, fs.ErrNotExist) || errors.Is(cause, syscall.ESTALE)
}
