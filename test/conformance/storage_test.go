package conformance

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// elsewhere is a storage that, like object stores, has addresses of its own.
func elsewhere(t *testing.T) driver.StorageDriver {
	t.Helper()
	d, err := store.OpenDriver(t.Context(), "inmemory", nil, []configuration.Middleware{
		{Name: "redirect", Options: configuration.Parameters{"baseurl": "https://storage.test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Behaviour 80.
func TestBlobIsReadFromTheStorageItself(t *testing.T) {
	e := startOn(t, elsewhere(t))
	d := e.pushBlob("team/app", []byte("content"))
	for range 2 { // the second time by the digest cache
		answer := e.get("/v2/team/app/blobs/"+d).want(307).header("Docker-Content-Digest", d).header("Cache-Control", "no-store")
		if location := answer.Header.Get("Location"); !strings.HasPrefix(location, "https://storage.test/docker/registry/v2/blobs/sha256/") || len(answer.body) > 0 {
			t.Errorf("location %q with %d bytes", location, len(answer.body))
		}
	}
	head := e.head("/v2/team/app/blobs/"+d).want(200).header("Content-Length", "7")
	if head.Header.Get("Location") != "" {
		t.Error("HEAD was redirected")
	}
	e.get("/v2/team/app/blobs/"+d, "If-None-Match", d).want(304)
	e.get("/v2/team/other/blobs/"+d).want(404, "BLOB_UNKNOWN")
	raw := e.pushImage("team/app", "v1", "image")
	if got := e.get("/v2/team/app/manifests/v1").want(200); !bytes.Equal(got.body, raw) {
		t.Error("the manifest is another one")
	}
}

// offsets notes where readers of blobs begin.
type offsets struct {
	driver.StorageDriver
	mu   sync.Mutex
	seen []int64
}

func (o *offsets) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	o.mu.Lock()
	o.seen = append(o.seen, offset)
	o.mu.Unlock()
	return o.StorageDriver.Reader(ctx, path, offset)
}

// A range is read from where it begins, and nothing else: clients that mount images read
// thousands of small ranges, and an object store would be asked twice for each.
func TestRangesAreReadFromWhereTheyBegin(t *testing.T) {
	storage := &offsets{StorageDriver: inmemory.New()}
	e := startOn(t, storage)
	d := e.pushBlob(repo, []byte("0123456789"))
	for span, want := range map[string][]int64{
		"bytes=4-5": {4}, "bytes=7-": {7}, "bytes=-3": {7}, "bytes=-99": {0}, "bytes=0-0": {0},
		"bytes=2-2,8-8": {2, 8}, "bytes=5-3": {5}, "bytes=10-": {0}, "bytes=-0": {0}, "bytes=x-": {0}, "": {0},
	} {
		storage.seen = nil
		answer := e.get("/v2/team/app/blobs/"+d, "Range", span)
		if !slices.Equal(storage.seen, want) {
			t.Errorf("range %q: status %d, readers at %v, want %v", span, answer.StatusCode, storage.seen, want)
		}
	}
}

// Behaviour 80.
func TestRedirectsCanBeSwitchedOff(t *testing.T) {
	t.Setenv("REGISTRY_STORAGE_REDIRECT_DISABLE", "true")
	e := startOn(t, elsewhere(t))
	d := e.pushBlob("team/app", []byte("content"))
	if got := e.get("/v2/team/app/blobs/" + d).want(200); string(got.body) != "content" {
		t.Errorf("body %q", got.body)
	}
}

// spy counts what is asked of a storage, and lets writes fail.
type spy struct {
	driver.StorageDriver

	mu     sync.Mutex
	asked  []string
	writes error
}

func (s *spy) note(operation, p string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, operation+" "+path.Base(p))
}

// since returns what was asked after the last call.
func (s *spy) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *spy) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = err
}

func (s *spy) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *spy) Stat(ctx context.Context, p string) (driver.FileInfo, error) {
	s.note("Stat", p)
	return s.StorageDriver.Stat(ctx, p)
}

func (s *spy) GetContent(ctx context.Context, p string) ([]byte, error) {
	s.note("GetContent", p)
	return s.StorageDriver.GetContent(ctx, p)
}

func (s *spy) PutContent(ctx context.Context, p string, content []byte) error {
	if err := s.failure(); err != nil {
		return driver.Error{DriverName: "spy", Detail: err}
	}
	return s.StorageDriver.PutContent(ctx, p, content)
}

func (s *spy) Writer(ctx context.Context, p string, appending bool) (driver.FileWriter, error) {
	writer, err := s.StorageDriver.Writer(ctx, p, appending)
	return &spyWriter{writer, s}, err
}

type spyWriter struct {
	driver.FileWriter
	spy *spy
}

func (w *spyWriter) Write(p []byte) (int, error) {
	if err := w.spy.failure(); err != nil {
		return 0, driver.Error{DriverName: "spy", Detail: err}
	}
	return w.FileWriter.Write(p)
}

// Behaviour 79.
func TestDigestCacheSavesTheStorageAndEnds(t *testing.T) {
	storage := &spy{StorageDriver: inmemory.New()}
	e := startOn(t, storage)
	d := e.pushBlob("team/app", []byte("content"))
	blob := "/v2/team/app/blobs/" + d
	e.get(blob).want(200)
	storage.since()
	e.get(blob).want(200)
	if asked := storage.since(); len(asked) > 0 {
		t.Errorf("a blob that is known asks %v", asked)
	}
	e.head(blob).want(200)
	if asked := storage.since(); !slices.Contains(asked, "GetContent link") || !slices.Contains(asked, "Stat data") {
		t.Errorf("HEAD asks %v, want link and bytes", asked)
	}
	e.get("/v2/team/other/blobs/"+d).want(404, "BLOB_UNKNOWN")
	e.clock.Step(5 * time.Minute)
	storage.since()
	e.get(blob).want(200)
	if asked := storage.since(); !slices.Contains(asked, "GetContent link") {
		t.Errorf("after the TTL it asks %v, want the link", asked)
	}

	if err := storage.Delete(t.Context(), "/docker/registry/v2/blobs"); err != nil {
		t.Fatal(err)
	}
	e.get(blob).want(404, "BLOB_UNKNOWN")
	e.pushBlob("team/app", []byte("content"))
	e.get(blob).want(200)
}

// Behaviour 79.
func TestDigestCacheCanBeSwitchedOff(t *testing.T) {
	for _, setting := range []string{"{disabled: true}", "{blobrepositoryttl: 0s}"} {
		storage := &spy{StorageDriver: inmemory.New()}
		e := startOn(t, storage, "ALAUDA=, cache: "+setting)
		d := e.pushBlob("team/app", []byte("content"))
		e.get("/v2/team/app/blobs/" + d).want(200)
		storage.since()
		e.get("/v2/team/app/blobs/" + d).want(200)
		if asked := storage.since(); !slices.Contains(asked, "GetContent link") {
			t.Errorf("%s: it asks %v, want the link", setting, asked)
		}
	}
}

// Behaviour 92a: CVE-2026-35172, a blob that was deleted stays readable by what a cache
// remembers of the repository.
func TestDeletedBlobIsNotReadableByTheCache(t *testing.T) {
	e := start(t)
	content := []byte("secret")
	d := e.pushBlob("team/app", content)
	e.pushBlob("team/copy", content)
	for _, repository := range []string{"team/app", "team/copy"} {
		e.get("/v2/" + repository + "/blobs/" + d).want(200)
	}
	e.remove("/v2/team/app/blobs/" + d).want(202)
	e.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN")
	e.head("/v2/team/app/blobs/" + d).want(404)
	e.get("/v2/team/copy/blobs/" + d).want(200)
	e.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN") // what the copy remembers opens nothing here
}

// Behaviour 20 is about mounts with a source. This one is about those without: of what is
// known, only what the caller may pull is used, and the rest is not told.
func TestMountWithoutASource(t *testing.T) {
	e := start(t)
	content := []byte("shared layer")
	d := e.pushBlob("team/source", content)
	mount := func(repository, token string) *reply {
		return e.do(call{method: "POST", path: "/v2/" + repository + "/blobs/uploads/?mount=" + d, token: token})
	}
	mount("team/target", "").want(202) // nobody has read it, so nothing is known
	e.get("/v2/team/source/blobs/" + d).want(200)
	mount("team/target", "").want(201).header("Docker-Content-Digest", d).header("Location", "/v2/team/target/blobs/"+d)
	e.get("/v2/team/target/blobs/" + d).want(200)

	refused := mount("elsewhere/target", otherToken).want(202)
	if refused.Header.Get("Docker-Upload-Uuid") == "" || refused.Header.Get("Docker-Content-Digest") != "" {
		t.Errorf("headers %v, want those of an ordinary upload", refused.Header)
	}
	e.reviewer.Allow("other", auth.Layers("get", "team", "source"))
	e.clock.Step(10 * time.Second) // the refusal is remembered for some seconds
	mount("elsewhere/target", otherToken).want(201)

	e.remove("/v2/team/source/blobs/" + d).want(202)
	e.remove("/v2/team/target/blobs/" + d).want(202)
	e.do(call{method: "DELETE", path: "/v2/elsewhere/target/blobs/" + d, token: otherToken}).want(202)
	mount("team/again", "").want(202) // the bytes are there, but no repository has them
}

// Behaviours 96 and 97.
func TestStorageWithoutSpaceRefusesPushesAndServesPulls(t *testing.T) {
	for code, err := range map[string]error{"DEVICE_OUT_OF_SPACE": syscall.ENOSPC, "READ_ONLY_FILESYSTEM": syscall.EROFS, "FILE_TOO_LARGE": syscall.EFBIG} {
		t.Run(code, func(t *testing.T) {
			storage := &spy{StorageDriver: inmemory.New()}
			e := startOn(t, storage)
			d := e.pushBlob("team/app", []byte("content"))
			raw := e.pushImage("team/app", "v1", "image")
			content := []byte("does not fit")
			location := e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202).Header.Get("Location")
			storage.fail(err)
			path := "/v2/team/app/blobs/uploads/?digest=" + digestOf(content)
			refused := e.do(call{method: "POST", path: path, body: content}).want(503, "UNAVAILABLE")
			if full := strings.Contains(refused.message(), "full"); full != (code != "FILE_TOO_LARGE") {
				t.Errorf("message %q", refused.message())
			}
			e.do(call{method: "PATCH", path: location, body: content}).want(503, "UNAVAILABLE")
			e.get("/v2/team/app/blobs/" + d).want(200)
			if got := e.get("/v2/team/app/manifests/v1").want(200); !bytes.Equal(got.body, raw) {
				t.Error("the manifest is another one")
			}
			if count := e.storageErrors(code); count == 0 {
				t.Errorf("no error with the code %s was counted", code)
			}
			storage.fail(nil)
			e.do(call{method: "POST", path: path, body: content}).want(201)
			e.get("/v2/team/app/blobs/" + digestOf(content)).want(200)
		})
	}
}

// storageErrors is the sum of imageregistry_storage_errors_total with a code.
func (e *env) storageErrors(code string) (sum float64) {
	e.t.Helper()
	families, err := e.registry.Metrics.Gatherer().Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "imageregistry_storage_errors_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "code" && label.GetValue() == code {
					sum += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}
