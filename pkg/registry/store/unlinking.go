package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
)

const (
	// unlinkingMarkers is flat: it holds one file for each removal that is under way.
	unlinkingMarkers = markers + "/unlinking"

	// unlinkingRenewal is how often a removal says that it goes on, unlinkingLost after which
	// silence of the storage it removes nothing more, unlinkingAge when pushes take it for
	// dead, and unlinkingWait how long they wait for it.
	unlinkingRenewal = 15 * time.Second
	unlinkingLost    = 45 * time.Second
	unlinkingAge     = 2 * time.Minute
	unlinkingWait    = 30 * time.Second
	unlinkingPoll    = 200 * time.Millisecond
)

// Unlinking is the announcement of one process that removes links of one repository. No
// storage can look at the age of a link and remove it in one step, so a push may write an
// old link again in between. The removal is announced before it looks at the age; a push
// looks for announcements after it wrote, and then whether the links are still there
// (WriteLinks): one of them sees the other. Each removal has a marker of its own, so that none
// can take away that of another. It is not for concurrent use.
type Unlinking struct {
	store     *Store
	name      route.Name
	marker    string
	announced time.Time
	renewed   atomic.Int64 // on the clock of the process
	failed    bool
}

// Unlink announces that links of a repository will be removed, and lets work remove them. A
// removal that failed stays announced for two minutes, because it may still happen.
func (s *Store) Unlink(ctx context.Context, name route.Name, work func(*Unlinking) error) error {
	u := &Unlinking{store: s, name: name, marker: unlinkingPrefix(name) + deleterID()}
	if err := u.announce(ctx); err != nil {
		return &WriteError{also(err, u.withdraw(ctx))} // it may be there all the same
	}
	marker, err := s.stat(ctx, u.marker)
	if err != nil {
		return also(err, u.withdraw(ctx))
	}
	// The storage's own clock dates links. The earlier of both makes everything look younger.
	if u.announced = marker.ModTime(); s.options.Now().Before(u.announced) {
		u.announced = s.options.Now()
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		u.keep(renewing)
	}()
	err = work(u)
	stop()
	<-stopped
	if !u.failed {
		err = also(err, u.withdraw(ctx))
	}
	if s.options.OnUnlink != nil {
		s.options.OnUnlink(name)
	}
	return err
}

func unlinkingPrefix(name route.Name) string {
	sum := sha256.Sum256([]byte(name.String()))
	return unlinkingMarkers + "/" + hex.EncodeToString(sum[:16]) + "-"
}

func (u *Unlinking) announce(ctx context.Context) error { return u.write(ctx, u.store.put) }

// renew writes the marker in place: no listing may miss it at this moment.
func (u *Unlinking) renew(ctx context.Context) error { return u.write(ctx, u.store.sign) }

func (u *Unlinking) write(ctx context.Context, write func(ctx context.Context, path string, content []byte) error) error {
	start := time.Now()
	if err := write(ctx, u.marker, []byte(u.name.String())); err != nil {
		return err
	}
	u.renewed.Store(start.UnixNano())
	return nil
}

func (u *Unlinking) keep(ctx context.Context) {
	ticker := time.NewTicker(unlinkingRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = u.renew(ctx) // remove notices when it fails for long
		}
	}
}

func (u *Unlinking) withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	if err := u.store.remove(ctx, u.marker); err != nil {
		return &WriteError{err}
	}
	return nil
}

// Age is how old something was when the removal was announced. What was written later, or
// at a time in the future, has a negative age.
func (u *Unlinking) Age(at time.Time) time.Duration { return u.announced.Sub(at) }

// LinkAge is the Age of a link, or ErrNotFound.
func (u *Unlinking) LinkAge(ctx context.Context, set Links, d digest.Digest) (time.Duration, error) {
	at, err := u.store.LinkTime(ctx, u.name, set, d)
	return u.Age(at), err
}

// RemoveLink removes a link and its directory. The error is a *WriteError.
func (u *Unlinking) RemoveLink(ctx context.Context, set Links, d digest.Digest) error {
	return u.removePath(ctx, linkDirectory(u.name, set, d))
}

// TidyLink removes the directory of a link that has none, once it is older than minAge.
func (u *Unlinking) TidyLink(ctx context.Context, set Links, d digest.Digest, minAge time.Duration) error {
	return u.store.TidyDirectory(ctx, linkDirectory(u.name, set, d), minAge)
}

// RemoveReferrer removes the link of a manifest to its subject, and what held nothing else. The
// error is a *WriteError.
func (u *Unlinking) RemoveReferrer(ctx context.Context, subject, referrer digest.Digest) error {
	directory := referrerDirectory(u.name, subject, referrer)
	if err := u.removePath(ctx, directory); err != nil || u.store.directories == nil {
		return err
	}
	for range 2 { // of the algorithm, and of the subject
		directory = path.Dir(directory)
		if err := u.store.removeEmpty(ctx, directory); err != nil {
			return &WriteError{err}
		}
	}
	return nil
}

// RemoveRepository removes the whole repository, like Store.RemoveRepository. An error that is
// no *WriteError is one of reading.
func (u *Unlinking) RemoveRepository(ctx context.Context) error {
	began := func(s Session) bool { return u.Age(s.LastUsed) < MinimumAge }
	return u.remove(ctx, func(ctx context.Context) error {
		return u.store.removeRepository(ctx, Repository(u.name.String()), began)
	})
}

// remove removes something unless pushes may have begun to take this removal for dead.
// Nothing that was begun is left half done because somebody went away. What the storage has
// refused for good cannot still happen later, so the announcement need not outlast it.
func (u *Unlinking) remove(ctx context.Context, do func(context.Context) error) error {
	if time.Now().UnixNano()-u.renewed.Load() >= int64(unlinkingLost) {
		return &WriteError{&Error{"unlink in " + u.name.String(), errors.New("the storage took no sign of life, a push may rely on links")}}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	err := do(ctx)
	var write *WriteError
	u.failed = u.failed || errors.As(err, &write) && !isDefinite(err)
	return err
}

// removePath returns a *WriteError when it fails. A link that a push writes again at this
// moment is no failure: the old one went, and what there is now is of the push.
func (u *Unlinking) removePath(ctx context.Context, path string) error {
	return u.remove(ctx, func(ctx context.Context) error {
		if err := u.store.remove(ctx, path); err != nil && !isWrittenAgain(err) {
			return &WriteError{err}
		}
		return nil
	})
}

// awaitUnlinking waits until the removals that are under way in a repository have ended, and
// tells whether there were any.
func (s *Store) awaitUnlinking(ctx context.Context, name route.Name) (bool, error) {
	entries, err := s.list(ctx, unlinkingMarkers)
	if err != nil {
		return false, err
	}
	var seen []string
	for _, entry := range entries {
		// What is not yet in place announces nothing, and nobody may ever put it there.
		if strings.HasPrefix(unlinkingMarkers+"/"+path.Base(entry), unlinkingPrefix(name)) && !strings.HasSuffix(entry, unfinished) {
			seen = append(seen, entry)
		}
	}
	if len(seen) == 0 {
		return false, nil
	}
	now, err := s.storageNow(ctx)
	if err != nil {
		return false, err
	}
	start := time.Now()
	for {
		passed := time.Since(start)
		if seen, err = s.unlinkingAlive(ctx, seen, now.Add(passed)); err != nil || len(seen) == 0 {
			return true, err
		}
		if passed >= unlinkingWait {
			return false, &Error{"link in " + name.String(), errors.New("links of the repository are being removed, try again")}
		}
		if err := pause(ctx, unlinkingPoll); err != nil {
			return false, err
		}
	}
}

// unlinkingAlive returns the removals that still go on. Markers of dead ones go.
func (s *Store) unlinkingAlive(ctx context.Context, seen []string, now time.Time) ([]string, error) {
	var alive []string
	for _, marker := range seen {
		info, err := s.stat(ctx, marker)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return nil, err
		case now.Sub(info.ModTime()) < unlinkingAge:
			alive = append(alive, marker)
		default:
			if err := s.remove(ctx, marker); err != nil {
				return nil, fmt.Errorf("marker of a process that died: %w", err)
			}
		}
	}
	return alive, nil
}
