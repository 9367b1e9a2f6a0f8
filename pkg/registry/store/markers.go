package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	touchedMarker  = "touched"
	deletingMarker = "deleting"

	// touchAge is half of the smallest age at which a collector may take a blob.
	touchAge = 5 * time.Minute
	// deletingAge is how long the marker of a deleter that died is respected.
	deletingAge = 10 * time.Minute
	// leftoverAge is how long it is respected by who has newer bytes: longer than decisionAge
	// and the removal, shorter than deletionWait, so that a push after a crash only waits.
	leftoverAge = 25 * time.Second

	rememberedTouches = 16384

	// clockMarker is written to learn what time the storage has.
	clockMarker = markers + "/clock"
)

// Rely finds existing bytes that a push is about to depend on and keeps a collector
// away from them: it marks old bytes as touched, treats bytes that are being deleted
// as absent, and looks at the bytes last. Ages are those of the storage's times; a time
// in the future counts as young.
func (s *Store) Rely(ctx context.Context, canonical digest.Digest) (Info, error) {
	info, err := s.Stat(ctx, canonical)
	if err != nil {
		return Info{}, err
	}
	if err := s.touch(ctx, info); err != nil {
		return Info{}, err
	}
	deleting, err := s.beingDeleted(ctx, info)
	if err != nil {
		return Info{}, err
	}
	if deleting {
		s.touches.forget(canonical) // a deletion takes the marker with the bytes
		return Info{}, ErrNotFound
	}
	return s.Stat(ctx, canonical)
}

// Touched returns when a push relied on the bytes last, or ErrNotFound.
func (s *Store) Touched(ctx context.Context, canonical digest.Digest) (time.Time, error) {
	marker, err := s.stat(ctx, markerPath(touchedMarker, canonical))
	if err != nil {
		return time.Time{}, err
	}
	return marker.ModTime(), nil
}

func (s *Store) touch(ctx context.Context, info Info) error {
	now := s.options.Now()
	if s.options.ReadOnly || now.Sub(info.ModTime) < touchAge || s.touches.recent(info.Digest, now) {
		return nil
	}
	last, err := s.Touched(ctx, info.Digest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && now.Sub(last) < touchAge {
		return nil
	}
	if err := s.put(ctx, markerPath(touchedMarker, info.Digest), []byte(now.UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	s.touches.note(info.Digest, now)
	return nil
}

// beingDeleted tells whether a living deleter has announced to take these bytes. A marker that
// is older than the bytes was left by a crash, once it is older than any removal takes: of two
// deleters in the same moment one can have removed what was there before, and the other still
// be about to. One that looks expired, or is from the future, may be the work of a storage with a
// wrong clock, so that clock decides.
func (s *Store) beingDeleted(ctx context.Context, info Info) (bool, error) {
	marker, err := s.stat(ctx, markerPath(deletingMarker, info.Digest))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	respected := deletingAge
	leftover := marker.ModTime().Before(info.ModTime)
	if leftover {
		respected = leftoverAge
	}
	age := s.options.Now().Sub(marker.ModTime())
	if s.options.ReadOnly || age < respected && (age >= 0 || !leftover) {
		return age < respected, nil
	}
	now, err := s.storageNow(ctx)
	return err == nil && now.Sub(marker.ModTime()) < respected, err
}

// storageNow asks the storage for its time, by which markers are dated: a file server can be
// hours behind. It costs a write, so it is for those who met a marker.
func (s *Store) storageNow(ctx context.Context) (time.Time, error) {
	if err := s.put(ctx, clockMarker, []byte(s.options.Now().UTC().Format(time.RFC3339))); err != nil {
		return time.Time{}, err
	}
	info, err := s.stat(ctx, clockMarker)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// touches remembers the markers that this process wrote, to save reading them.
type touches struct {
	mu    sync.Mutex
	times map[digest.Digest]time.Time
}

func newTouches() *touches { return &touches{times: map[digest.Digest]time.Time{}} }

func (t *touches) recent(d digest.Digest, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, ok := t.times[d]
	return ok && now.Sub(last) < touchAge
}

func (t *touches) forget(d digest.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.times, d)
}

func (t *touches) note(d digest.Digest, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.times) >= rememberedTouches {
		clear(t.times)
	}
	t.times[d] = now
}
