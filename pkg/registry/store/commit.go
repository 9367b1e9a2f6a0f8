package store

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	deletionWait = 30 * time.Second
	deletionPoll = 200 * time.Millisecond
)

// makeRoom deals with bytes that already have the digest. A file of another size may be
// the leftover of a crash, which the engine would trust. Bytes that a collector is about
// to take are waited for to go, so that they are stored again. The canonical digest of an
// upload under another algorithm is known only after hashing; settle looks then.
func (u *Upload) makeRoom(ctx context.Context, want digest.Digest) error {
	if want.Algorithm() != digest.SHA256 {
		return nil
	}
	deadline := u.store.options.Now().Add(deletionWait)
	for {
		existing, err := u.store.Stat(ctx, want)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if existing.Size != u.Size() {
			return u.displace(ctx, want)
		}
		if _, err = u.store.Rely(ctx, want); !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := u.store.awaitDeletion(ctx, want, deadline); err != nil {
			return err
		}
	}
}

// displace removes stored bytes that have another size than the upload, once the upload
// has proved to have the digest: no digest has contents of two sizes, so they are damaged.
// Whoever claims the digest of somebody's blob for other content harms nothing, and makes
// nothing be read but what he has sent.
func (u *Upload) displace(ctx context.Context, want digest.Digest) error {
	verified, known, err := u.verify(ctx, want)
	if err != nil {
		return err
	}
	if known && !verified {
		return u.mismatch()
	}
	if !known {
		return nil // the engine verifies, and settle compares the sizes
	}
	stored, err := u.store.Stat(ctx, want)
	if errors.Is(err, ErrNotFound) || err == nil && stored.Size == u.Size() {
		return nil // somebody else has replaced it meanwhile
	}
	if err != nil {
		return err
	}
	return u.store.remove(ctx, blobDirectory(want))
}

// verify reads the bytes of the session. Object stores do not show them before the commit,
// or show only the first of several small chunks; then nothing is known.
func (u *Upload) verify(ctx context.Context, want digest.Digest) (verified, known bool, err error) {
	if u.Size() == 0 {
		return want == digest.FromBytes(nil), true, nil
	}
	if err := u.writer.Close(); err != nil { // so that everything is in the file
		return false, false, &Error{"suspend upload " + u.ID, err}
	}
	path := repositoryPath(u.name, "_uploads", u.ID, "data")
	info, err := u.store.stat(ctx, path)
	switch {
	case err == nil && info.Size() == u.Size():
		verified, known, err = u.store.hasDigest(ctx, path, want)
	case errors.Is(err, ErrNotFound):
		err = nil
	}
	if err != nil {
		return false, false, err
	}
	resumed, err := u.store.resume(ctx, u.name, u.ID)
	if err != nil {
		return false, false, err
	}
	u.writer = resumed.writer
	return verified, known, nil
}

func (s *Store) hasDigest(ctx context.Context, path string, want digest.Digest) (verified, known bool, err error) {
	reader, err := s.driver.Reader(ctx, path, 0)
	if isNotFound(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, &Error{"open " + path, err}
	}
	defer reader.Close() //nolint:errcheck // everything was read
	verifier := want.Verifier()
	if _, err := io.Copy(verifier, reader); err != nil {
		return false, false, &Error{"read " + path, err}
	}
	return verifier.Verified(), true, nil
}

// settle looks at what is stored after a commit, before anybody is told that it is there.
// The bytes may be as old as the session's last chunk, and the engine drops an upload whose
// content it finds stored, damaged or about to be deleted. Bytes of another size than those
// that were verified are a leftover, which goes for the next attempt.
func (s *Store) settle(ctx context.Context, committed Info) (Info, error) {
	failed := func(reason string) error { return &Error{"commit " + committed.Digest.String(), errors.New(reason)} }
	deadline := s.options.Now().Add(deletionWait)
	for {
		stored, err := s.Rely(ctx, committed.Digest)
		switch {
		case err == nil && stored.Size == committed.Size:
			return committed, nil
		case err == nil:
			if err := s.remove(ctx, blobDirectory(committed.Digest)); err != nil {
				return Info{}, err
			}
			return Info{}, failed("a damaged copy was in the way and was removed, upload it again")
		case !errors.Is(err, ErrNotFound):
			return Info{}, err
		}
		if _, err := s.Stat(ctx, committed.Digest); errors.Is(err, ErrNotFound) {
			return Info{}, failed("it was deleted at the same time, upload it again")
		}
		if err := s.awaitDeletion(ctx, committed.Digest, deadline); err != nil {
			return Info{}, err
		}
	}
}

// awaitDeletion pauses while a collector takes bytes away.
func (s *Store) awaitDeletion(ctx context.Context, d digest.Digest, deadline time.Time) error {
	if !s.options.Now().Before(deadline) {
		return &Error{"commit " + d.String(), errors.New("the same content is being deleted")}
	}
	return pause(ctx, deletionPoll)
}

// keepLinks makes sure of the links that the commit has written.
func (u *Upload) keepLinks(ctx context.Context, want, canonical digest.Digest) error {
	links := []NewLink{{Set: Layers, Digest: canonical, Canonical: canonical}}
	if want != canonical {
		links = append(links, NewLink{Set: Layers, Digest: want, Canonical: canonical})
	}
	return u.store.secureLinks(ctx, u.name, links)
}
