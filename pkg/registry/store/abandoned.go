package store

import (
	"context"
	"errors"
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

// RemoveSession removes a session that Sessions found.
func (s *Store) RemoveSession(ctx context.Context, session Session) error {
	return s.remove(ctx, session.Path)
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
