package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// old is older than every age in these tests.
const old = 48 * time.Hour

// past gives stored content and its markers an age by the storage's own clock.
func (f *fixture) past(t *testing.T, path string, age time.Duration) {
	t.Helper()
	f.setTime(t, path, time.Now().Add(-age))
}

func (f *fixture) exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(f.directory, path))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

// Behaviour 52, and Behaviour pruner 47: what was written or relied upon within the minimum age stays.
func TestDeleteBlob(t *testing.T) {
	for _, test := range []struct {
		name string
		// ages; 0 for no marker
		data, touched, deleting time.Duration
		minAge                  time.Duration
		outcome                 Outcome
		reason                  Reason
	}{
		{"old", old, 0, 0, 24 * time.Hour, Deleted, ""},
		{"young", time.Hour, 0, 0, 24 * time.Hour, Refused, ReasonYoung},
		{"young enough to be forced", time.Hour, 0, 0, MinimumAge, Deleted, ""},
		{"too young to be forced", 9 * time.Minute, 0, 0, MinimumAge, Refused, ReasonYoung},
		{"dated in the future", -time.Hour, 0, 0, MinimumAge, Refused, ReasonYoung},
		{"of any age", time.Second, 0, 0, 0, Deleted, ""},
		{"touched", old, time.Hour, 0, 24 * time.Hour, Refused, ReasonTouched},
		{"touched long ago", old, 47 * time.Hour, 0, 24 * time.Hour, Deleted, ""},
		{"touched in the future", old, -time.Hour, 0, MinimumAge, Refused, ReasonTouched},
		{"being deleted", old, 0, time.Minute, 24 * time.Hour, Refused, ReasonBusy},
		{"left by a crash", old, 0, 11 * time.Minute, 24 * time.Hour, Deleted, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.mu.Lock()
			f.now = time.Now().Add(time.Minute)
			f.mu.Unlock()
			d := f.upload(t, app, "layer")
			f.past(t, blobPath(d), test.data)
			for kind, age := range map[string]time.Duration{touchedMarker: test.touched, deletingMarker: test.deleting} {
				if age != 0 {
					f.write(t, markerPath(kind, d), "somebody")
					f.past(t, markerPath(kind, d), age)
				}
			}
			var dropped []digest.Digest
			var heard []Deletion
			f.options.OnDelete = func(d digest.Digest) { dropped = append(dropped, d) }
			f.options.OnDeletion = func(deletion Deletion) { heard = append(heard, deletion) }
			got, err := f.DeleteBlob(t.Context(), d, test.minAge)
			if err != nil || got.Outcome != test.outcome || got.Reason != test.reason || got.Digest != d {
				t.Fatalf("%+v, %v; want %s %s", got, err, test.outcome, test.reason)
			}
			gone := test.outcome == Deleted
			if f.exists(t, blobDirectory(d)) == gone || len(dropped) == 1 != gone || gone && got.FreedBytes != 5 {
				t.Errorf("bytes are gone: %t, caches told: %v, freed %d", !f.exists(t, blobDirectory(d)), dropped, got.FreedBytes)
			}
			if len(heard) != 1 || heard[0] != got {
				t.Errorf("heard %v", heard)
			}
			if f.exists(t, markerPath(deletingMarker, d)) != (test.reason == ReasonBusy) {
				t.Error("only the announcement of somebody else may stay")
			}
			if f.exists(t, markerPath(touchedMarker, d)) != (test.touched != 0 && !gone) {
				t.Error("the touched marker must share the fate of the bytes")
			}
		})
	}
}

// Behaviour 52: deleting again finds nothing and leaves nothing, constants always stay.
func TestDeleteWhatIsNotThere(t *testing.T) {
	f := newFixture(t)
	d := digest.FromString("missing")
	f.write(t, markerPath(touchedMarker, d), "")
	for range 2 {
		if got, err := f.DeleteBlob(t.Context(), d, time.Hour); err != nil || got.Outcome != Absent {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if f.exists(t, markerPath(touchedMarker, d)) || f.exists(t, markerPath(deletingMarker, d)) {
		t.Error("a marker is left")
	}
	for _, constant := range Constants() {
		if got, err := f.DeleteBlob(t.Context(), constant, 0); err != nil || got.Outcome != Refused || got.Reason != ReasonConstant {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if empty := digest.FromString(""); Constants()[0] != empty || Constants()[2] != digest.FromString("{}") {
		t.Error("the constants are not what they are said to be")
	}
}

// hooked is a driver whose calls a test can change.
type hooked struct {
	driver.StorageDriver
	before func(operation, path string) error
}

func (h *hooked) Delete(ctx context.Context, path string) error {
	if err := h.before("delete", path); err != nil {
		return err
	}
	return h.StorageDriver.Delete(ctx, path)
}

func (h *hooked) PutContent(ctx context.Context, path string, content []byte) error {
	if err := h.before("put", path); err != nil {
		return err
	}
	return h.StorageDriver.PutContent(ctx, path, content)
}

func (h *hooked) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := h.before("stat", path); err != nil {
		return nil, err
	}
	return h.StorageDriver.Stat(ctx, path)
}

func (f *fixture) hook(before func(operation, path string) error) {
	f.driver = &hooked{StorageDriver: f.driver, before: before}
}

// A removal that fails may still happen, so pushes must not rely on the bytes for a while.
func TestFailedRemovalStaysAnnounced(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	f.past(t, blobPath(d), old)
	full := errors.New("broken")
	f.hook(func(operation, path string) error {
		if operation == "delete" && path == blobDirectory(d) {
			return full
		}
		return nil
	})
	var write *WriteError
	if got, err := f.DeleteBlob(t.Context(), d, time.Hour); !errors.As(err, &write) || !errors.Is(err, full) || got.Outcome != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if !f.exists(t, blobPath(d)) || !f.exists(t, markerPath(deletingMarker, d)) {
		t.Error("the bytes or the announcement are gone")
	}
}

// A file system cannot remove a directory into which something was put meanwhile: bytes of a
// push stay, and where it is only what a reader still holds, the bytes are gone. Neither may
// still happen later, so nothing stays announced.
func TestRemovalOfADirectoryThatIsInUse(t *testing.T) {
	for name, test := range map[string]struct {
		gone bool
		want Deletion
	}{
		"pushed again": {false, Deletion{Outcome: Refused, Reason: ReasonYoung}},
		"being read":   {true, Deletion{Outcome: Deleted, FreedBytes: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			d := f.upload(t, app, "layer")
			f.past(t, blobPath(d), old)
			inner := f.driver
			f.hook(func(operation, path string) error {
				if operation != "delete" || path != blobDirectory(d) {
					return nil
				}
				if test.gone {
					if err := inner.Delete(t.Context(), blobPath(d)); err != nil {
						return err
					}
				}
				return driver.Error{DriverName: "filesystem", Detail: &os.PathError{Op: "unlinkat", Path: path, Err: syscall.ENOTEMPTY}}
			})
			test.want.Digest = d
			if got, err := f.DeleteBlob(t.Context(), d, time.Hour); err != nil || got != test.want {
				t.Errorf("%+v, %v", got, err)
			}
			if f.exists(t, markerPath(deletingMarker, d)) {
				t.Error("the announcement stays")
			}
		})
	}
}

// A look that is older than five seconds is repeated, and a storage that never is fast
// enough loses nothing.
func TestSlowStorageIsLookedAtAgain(t *testing.T) {
	for _, slow := range []int{1, 100} {
		f := newFixture(t)
		d := f.upload(t, app, "layer")
		f.past(t, blobPath(d), old)
		looks := 0
		f.hook(func(operation, path string) error {
			if operation == "stat" && path == blobPath(d) {
				if looks++; looks <= slow {
					f.advance(6 * time.Second)
				}
			}
			return nil
		})
		got, err := f.DeleteBlob(t.Context(), d, time.Hour)
		if want := map[int]Outcome{1: Deleted, 100: Refused}[slow]; err != nil || got.Outcome != want {
			t.Errorf("%d slow looks: %+v, %v; want %s", slow, got, err, want)
		}
		if want := map[int]int{1: 2, 100: decisions}[slow]; looks != want {
			t.Errorf("looked %d times, want %d", looks, want)
		}
		if f.exists(t, markerPath(deletingMarker, d)) {
			t.Error("the announcement stayed")
		}
	}
}

// An error of reading deletes nothing.
func TestReadErrorsDeleteNothing(t *testing.T) {
	for _, unreadable := range []func(digest.Digest) string{
		blobPath,
		func(d digest.Digest) string { return markerPath(touchedMarker, d) },
		func(d digest.Digest) string { return markerPath(deletingMarker, d) },
	} {
		f := newFixture(t)
		d := f.upload(t, app, "layer")
		f.past(t, blobPath(d), old)
		broken := errors.New("broken")
		f.hook(func(operation, path string) error {
			if operation == "stat" && path == unreadable(d) {
				return broken
			}
			return nil
		})
		var write *WriteError
		_, err := f.DeleteBlob(t.Context(), d, time.Hour)
		if !errors.Is(err, broken) && Cause(err) != broken || errors.As(err, &write) {
			t.Errorf("%s: %v", unreadable(d), err)
		}
		if !f.exists(t, blobPath(d)) {
			t.Errorf("%s: the bytes are gone", unreadable(d))
		}
	}
}

// Markers that have lost their meaning go, those that protect something stay.
func TestTidyMarkers(t *testing.T) {
	f := newFixture(t)
	f.mu.Lock()
	f.now = time.Now().Add(time.Minute)
	f.mu.Unlock()
	mark := func(kind, content string, age time.Duration) digest.Digest {
		d := digest.FromString(content)
		f.write(t, markerPath(kind, d), "")
		f.past(t, markerPath(kind, d), age)
		return d
	}
	staleTouch, freshTouch := mark(touchedMarker, "a", old), mark(touchedMarker, "b", time.Hour)
	staleDeletion, freshDeletion := mark(deletingMarker, "c", time.Hour), mark(deletingMarker, "d", time.Minute)
	var walked []digest.Digest
	err := f.WalkMarkers(t.Context(), 24*time.Hour, func(d digest.Digest) error { walked = append(walked, d); return nil })
	if err != nil || len(walked) != 2 {
		t.Fatalf("found %v, %v; want the two stale ones", walked, err)
	}
	for _, d := range []digest.Digest{staleTouch, freshTouch, staleDeletion, freshDeletion} {
		if err := f.TidyMarkers(t.Context(), d, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{
		markerPath(touchedMarker, staleTouch): false, markerPath(touchedMarker, freshTouch): true,
		markerPath(deletingMarker, staleDeletion): false, markerPath(deletingMarker, freshDeletion): true,
	} {
		if f.exists(t, path) != want {
			t.Errorf("%s exists: %t, want %t", path, !want, want)
		}
	}
}
