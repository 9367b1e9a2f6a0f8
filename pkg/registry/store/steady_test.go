package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// refusal is how the driver of a file system passes on what the system said.
func refusal(code syscall.Errno) error {
	return driver.Error{DriverName: "filesystem", Detail: &os.PathError{Op: "unlinkat", Path: "/x", Err: code}}
}

// replica is another store in the directory of a fixture, above a driver that the test changes.
func (f *fixture) replica(t *testing.T, change func(driver.StorageDriver) driver.StorageDriver) *fixture {
	t.Helper()
	opened, err := OpenDriver(t.Context(), "filesystem", configuration.Parameters{"rootdirectory": f.directory}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), change(opened), Options{Now: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Store: s, directory: f.directory, now: f.now}
}

// The engine does not notice that the bytes of a session went while it was written if it finds
// the same content stored; it takes the upload for an empty one. What is stored belongs to
// others and stays.
func TestASessionThatVanishesTakesNothingWithIt(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	for _, known := range []bool{false, true} {
		upload, err := f.NewUpload(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if known {
			f.append(t, upload, "")
			upload = f.resumed(t, upload.ID)
		}
		if _, err := upload.Append(strings.NewReader("layer")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(f.directory, sessionPath(app, upload.ID))); err != nil {
			t.Fatal(err)
		}
		if _, err := upload.Commit(t.Context(), d); err == nil || errors.Is(err, ErrUploadUnknown) != known {
			t.Errorf("commit of a session that is gone: %v", err)
		}
		if info, err := f.Stat(t.Context(), d); err != nil || info.Size != 5 {
			t.Fatalf("the blob of others: %+v, %v", info, err)
		}
	}
}

// meeting is a driver whose operations meet those of others.
type meeting struct {
	driver.StorageDriver
	meet func(operation, path string) error
}

func (m *meeting) Move(ctx context.Context, from, to string) error {
	if err := m.meet("move", to); err != nil {
		return err
	}
	return m.StorageDriver.Move(ctx, from, to)
}

func (m *meeting) PutContent(ctx context.Context, path string, content []byte) error {
	if err := m.meet("put", path); err != nil {
		return err
	}
	return m.StorageDriver.PutContent(ctx, path, content)
}

func (m *meeting) Writer(ctx context.Context, path string, appending bool) (driver.FileWriter, error) {
	if err := m.meet("writer", path); err != nil {
		return nil, err
	}
	return m.StorageDriver.Writer(ctx, path, appending)
}

func (m *meeting) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := m.meet("stat", path); err != nil {
		return nil, err
	}
	return m.StorageDriver.Stat(ctx, path)
}

func (m *meeting) Delete(ctx context.Context, path string) error {
	if err := m.meet("delete", path); err != nil {
		return err
	}
	return m.StorageDriver.Delete(ctx, path)
}

// Every step of an upload meets a removal once, and the end of its session a writer that came
// too late every time. The client hears of nothing.
func TestAnUploadThatMeetsRemovals(t *testing.T) {
	for operation, code := range map[string]syscall.Errno{"put": syscall.ENOENT, "move": syscall.ENOENT, "writer": syscall.EEXIST, "stat": syscall.ESTALE} {
		t.Run(operation, func(t *testing.T) {
			f := newFixture(t)
			met := map[string]bool{}
			r := f.replica(t, func(d driver.StorageDriver) driver.StorageDriver {
				return &meeting{d, func(o, path string) error {
					if o == operation && !met[path] {
						met[path] = true
						return refusal(code)
					}
					if o == "delete" && strings.Contains(path, "/_uploads/") && !strings.HasSuffix(path, "/startedat") {
						return refusal(syscall.ENOTEMPTY)
					}
					return nil
				}}
			})
			d := r.upload(t, app, "layer")
			if len(met) == 0 {
				t.Error("nothing was met")
			}
			if canonical, err := f.Link(t.Context(), app, Layers, d); err != nil || canonical != d {
				t.Errorf("link: %s, %v", canonical, err)
			}
		})
	}
}

// What a full disk refuses is not tried again for the file that is missing after it.
func TestAFullDiskIsNoMissingDirectory(t *testing.T) {
	full := driver.Error{DriverName: "filesystem", Detail: errors.Join(&os.PathError{Op: "write", Err: syscall.ENOSPC}, driver.PathNotFoundError{Path: "/x.tmp"})}
	tries := 0
	s := newStore(t, &meeting{inmemory.New(), func(string, string) error { tries++; return full }}, Options{})
	err := s.PutLink(t.Context(), app, Layers, digest.FromString("x"), digest.FromString("x"))
	var storage *Error
	if !errors.As(err, &storage) || !storage.Full() || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

// Directories that are empty may go at any time, on another replica as well, and pushes of
// several replicas do not fail for it.
func TestPushesWhileEmptyDirectoriesGo(t *testing.T) {
	f := newFixture(t)
	other := f.replica(t, func(d driver.StorageDriver) driver.StorageDriver { return d })
	const pushes = 60
	contents := make([]string, pushes)
	removed := []string{repositoryPath(app), repositoryPath(app, "_uploads"), repositoryPath(app, "_layers/sha256"), repositoryPath(app, "_layers"), blobs + "/sha256"}
	for i := range contents {
		contents[i] = fmt.Sprint("layer ", i)
		d := digest.FromString(contents[i])
		removed = append(removed, blobDirectory(d), filepath.Dir(blobDirectory(d)), linkDirectory(app, Layers, d))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			for _, directory := range removed {
				if err := other.removeEmpty(t.Context(), directory); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	for i, content := range contents {
		replica := f
		if i%2 == 0 {
			replica = other
		}
		replica.upload(t, app, content)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, content := range contents {
		if _, err := f.Link(t.Context(), app, Layers, digest.FromString(content)); err != nil {
			t.Error(err)
		}
	}
}

// A push that begins in a repository while it is removed as abandoned goes on.
func TestAPushBeginsWhileItsRepositoryIsRemoved(t *testing.T) {
	f := newFixture(t)
	stale := f.started(t, "given up")
	d := f.upload(t, app, "layer")
	f.setTime(t, linkPath(app, Layers, d), f.clock().Add(-time.Hour))
	var upload *Upload
	r := f.replica(t, func(inner driver.StorageDriver) driver.StorageDriver {
		return &meeting{&directories{inner, f.directory}, func(operation, path string) error {
			if operation == "delete" && upload == nil && path == repositoryPath(app, "_layers") {
				var err error
				if upload, err = f.NewUpload(t.Context(), app); err != nil {
					return err
				}
			}
			return nil
		}}
	})
	for _, path := range []string{"startedat", "data", "hashstates/sha256/8", "hashstates/sha256", "hashstates", ""} {
		f.setTime(t, sessionPath(app, stale)+"/"+path, f.clock().Add(-time.Hour))
	}
	if err := r.Unlink(t.Context(), app, func(u *Unlinking) error { return u.RemoveRepository(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if f.exists(t, sessionPath(app, stale)+"/startedat") || f.exists(t, linkPath(app, Layers, d)) {
		t.Error("what was abandoned is left")
	}
	if upload == nil {
		t.Fatal("no push began")
	}
	if _, err := upload.Append(strings.NewReader("another")); err != nil {
		t.Fatal(err)
	}
	if err := upload.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.resumed(t, upload.ID).Commit(t.Context(), digest.FromString("another")); err != nil {
		t.Error(err)
	}
}

// An old session is not purged when somebody goes on with it in this moment.
func TestASessionThatIsUsedAgainIsNotRemoved(t *testing.T) {
	f := newFixture(t)
	id := f.started(t, "half")
	old, err := f.Session(t.Context(), sessionPath(app, id))
	if err != nil {
		t.Fatal(err)
	}
	writer := f.resumed(t, id)
	if err := f.RemoveSession(t.Context(), old); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("beside a writer: %v", err)
	}
	f.append(t, writer, " done")
	f.setTime(t, sessionPath(app, id)+"/data", old.LastUsed.Add(time.Second))
	if err := f.RemoveSession(t.Context(), old); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("after a writer: %v", err)
	}
	if _, err := f.resumed(t, id).Commit(t.Context(), digest.FromString("half done")); err != nil {
		t.Error(err)
	}
}

// A session ends with what makes it known, and what is left of one that ended badly goes.
func TestASessionEndsWithWhatMakesItKnown(t *testing.T) {
	f := newFixture(t)
	id := f.started(t, "half")
	var order []string
	r := f.replica(t, func(d driver.StorageDriver) driver.StorageDriver {
		return &meeting{d, func(operation, path string) error {
			if operation == "delete" && strings.HasPrefix(path, sessionPath(app, id)) {
				order = append(order, strings.TrimPrefix(path, sessionPath(app, id)))
			}
			return nil
		}}
	})
	if err := r.resumed(t, id).Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(order) < 2 || order[0] != "/startedat" || order[1] != "" {
		t.Errorf("removed %q", order)
	}
	f.write(t, sessionPath(app, id)+"/writers/late", "")
	left, err := f.Session(t.Context(), sessionPath(app, id))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveSession(t.Context(), left); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(f.directory, sessionPath(app, id))); !os.IsNotExist(err) {
		t.Errorf("what is left: %v", err)
	}
}

// A removal that the system refused cannot still happen, so nothing stays announced. One that
// had no answer can.
func TestOnlyWhatMayStillHappenStaysAnnounced(t *testing.T) {
	for code, stays := range map[syscall.Errno]bool{
		syscall.EACCES: false, syscall.EROFS: false, syscall.EDQUOT: false, syscall.ENOSPC: false, syscall.EPERM: false,
		syscall.EIO: true, syscall.ETIMEDOUT: true,
	} {
		t.Run(code.Error(), func(t *testing.T) {
			f := newFixture(t)
			d := f.upload(t, app, "layer")
			f.past(t, blobPath(d), old)
			f.hook(func(operation, path string) error {
				if operation == "delete" && (path == blobDirectory(d) || path == linkDirectory(app, Layers, d)) {
					return refusal(code)
				}
				return nil
			})
			var write *WriteError
			if got, err := f.DeleteBlob(t.Context(), d, time.Hour); !errors.As(err, &write) || got.Outcome != "" {
				t.Errorf("%+v, %v", got, err)
			}
			if f.exists(t, markerPath(deletingMarker, d)) != stays {
				t.Errorf("the announcement of the deletion stays: %t", !stays)
			}
			err := f.Unlink(t.Context(), app, func(u *Unlinking) error { return u.RemoveLink(t.Context(), Layers, d) })
			left, listErr := f.list(t.Context(), unlinkingMarkers)
			if !errors.As(err, &write) || listErr != nil || len(left) > 0 != stays {
				t.Errorf("%v; announcements of the unlinking: %q, %v", err, left, listErr)
			}
			if !f.exists(t, blobPath(d)) || !f.exists(t, linkPath(app, Layers, d)) {
				t.Error("something is gone")
			}
		})
	}
}

// An announcement that failed holds up nobody: neither one that is there although its writing
// failed, nor what was never put in place.
func TestAFailedAnnouncementHoldsUpNobody(t *testing.T) {
	f := newFixture(t)
	inner := f.driver
	f.hook(func(operation, path string) error {
		if operation == "put" && strings.HasPrefix(path, unlinkingMarkers) {
			if err := inner.PutContent(t.Context(), path, nil); err != nil {
				return err
			}
			return refusal(syscall.ENOSPC)
		}
		return nil
	})
	if err := f.Unlink(t.Context(), app, func(*Unlinking) error { return nil }); err == nil {
		t.Error("announced")
	}
	f.write(t, unlinkingPrefix(app)+"id.1.tmp", "")
	d := digest.FromString("x")
	start := time.Now()
	if waited, err := f.awaitUnlinking(t.Context(), app); waited || err != nil {
		t.Errorf("waited %t for %s, %v", waited, time.Since(start), err)
	}
	if err := f.WriteLinks(t.Context(), app, []NewLink{{Set: Layers, Digest: d, Canonical: d}}); err != nil {
		t.Error(err)
	}
}
