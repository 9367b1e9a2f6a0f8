package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Upload is an open session. One process has at most one writer per session; it must
// be ended by Close, Commit or Cancel.
type Upload struct {
	// ID is the UUID of the session.
	ID        string
	StartedAt time.Time

	store   *Store
	name    route.Name
	writer  distribution.BlobWriter
	active  *activeSession
	claim   *claim
	release func()
	size    int64
}

// NewUpload starts a session and opens it.
func (s *Store) NewUpload(ctx context.Context, name route.Name) (*Upload, error) {
	defer s.timed("BlobStore.Create")()
	if err := s.hasRoom(); err != nil {
		return nil, err
	}
	blobs, err := s.engine(ctx, name)
	if err != nil {
		return nil, err
	}
	// A session outlives the request that started it, and a driver keeps the context.
	writer, err := blobs.Create(context.WithoutCancel(ctx))
	if err != nil {
		return nil, &Error{"start upload in " + name.String(), err}
	}
	active, release, _ := s.sessions.lock(writer.ID())
	return &Upload{ID: writer.ID(), StartedAt: writer.StartedAt(), store: s, name: name, writer: writer, active: active, release: release}, nil
}

// ResumeUpload opens a session for writing. ErrUploadBusy comes with the size that the
// other writer, here or on another replica, has reached.
func (s *Store) ResumeUpload(ctx context.Context, name route.Name, id string) (*Upload, int64, error) {
	defer s.timed("BlobStore.Resume")()
	if err := s.hasRoom(); err != nil {
		return nil, 0, err
	}
	active, unlock, ok := s.sessions.lock(id)
	if !ok {
		return nil, active.size.Load(), fmt.Errorf("upload %s: %w", id, ErrUploadBusy)
	}
	claim, err := s.claim(ctx, sessionPath(name, id))
	if err != nil {
		unlock()
		return nil, s.visibleSize(ctx, name, id), err
	}
	release := sync.OnceFunc(func() {
		claim.end(ctx)
		unlock()
	})
	upload, err := s.resume(ctx, name, id)
	if err == nil {
		if err = s.dropStates(ctx, name, id, upload.Size()); err != nil {
			_ = upload.writer.Close()
		}
	}
	if err != nil {
		release()
		return nil, 0, err
	}
	upload.active, upload.claim, upload.release = active, claim, release
	active.size.Store(upload.Size())
	return upload, upload.Size(), nil
}

func sessionPath(name route.Name, id string) string { return repositoryPath(name, "_uploads", id) }

// visibleSize is what the storage shows of a session that another replica writes to. Object
// stores show no file before the commit, there the driver counts the parts.
func (s *Store) visibleSize(ctx context.Context, name route.Name, id string) int64 {
	info, err := s.stat(ctx, repositoryPath(name, "_uploads", id, "data"))
	if err == nil {
		return info.Size()
	}
	upload, err := s.resume(ctx, name, id)
	if err != nil {
		return 0
	}
	size := upload.Size()
	_ = upload.writer.Close() // nothing was written
	return size
}

// UploadSize tells how far a session is, also while somebody writes to it.
func (s *Store) UploadSize(ctx context.Context, name route.Name, id string) (int64, error) {
	active, unlock, ok := s.sessions.lock(id)
	if !ok {
		return active.size.Load(), nil
	}
	defer unlock()
	upload, err := s.resume(ctx, name, id)
	if err != nil {
		return 0, err
	}
	size := upload.Size()
	if err := upload.writer.Close(); err != nil {
		return 0, &Error{"suspend upload " + id, err}
	}
	return size, nil
}

func (s *Store) resume(ctx context.Context, name route.Name, id string) (*Upload, error) {
	blobs, err := s.engine(ctx, name)
	if err != nil {
		return nil, err
	}
	writer, err := blobs.Resume(context.WithoutCancel(ctx), id)
	switch {
	case errors.Is(err, distribution.ErrBlobUploadUnknown), isTornUpload(err):
		return nil, fmt.Errorf("upload %s: %w", id, ErrUploadUnknown)
	case err != nil:
		return nil, &Error{"resume upload " + id, err}
	}
	return &Upload{ID: id, StartedAt: writer.StartedAt(), store: s, name: name, writer: writer, size: writer.Size()}, nil
}

// isTornUpload recognises a session in S3 that cannot go on: parts below 5 MiB are joined
// by finishing the upload there and starting another one, and the process died in between.
// The driver has no type for it.
func isTornUpload(err error) bool {
	return err != nil && strings.Contains(err.Error(), "append to zero-size path")
}

func (s *Store) engine(ctx context.Context, name route.Name) (distribution.BlobStore, error) {
	named, err := reference.WithName(name.String())
	if err != nil {
		return nil, &Error{"repository " + name.String(), err}
	}
	repository, err := s.namespace.Repository(context.WithoutCancel(ctx), named)
	if err != nil {
		return nil, &Error{"repository " + name.String(), err}
	}
	return repository.Blobs(context.WithoutCancel(ctx)), nil
}

// Size is the number of bytes in the session. Not every driver counts what it has not
// written out yet.
func (u *Upload) Size() int64 { return u.size }

// Append adds everything that the reader gives. It returns the reader's own error as
// it is and the storage's as *Error; what was read before stays in the session.
func (u *Upload) Append(body io.Reader) (int64, error) {
	source := &countingReader{reader: body, upload: u}
	n, err := u.writer.ReadFrom(source)
	u.size += n
	switch {
	case source.err != nil:
		return n, source.err
	case err != nil:
		return n, &Error{"write upload " + u.ID, err}
	}
	return n, nil
}

// countingReader keeps errors of the client apart from errors of the storage.
type countingReader struct {
	reader io.Reader
	upload *Upload
	err    error
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	if lost := c.upload.claim.check(); lost != nil {
		c.err = lost
		return 0, io.EOF
	}
	c.upload.active.size.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
		return n, io.EOF // so that what came is flushed
	}
	return n, err
}

// Commit verifies the digest and makes the blob readable in the repository. A content
// that does not match ends the session with ErrDigestMismatch.
func (u *Upload) Commit(ctx context.Context, want digest.Digest) (Info, error) {
	defer u.store.timed("BlobWriter.Commit")()
	defer u.release()
	ctx = context.WithoutCancel(ctx)
	if err := u.claim.check(); err != nil {
		_ = u.writer.Close()
		return Info{}, err
	}
	if err := u.makeRoom(ctx, want); err != nil {
		if errors.Is(err, ErrDigestMismatch) {
			u.cancel(ctx)
			return Info{}, err
		}
		_ = u.writer.Close()
		return Info{}, err
	}
	descriptor, err := u.writer.Commit(ctx, v1.Descriptor{Digest: want})
	var mismatch distribution.ErrBlobInvalidDigest
	switch {
	case err == nil && descriptor.Size != u.Size(), isGone(err):
		return Info{}, u.gone(ctx, err)
	case errors.As(err, &mismatch):
		u.cancel(ctx)
		return Info{}, u.mismatch()
	case err != nil:
		u.cancel(ctx)
		return Info{}, &Error{"commit upload " + u.ID, err}
	}
	committed, err := u.store.settle(ctx, Info{Digest: descriptor.Digest, Size: descriptor.Size})
	if err != nil {
		return Info{}, err
	}
	return committed, u.keepLinks(ctx, want, committed.Digest)
}

func isGone(err error) bool { return err != nil && (isNotFound(err) || isNotFound(Cause(err))) }

// gone is what became of an upload whose bytes were taken from under it, as old sessions are.
// The engine has not noticed if the same content was stored, and says then that it is empty.
func (u *Upload) gone(ctx context.Context, err error) error {
	u.cancel(ctx)
	if u.claim != nil {
		return fmt.Errorf("upload %s: its bytes are gone: %w", u.ID, ErrUploadUnknown)
	}
	if err == nil {
		err = errors.New("its bytes are gone, upload it again")
	}
	return &Error{"commit upload " + u.ID, err}
}

func (u *Upload) mismatch() error { return fmt.Errorf("upload %s: %w", u.ID, ErrDigestMismatch) }

func pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Cancel removes the session.
func (u *Upload) Cancel(ctx context.Context) error {
	defer u.store.timed("BlobWriter.Cancel")()
	defer u.release()
	ctx = context.WithoutCancel(ctx)
	if err := u.writer.Cancel(ctx); err != nil {
		// Somebody was faster, or the rest of the session is in the way.
		if err := u.store.removeSession(ctx, sessionPath(u.name, u.ID)); err != nil {
			return &Error{"cancel upload " + u.ID, err}
		}
	}
	return nil
}

// cancel removes what a failed commit leaves behind; the failure is reported already.
func (u *Upload) cancel(ctx context.Context) {
	_ = u.writer.Cancel(ctx)
	_ = u.store.removeSession(ctx, sessionPath(u.name, u.ID))
}

// Close keeps the session for a later request.
func (u *Upload) Close() error {
	defer u.release()
	if err := u.writer.Close(); err != nil {
		return &Error{"suspend upload " + u.ID, err}
	}
	return nil
}

// sessions holds which sessions have a writer in this process.
type sessions struct {
	mu     sync.Mutex
	active map[string]*activeSession
}

type activeSession struct{ size atomic.Int64 }

func newSessions() *sessions { return &sessions{active: map[string]*activeSession{}} }

// lock returns the entry of a session; ok is false when it is another's.
func (s *sessions) lock(id string) (entry *activeSession, release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if entry, busy := s.active[id]; busy {
		return entry, func() {}, false
	}
	entry = &activeSession{}
	s.active[id] = entry
	return entry, sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.active, id)
	}), true
}

// ActiveUploads is the number of sessions that are being written to.
func (s *Store) ActiveUploads() int {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return len(s.sessions.active)
}
