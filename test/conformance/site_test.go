package conformance

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/gc/online"

	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"k8s.io/apimachinery/pkg/util/wait"
	testingclock "k8s.io/utils/clock/testing"
)

// site is a registry on files, whose ages a test can change, with the real clock. Its
// replicas share storage, image API and Leases.
type site struct {
	*env
	directory string
	leases    online.Leases
	metadata  *watched
	clock     *testingclock.FakeClock
}

// watched lets a test act when a list of images begins.
type watched struct {
	gc.Metadata
	mu    sync.Mutex
	lists int
	each  func(list int)
}

func (w *watched) ImagePages(ctx context.Context, visit func([]imagev1.Image) error) error {
	w.mu.Lock()
	w.lists++
	list, each := w.lists, w.each
	w.mu.Unlock()
	if each != nil {
		each(list)
	}
	return w.Metadata.ImagePages(ctx, visit)
}

func newSite(t *testing.T, settings ...string) *site {
	t.Helper()
	s := &site{directory: t.TempDir(), leases: online.NewLocalLeases(), metadata: &watched{}, clock: testingclock.NewFakeClock(time.Now())}
	s.env = s.start(t, settings...)
	return s
}

// replica is another one of the same registry.
func (s *site) replica(t *testing.T, settings ...string) *site {
	t.Helper()
	other := *s
	other.env = other.start(t, settings...)
	return &other
}

func (s *site) start(t *testing.T, settings ...string) *env {
	t.Helper()
	storage := filesystem.New(filesystem.DriverParameters{RootDirectory: s.directory, MaxThreads: 100})
	api := s.env
	e := startWith(t, storage, func(deps *app.Dependencies) {
		if api != nil {
			deps.API = api.api
		}
		if s.metadata.Metadata == nil {
			s.metadata.Metadata = deps.API.(gc.Metadata)
		}
		deps.Metadata, deps.Leases, deps.Clock, deps.Now = s.metadata, s.leases, s.clock, time.Now
	}, settings...)
	if api != nil {
		e.api = api.api
	}
	t.Cleanup(e.registry.Collections.Stop)
	return e
}

// age makes everything that is stored three hours older.
func (s *site) age(t testing.TB) {
	t.Helper()
	s.date(t, time.Now().Add(-3*time.Hour))
}

func (s *site) post(body string) *reply {
	s.t.Helper()
	return s.do(call{method: "POST", path: "/admin/gc", body: []byte(body), token: prunerToken})
}

func (s *site) report(location string) gc.Report {
	s.t.Helper()
	return reportOf(s.do(call{method: "GET", path: location, token: prunerToken}).want(200))
}

func reportOf(r *reply) (report gc.Report) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, &report); err != nil {
		r.t.Fatalf("%s: %s: %v", r.name, r.body, err)
	}
	return report
}

// collect runs a collection to its end.
func (s *site) collect(body string) gc.Report {
	s.t.Helper()
	return s.ended(s.post(body).want(202).Header.Get("Location"))
}

func (s *site) ended(location string) (report gc.Report) {
	s.t.Helper()
	err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		report = s.report(location)
		return report.State != gc.StateRunning, nil
	})
	if err != nil {
		s.t.Fatalf("%s: %v, last report %+v", location, err, report)
	}
	return report
}

// garbage pushes an image that nothing names any more.
func (s *site) garbage(repo, text string) []byte {
	s.t.Helper()
	raw := s.pushImage(repo, "garbage", text)
	s.remove("/v2/" + repo + "/manifests/" + digestOf(raw)).want(202)
	s.api.DeleteImage(digestOf(raw))
	return raw
}

func (s *site) stored(t testing.TB, content []byte) bool {
	t.Helper()
	d := strings.TrimPrefix(digestOf(content), "sha256:")
	_, err := os.Stat(filepath.Join(s.directory, "docker/registry/v2/blobs/sha256", d[:2], d, "data"))
	return err == nil
}

// pullable reads an image with all its blobs, as a client does.
func (s *site) pullable(t testing.TB, repo string, raw []byte) {
	t.Helper()
	var image struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	if err := json.Unmarshal(raw, &image); err != nil {
		t.Fatal(err)
	}
	answer := s.get("/v2/" + repo + "/manifests/" + digestOf(raw)).want(200)
	if digestOf(answer.body) != digestOf(raw) {
		t.Fatalf("manifest %s has other bytes", digestOf(raw))
	}
	for _, blob := range append(image.Layers, image.Config) {
		answer := s.get("/v2/" + repo + "/blobs/" + blob.Digest).want(200)
		if digestOf(answer.body) != blob.Digest {
			t.Fatalf("blob %s has other bytes", blob.Digest)
		}
	}
}
