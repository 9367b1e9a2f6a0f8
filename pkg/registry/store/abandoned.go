package store

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/google/uuid"
)

// purgeMarker notes when upload sessions were purged last.
const purgeMarker = markers + "/purge"

// Session is an upload that somebody began.
type Session struct {
	// Path is the directory of the session, which ends with its id.
	Path string
	// LastUsed is when somebody wrote to it last.
	LastUsed time.Time
}

// Sessions finds the uploads in all repositories and gives them to visit, whose error
// ends the search. A directory is read completely before its entries are visited, so
// they may be removed.
func (s *Store) Sessions(ctx context.Context, visit func(Session) error) error {
	return Inventory{Store: s}.walk(ctx, "", maxDepth, func(_ Repository, own []string) error {
		for _, directory := range own {
			if path.Base(directory) == "_uploads" {
				return s.sessionsOf(ctx, directory, visit)
			}
		}
		return nil
	})
}

func (s *Store) sessionsOf(ctx context.Context, uploads string, visit func(Session) error) error {
	entries, err := s.list(ctx, uploads)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if uuid.Validate(path.Base(entry)) != nil {
			continue // nobody knows what that is
		}
		session, err := s.Session(ctx, entry)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := visit(session); err != nil {
			return err
		}
	}
	return nil
}

// Session reads one session anew by its path, or fails with ErrNotFound.
func (s *Store) Session(ctx context.Context, directory string) (Session, error) {
	session := Session{Path: directory}
	err := s.lastUsed(ctx, directory, &session.LastUsed, 4)
	if err == nil && session.LastUsed.IsZero() {
		err = ErrNotFound
	}
	return session, err
}

// lastUsed finds the youngest time of the files below a path; what vanishes meanwhile
// has none. Not every storage shows the bytes of an upload, but all show that a writer
// announced itself.
func (s *Store) lastUsed(ctx context.Context, path string, youngest *time.Time, depth int) error {
	info, err := s.driver.Stat(ctx, path)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return &Error{"stat " + path, err}
	}
	// Directories of an object store have no time of their own.
	if info.ModTime().After(*youngest) {
		*youngest = info.ModTime()
	}
	if !info.IsDir() || depth == 0 {
		return nil
	}
	entries, err := s.list(ctx, path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := s.lastUsed(ctx, entry, youngest, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// RemoveSession removes a session that Sessions or Session found, unless somebody writes to it
// or has written to it since: then it fails with ErrUploadBusy.
func (s *Store) RemoveSession(ctx context.Context, session Session) error {
	claim, err := s.claim(ctx, session.Path)
	var storage *Error
	if errors.Is(err, ErrUploadUnknown) || errors.As(err, &storage) && storage.Full() {
		// Nobody can go on with what is left, or write more.
		return s.removeSession(ctx, session.Path)
	}
	if err != nil {
		return err
	}
	if err := s.unused(ctx, session); err != nil {
		claim.end(ctx)
		return err
	}
	claim.rest() // otherwise it could say once more that it is alive
	return s.removeSession(ctx, session.Path)
}

// unused fails with ErrUploadBusy if somebody has written to a session since it was read.
func (s *Store) unused(ctx context.Context, session Session) error {
	var written time.Time
	for _, name := range []string{"startedat", "data", "hashstates"} {
		if err := s.lastUsed(ctx, session.Path+"/"+name, &written, 3); err != nil {
			return err
		}
	}
	if written.After(session.LastUsed) {
		return fmt.Errorf("%s: %w", session.Path, ErrUploadBusy)
	}
	return nil
}

// removeSession removes a session, in the order in which the engine does.
func (s *Store) removeSession(ctx context.Context, session string) error {
	if err := (&thrifty{StorageDriver: s.driver}).Delete(ctx, session); err != nil && !isNotFound(err) {
		return &Error{"delete " + session, err}
	}
	return nil
}

// LastPurge is when NotePurge was called last on any replica, or ErrNotFound.
func (s *Store) LastPurge(ctx context.Context) (time.Time, error) {
	info, err := s.stat(ctx, purgeMarker)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// NotePurge notes that sessions have been purged.
func (s *Store) NotePurge(ctx context.Context) error {
	return s.put(ctx, purgeMarker, []byte(s.options.Now().UTC().Format(time.RFC3339)))
}
