package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// relinking is a storage with an old link that a push writes again while somebody removes
// what is old.
type relinking struct {
	*Store
	manifest digest.Digest
	refused  int
}

func newRelinking(t *testing.T, leftover, behind time.Duration) *relinking {
	t.Helper()
	s, err := New(t.Context(), stepped{inmemory.New(), behind}, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r := &relinking{Store: s, manifest: digest.FromString("a manifest")}
	if err := s.PutLink(t.Context(), app, Revisions, r.manifest, r.manifest); err != nil {
		t.Fatal(err)
	}
	time.Sleep(old - leftover)
	if leftover > 0 {
		if err := s.put(t.Context(), unlinkingPrefix(app)+"dead", nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leftover)
	}
	return r
}

func (r *relinking) links() []NewLink {
	return []NewLink{{Set: Revisions, Digest: r.manifest, Canonical: r.manifest}}
}

// push is acknowledged when it set the flag.
func (r *relinking) push(acknowledged *bool) *actor {
	return &actor{name: "push", run: func(ctx context.Context) {
		if err := r.WriteLinks(ctx, app, r.links()); err == nil {
			*acknowledged = true
		} else {
			r.refused++
		}
	}}
}

func (r *relinking) unlink() *actor {
	return &actor{name: "unlink", run: func(ctx context.Context) {
		_ = r.Unlink(ctx, app, func(u *Unlinking) error {
			age, err := u.LinkAge(ctx, Revisions, r.manifest)
			if err != nil || age < MinimumAge {
				return err
			}
			return u.RemoveLink(ctx, Revisions, r.manifest)
		})
	}}
}

func (r *relinking) linked() bool {
	_, err := r.Link(context.Background(), app, Revisions, r.manifest)
	return err == nil
}

// Behaviour 85: no interleaving of a push that writes an old link again and of a removal of
// old links ends with an acknowledged push without its link.
func TestEveryInterleavingOfLinkAndUnlink(t *testing.T) {
	for name, test := range map[string]struct{ leftover, behind time.Duration }{
		"clean": {}, "after a crash": {leftover: 3 * time.Minute},
		"clock behind": {behind: 3 * time.Hour}, "clock ahead": {behind: -3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			repaired := 0
			schedules := exhaust(t, func(choose func(n int) int) (err error) {
				synctest.Test(t, func(t *testing.T) {
					r := newRelinking(t, test.leftover, test.behind)
					start := time.Now()
					var acknowledged bool
					schedule([]*actor{r.push(&acknowledged), r.unlink()}, choose)
					if time.Since(start) > unlinkingPoll/2 {
						repaired++
					}
					switch {
					case acknowledged && !r.linked():
						err = errors.New("a push was acknowledged whose link is gone")
					case !acknowledged:
						err = errors.New("the push was refused")
					}
				})
				return err
			})
			t.Logf("%d schedules, in %d the push waited", schedules, repaired)
			if repaired == 0 || repaired == schedules {
				t.Errorf("the push waited in %d of %d schedules: they show nothing", repaired, schedules)
			}
		})
	}
}

// Behaviour 85: neither do two pushes beside two removals.
func TestInterleavingsOfLinksAndUnlinks(t *testing.T) {
	const schedules = 1500
	refused := 0
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 85))
			r := newRelinking(t, 0, 0)
			last, stay := 0, random.IntN(4)
			acknowledged := make([]bool, 2)
			actors := []*actor{r.push(&acknowledged[0]), r.unlink(), r.unlink(), r.push(&acknowledged[1])}
			schedule(actors, func(n int) int {
				if random.IntN(4) >= stay {
					last = random.IntN(n)
				}
				return min(last, n-1)
			})
			if slices.Contains(acknowledged, true) && !r.linked() {
				t.Fatalf("seed %d: a push was acknowledged whose link is gone", seed)
			}
			refused += r.refused
		})
	}
	if refused > 0 {
		t.Errorf("%d pushes were refused", refused)
	}
}

// A removal that died holds up pushes for two minutes at most, and its marker goes.
func TestDeadUnlinking(t *testing.T) {
	for age, want := range map[time.Duration]bool{time.Minute: false, 100 * time.Second: true, 3 * time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRelinking(t, age, 0)
			start := time.Now()
			err := r.WriteLinks(t.Context(), app, r.links())
			if (err == nil) != want || time.Since(start) > unlinkingWait+time.Second {
				t.Errorf("marker of %s: %v after %s", age, err, time.Since(start))
			}
			if left, _ := r.list(t.Context(), unlinkingMarkers); (len(left) == 0) != want {
				t.Errorf("marker of %s: %v", age, left)
			}
			other := route.Name{Namespace: "team", Stream: "other"}
			start = time.Now()
			err = r.WriteLinks(t.Context(), other, r.links())
			if err != nil || time.Since(start) > 0 {
				t.Errorf("another repository: %v after %s", err, time.Since(start))
			}
		})
	}
}

// A removal that could not say for long that it goes on removes nothing more, and one that
// failed stays announced.
func TestUnlinkingThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRelinking(t, 0, 0)
		broken := errors.New("broken")
		failing := ""
		r.driver = &hooked{StorageDriver: r.driver, before: func(operation, path string) error {
			if operation == failing && (operation == "put" || !strings.HasPrefix(path, unlinkingMarkers)) {
				return broken
			}
			return nil
		}}
		var write *WriteError
		err := r.Unlink(t.Context(), app, func(u *Unlinking) error {
			time.Sleep(time.Minute) // renewed meanwhile
			failing = "put"
			time.Sleep(time.Minute)
			return u.RemoveLink(t.Context(), Revisions, r.manifest)
		})
		if !errors.As(err, &write) || !r.linked() {
			t.Errorf("lost: %v, linked: %t", err, r.linked())
		}
		failing = "delete"
		err = r.Unlink(t.Context(), app, func(u *Unlinking) error { return u.RemoveLink(t.Context(), Revisions, r.manifest) })
		if !errors.As(err, &write) || !errors.Is(err, broken) {
			t.Errorf("failed removal: %v", err)
		}
		failing = ""
		if left, _ := r.list(t.Context(), unlinkingMarkers); len(left) != 1 {
			t.Errorf("announcements after a failed removal: %v", left)
		}
	})
}

// An upload whose layer link is old, and is being removed, has its link when it is
// acknowledged; and the caches hear of removed links.
func TestUploadWhileItsLinkIsRemoved(t *testing.T) {
	f := newFixture(t)
	d := f.upload(t, app, "layer")
	f.past(t, linkPath(app, Layers, d), old)
	var heard []route.Name
	f.options.OnUnlink = func(name route.Name) { heard = append(heard, name) }
	done := make(chan error)
	err := f.Unlink(t.Context(), app, func(u *Unlinking) error {
		age, err := u.LinkAge(t.Context(), Layers, d)
		if err != nil || age < MinimumAge {
			return fmt.Errorf("age %s, %w", age, err)
		}
		session, err := f.NewUpload(t.Context(), app)
		if err != nil {
			return err
		}
		if _, err := session.Append(strings.NewReader("layer")); err != nil {
			return err
		}
		go func() {
			_, err := session.Commit(context.Background(), d)
			done <- err
		}()
		for { // until the link was written again
			if age, err := u.LinkAge(t.Context(), Layers, d); err != nil || age < MinimumAge {
				break
			}
		}
		return u.RemoveLink(t.Context(), Layers, d)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := f.Link(t.Context(), app, Layers, d); err != nil {
		t.Errorf("after the upload: %v", err)
	}
	if len(heard) != 1 || heard[0] != app {
		t.Errorf("heard %v", heard)
	}
}

// On a file system a push can write a link while its directory is being removed. Neither of
// them fails, and no announcement holds up the pushes that come later.
func TestLinksWrittenWhileTheirDirectoriesAreRemoved(t *testing.T) {
	s := newStore(t, filesystem.New(filesystem.DriverParameters{RootDirectory: t.TempDir(), MaxThreads: 100}), Options{})
	manifest := digest.FromString("a manifest")
	done := make(chan error, 1)
	go func() {
		for range 300 {
			err := s.Unlink(t.Context(), app, func(u *Unlinking) error {
				for range 20 {
					_, err := u.LinkAge(t.Context(), Revisions, manifest)
					if err == nil {
						err = u.RemoveLink(t.Context(), Revisions, manifest)
					}
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
				}
				return nil
			})
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	pushes := 0
	for removing := true; removing; pushes++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("removal: %v", err)
			}
			removing = false
		default:
		}
		if err := s.putLinks(t.Context(), app, []NewLink{{Set: Revisions, Digest: manifest, Canonical: manifest}}); err != nil {
			t.Fatalf("push %d: %v", pushes, err)
		}
	}
	if left, err := s.list(t.Context(), unlinkingMarkers); err != nil || len(left) > 0 {
		t.Errorf("announcements that stay: %v, %v", left, err)
	}
}
