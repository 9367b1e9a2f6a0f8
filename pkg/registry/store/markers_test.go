package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// setTime gives a stored file a time.
func (f *fixture) setTime(t *testing.T, path string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(filepath.Join(f.directory, path), at, at); err != nil {
		t.Fatal(err)
	}
}

// Behaviour 85, and Behaviour pruner 47: old content is marked when it is relied upon, at most once in five minutes.
func TestRelyingMarks(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	rely := func() {
		t.Helper()
		if _, err := f.Rely(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	rely()
	if _, err := f.Touched(t.Context(), d); !errors.Is(err, ErrNotFound) {
		t.Errorf("young content was marked: %v", err)
	}
	f.advance(time.Hour)
	rely()
	marker := markerPath(touchedMarker, d)
	if _, err := f.Touched(t.Context(), d); err != nil {
		t.Fatalf("old content was not marked: %v", err)
	}
	if err := os.Remove(filepath.Join(f.directory, marker)); err != nil {
		t.Fatal(err)
	}
	f.advance(4 * time.Minute)
	rely()
	if _, err := f.Touched(t.Context(), d); !errors.Is(err, ErrNotFound) {
		t.Errorf("marked again after four minutes: %v", err)
	}
	f.advance(2 * time.Minute)
	rely()
	if _, err := f.Touched(t.Context(), d); err != nil {
		t.Errorf("not marked again after six minutes: %v", err)
	}
	// Another replica has marked meanwhile.
	f.touches = newTouches()
	at := f.clock().Add(-time.Minute)
	f.setTime(t, marker, at)
	rely()
	if touched, err := f.Touched(t.Context(), d); err != nil || !touched.Equal(at) {
		t.Errorf("marked at %s although another replica did at %s: %v", touched, at, err)
	}
	if _, err := f.Rely(t.Context(), digest.FromString("missing")); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing content: %v", err)
	}
}

func TestReadOnlyWritesNoMarkers(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	f.options.ReadOnly = true
	f.advance(time.Hour)
	if _, err := f.Rely(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Touched(t.Context(), d); !errors.Is(err, ErrNotFound) {
		t.Errorf("a marker was written: %v", err)
	}
}

// Behaviour 85: content that a living deleter has announced to take is absent.
func TestDeletingMarker(t *testing.T) {
	for _, test := range []struct {
		name          string
		marker, bytes time.Duration // ages
		absent        bool
	}{
		{"fresh", time.Minute, time.Hour, true},
		{"of a deleter that died", 11 * time.Minute, time.Hour, false},
		{"older than the bytes", 5 * time.Minute, time.Minute, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			d := f.upload(t, app, "layer")
			marker := markerPath(deletingMarker, d)
			f.write(t, marker, "")
			f.setTime(t, marker, f.clock().Add(-test.marker))
			f.setTime(t, blobPath(d), f.clock().Add(-test.bytes))
			_, err := f.Rely(t.Context(), d)
			if absent := errors.Is(err, ErrNotFound); absent != test.absent {
				t.Errorf("relying: %v, want absent %t", err, test.absent)
			}
			if _, err := f.Stat(t.Context(), d); err != nil {
				t.Errorf("the bytes are there: %v", err)
			}
		})
	}
}

// A deleter that died after the removal holds up who stores the same again for less than a push
// waits, also where the clock of the storage is wrong.
func TestADeleterThatDiedOnlyDelaysAPush(t *testing.T) {
	for name, behind := range map[string]time.Duration{"right": 0, "behind": 3 * time.Hour, "ahead": -3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, stepped{inmemory.New(), behind}, Options{})
				f := &fixture{Store: s}
				if err := s.put(t.Context(), markerPath(deletingMarker, digest.FromString("layer")), nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
				start := time.Now()
				d := f.upload(t, app, "layer")
				if took := time.Since(start); took < leftoverAge-time.Second || took >= deletionWait {
					t.Errorf("the push took %s", took)
				}
				if _, err := s.Rely(t.Context(), d); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An upload of content that is being deleted waits until it is gone and stores it again.
func TestUploadWaitsForADeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(t.Context(), inmemory.New(), Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{Store: s}
		d := f.upload(t, app, "layer")
		time.Sleep(time.Hour)
		if err := s.put(t.Context(), markerPath(deletingMarker, d), nil); err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(3 * time.Second)
			if err := errors.Join(s.remove(t.Context(), blobDirectory(d)), s.remove(t.Context(), markerPath(deletingMarker, d))); err != nil {
				t.Error(err)
			}
		}()
		start := time.Now()
		f.upload(t, app, "layer")
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the upload took %s, want to wait for the deletion", took)
		}
		if info, err := s.Stat(t.Context(), d); err != nil || info.ModTime.Before(start) {
			t.Errorf("stored %v, %v; want it stored again", info.ModTime, err)
		}
	})
}
