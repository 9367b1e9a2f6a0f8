package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// actorKey is where a context says whose operation it is.
type actorKey struct{}

// stepped is a storage whose every operation waits until the schedule lets it happen.
type stepped struct {
	driver.StorageDriver
	// behind is how far the storage's clock is behind.
	behind time.Duration
}

// dated has the time that the storage's clock gave.
type dated struct {
	driver.FileInfo
	behind time.Duration
}

func (d dated) ModTime() time.Time { return d.FileInfo.ModTime().Add(-d.behind) }

type actor struct {
	name    string
	run     func(ctx context.Context)
	allow   chan struct{}
	waiting bool
	done    chan struct{}
}

func step(ctx context.Context) {
	if a, ok := ctx.Value(actorKey{}).(*actor); ok {
		a.waiting = true
		<-a.allow
		a.waiting = false
	}
}

func (s stepped) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	step(ctx)
	info, err := s.StorageDriver.Stat(ctx, path)
	if err != nil {
		return nil, err
	}
	return dated{info, s.behind}, nil
}

func (s stepped) List(ctx context.Context, path string) ([]string, error) {
	step(ctx)
	return s.StorageDriver.List(ctx, path)
}

func (s stepped) GetContent(ctx context.Context, path string) ([]byte, error) {
	step(ctx)
	return s.StorageDriver.GetContent(ctx, path)
}

func (s stepped) PutContent(ctx context.Context, path string, content []byte) error {
	step(ctx)
	return s.StorageDriver.PutContent(ctx, path, content)
}

func (s stepped) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	step(ctx)
	return s.StorageDriver.Reader(ctx, path, offset)
}

func (s stepped) Move(ctx context.Context, from, to string) error {
	step(ctx)
	return s.StorageDriver.Move(ctx, from, to)
}

func (s stepped) Delete(ctx context.Context, path string) error {
	step(ctx)
	return s.StorageDriver.Delete(ctx, path)
}

// schedule lets the actors make their operations one at a time. choose picks one of n that
// could go on. It must be called in a bubble of synctest.
func schedule(actors []*actor, choose func(n int) int) {
	for _, a := range actors {
		a.allow, a.done = make(chan struct{}), make(chan struct{})
		go func() {
			defer close(a.done)
			a.run(context.WithValue(context.Background(), actorKey{}, a))
		}()
	}
	for {
		synctest.Wait()
		var ready []*actor
		left := 0
		for _, a := range actors {
			select {
			case <-a.done:
				continue
			default:
			}
			if left++; a.waiting {
				ready = append(ready, a)
			}
		}
		switch {
		case left == 0:
			return
		case len(ready) == 0:
			time.Sleep(time.Second) // all of them wait for time to pass
		default:
			time.Sleep(time.Millisecond) // so that what was written later has a later time
			ready[choose(len(ready))].allow <- struct{}{}
		}
	}
}

// reuse is the storage that one pusher and deleters share.
type reuse struct {
	*Store
	blob     digest.Digest
	accepted bool
}

const reused = "a layer"

// newReuse stores an old blob. leftover adds the announcement of a deleter that died; behind
// is how far the clock of the storage is behind.
func newReuse(t *testing.T, leftover, behind time.Duration) *reuse {
	t.Helper()
	s, err := New(t.Context(), stepped{inmemory.New(), behind}, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r := &reuse{Store: s, blob: digest.FromString(reused)}
	if err := s.put(t.Context(), blobPath(r.blob), []byte(reused)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(old - leftover)
	if leftover > 0 {
		if err := s.put(t.Context(), markerPath(deletingMarker, r.blob), []byte("a crash")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leftover)
	}
	return r
}

// push is what a client and the handlers do: ask for the blob, upload it if it is not
// there, and then have a manifest accepted that names it.
func (r *reuse) push(upload bool) *actor {
	return &actor{name: "push", run: func(ctx context.Context) {
		if _, err := r.Rely(ctx, r.blob); errors.Is(err, ErrNotFound) && upload {
			if err := r.send(ctx); err != nil {
				return // the client is told to try again
			}
		}
		for attempt := range 3 {
			if _, err := r.Rely(ctx, r.blob); err == nil {
				r.accepted = true
				return
			}
			if !upload {
				return
			}
			time.Sleep(100 * time.Millisecond << attempt)
		}
	}}
}

func (r *reuse) send(ctx context.Context) error {
	session, err := r.NewUpload(ctx, app)
	if err != nil {
		return err
	}
	if _, err := session.Append(strings.NewReader(reused)); err != nil {
		return err
	}
	_, err = session.Commit(ctx, r.blob)
	return err
}

// replace pushes the blob as a manifest, which is acknowledged as soon as it is stored.
func (r *reuse) replace() *actor {
	return &actor{name: "replace", run: func(ctx context.Context) {
		r.accepted = r.PutManifest(ctx, []byte(reused), r.blob) == nil
	}}
}

func (r *reuse) delete(minAge time.Duration) *actor {
	return &actor{name: "delete", run: func(ctx context.Context) {
		_, _ = r.DeleteBlob(ctx, r.blob, minAge)
	}}
}

func (r *reuse) tidy() *actor {
	return &actor{name: "tidy", run: func(ctx context.Context) { _ = r.TidyMarkers(ctx, r.blob, MinimumAge) }}
}

// check tells whether a manifest was accepted whose blob is gone.
func (r *reuse) check() error {
	if _, err := r.Stat(context.Background(), r.blob); r.accepted && err != nil {
		return fmt.Errorf("a manifest was accepted whose blob is gone: %w", err)
	}
	return nil
}

// exhaust runs every schedule, in the order of its choices.
func exhaust(t *testing.T, run func(choose func(n int) int) error) (schedules int) {
	t.Helper()
	var path, widths []int
	for {
		depth := 0
		err := run(func(n int) int {
			if depth == len(path) {
				path, widths = append(path, 0), append(widths, n)
			}
			depth++
			return path[depth-1]
		})
		if err != nil {
			t.Fatalf("schedule %v: %v", path, err)
		}
		schedules++
		path, widths = path[:depth], widths[:depth]
		for len(path) > 0 && path[len(path)-1] == widths[len(path)-1]-1 {
			path, widths = path[:len(path)-1], widths[:len(widths)-1]
		}
		if len(path) == 0 {
			return schedules
		}
		path[len(path)-1]++
	}
}

// Behaviour 85: no interleaving of the operations of one pusher and one deleter ends with
// an accepted manifest whose blob is missing, also beside the leftover of a crash and on a
// storage with a wrong clock.
func TestEveryInterleavingOfPushAndDelete(t *testing.T) {
	for name, test := range map[string]struct{ leftover, behind time.Duration }{
		"clean": {}, "after a crash": {leftover: 11 * time.Minute},
		"clock behind": {behind: 3 * time.Hour}, "clock ahead": {behind: -3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			accepted, deleted := 0, 0
			schedules := exhaust(t, func(choose func(n int) int) (err error) {
				synctest.Test(t, func(t *testing.T) {
					r := newReuse(t, test.leftover, test.behind)
					schedule([]*actor{r.push(false), r.delete(MinimumAge)}, choose)
					err = r.check()
					if r.accepted {
						accepted++
					} else if stored, _ := r.Stored(t.Context(), r.blob); !stored {
						deleted++
					}
				})
				return err
			})
			t.Logf("%d schedules, %d accepted, %d deleted", schedules, accepted, deleted)
			if accepted == 0 || deleted == 0 {
				t.Errorf("%d accepted, %d deleted of %d: the schedules show nothing", accepted, deleted, schedules)
			}
		})
	}
}

// Behaviour 85: a manifest that is pushed again while its bytes are deleted is stored when the
// push ends.
func TestEveryInterleavingOfAManifestAndItsDeletion(t *testing.T) {
	for name, test := range map[string]struct{ leftover, behind time.Duration }{
		"clean": {}, "after a crash": {leftover: 11 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			schedules := exhaust(t, func(choose func(n int) int) (err error) {
				synctest.Test(t, func(t *testing.T) {
					r := newReuse(t, test.leftover, test.behind)
					schedule([]*actor{r.replace(), r.delete(MinimumAge)}, choose)
					if err = r.check(); err == nil && !r.accepted {
						err = errors.New("the push was refused")
					}
				})
				return err
			})
			t.Logf("%d schedules", schedules)
		})
	}
}

// Behaviour 85: neither do pushes that upload what they miss, beside two deleters with
// different ages and a clean-up of markers.
func TestInterleavingsWithUploads(t *testing.T) {
	const schedules = 4000
	for name, actors := range map[string]func(*reuse) []*actor{
		"one deleter":  func(r *reuse) []*actor { return []*actor{r.push(true), r.delete(MinimumAge)} },
		"two deleters": func(r *reuse) []*actor { return []*actor{r.push(true), r.delete(MinimumAge), r.delete(MinimumAge)} },
		"tidying":      func(r *reuse) []*actor { return []*actor{r.push(true), r.tidy(), r.delete(MinimumAge)} },
		"manifest":     func(r *reuse) []*actor { return []*actor{r.replace(), r.delete(MinimumAge), r.delete(MinimumAge)} },
	} {
		t.Run(name, func(t *testing.T) {
			accepted := 0
			for seed := range uint64(schedules) {
				synctest.Test(t, func(t *testing.T) {
					random := rand.New(rand.NewPCG(seed, 85))
					r := newReuse(t, 0, 0)
					// Runs of one actor reach the late steps of the others more often.
					last, stay := 0, random.IntN(4)
					schedule(actors(r), func(n int) int {
						if random.IntN(4) >= stay {
							last = random.IntN(n)
						}
						return min(last, n-1)
					})
					if err := r.check(); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if r.accepted {
						accepted++
					}
				})
			}
			if accepted < schedules/2 {
				t.Errorf("%d of %d pushes succeeded", accepted, schedules)
			}
		})
	}
}

// turn is how many operations an actor makes before the next one.
type turn struct {
	of         *actor
	operations int
}

// script is a schedule that was written by hand. An actor who waits for time to pass gives up
// his turn, and after the last turn everybody goes on in order.
func script(actors []*actor, turns ...turn) func(n int) int {
	return func(int) int {
		var ready []*actor
		for _, a := range actors {
			if a.waiting {
				ready = append(ready, a)
			}
		}
		for len(turns) > 0 {
			if at := slices.Index(ready, turns[0].of); at >= 0 && turns[0].operations > 0 {
				turns[0].operations--
				return at
			}
			turns = turns[1:]
		}
		return 0
	}
}

// Behaviour 85: two deleters that began in the same moment both believe in their announcement.
// What is pushed after the first one has removed the bytes, the second would remove.
func TestAPushBetweenTwoDeleters(t *testing.T) {
	const toTheEnd = 1000
	var failed []string
	for before := 1; before <= 8; before++ {
		for name, push := range map[string]func(*reuse) *actor{
			"blob": func(r *reuse) *actor { return r.push(true) }, "manifest": func(r *reuse) *actor { return r.replace() },
		} {
			synctest.Test(t, func(t *testing.T) {
				r := newReuse(t, 0, 0)
				first, second, pusher := r.delete(MinimumAge), r.delete(MinimumAge), push(r)
				actors := []*actor{first, second, pusher}
				// The second one looks for announcements before the first one makes his, and is
				// stopped before he removes anything.
				schedule(actors, script(actors, turn{second, 1}, turn{first, 7}, turn{second, before}, turn{first, toTheEnd}, turn{pusher, toTheEnd}, turn{second, toTheEnd}))
				if err := r.check(); err != nil || !r.accepted && before < 5 {
					failed = append(failed, fmt.Sprintf("%s, %d operations of the second deleter: accepted %t, %v", name, before, r.accepted, err))
				}
			})
		}
	}
	if len(failed) > 0 {
		t.Error(strings.Join(failed, "\n"))
	}
}
