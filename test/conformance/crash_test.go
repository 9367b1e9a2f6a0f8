package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/imageapi"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// crash says what happens at one write of a push.
type crash int

const (
	failing    crash = iota // this write fails, all others work
	diesBefore              // the process ends instead of this write
	diesAfter               // the process ends right after this write
)

// steps counts the writes of a push, to the storage and to the image API alike, and lets
// one of them go wrong.
type steps struct {
	mu    sync.Mutex
	kind  crash
	at    int // 0 lets all pass
	count int
	dead  bool
}

var errCrash = errors.New("injected")

// write makes one write, or not.
func (s *steps) write(do func() error) error {
	s.mu.Lock()
	s.count++
	hit := s.at > 0 && s.count == s.at
	dead := s.dead
	if hit && s.kind != failing {
		s.dead = true
	}
	s.mu.Unlock()
	switch {
	case dead || hit && s.kind != diesAfter:
		return errCrash
	case hit:
		return errors.Join(do(), errCrash)
	}
	return do()
}

func (s *steps) arm(kind crash, at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind, s.at, s.count, s.dead = kind, at, 0, false
}

// reached tells whether the push came to the write at all.
func (s *steps) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count >= s.at
}

// crashingDriver passes all that changes the storage through steps.
type crashingDriver struct {
	driver.StorageDriver
	*steps
}

func (d crashingDriver) PutContent(ctx context.Context, path string, content []byte) error {
	return d.write(func() error { return d.StorageDriver.PutContent(ctx, path, content) })
}

func (d crashingDriver) Move(ctx context.Context, from, to string) error {
	return d.write(func() error { return d.StorageDriver.Move(ctx, from, to) })
}

func (d crashingDriver) Delete(ctx context.Context, path string) error {
	return d.write(func() error { return d.StorageDriver.Delete(ctx, path) })
}

func (d crashingDriver) Writer(ctx context.Context, path string, appending bool) (driver.FileWriter, error) {
	var writer driver.FileWriter
	err := d.write(func() (err error) { writer, err = d.StorageDriver.Writer(ctx, path, appending); return err })
	if err != nil {
		return nil, err
	}
	return crashingWriter{writer, d.steps}, nil
}

type crashingWriter struct {
	driver.FileWriter
	*steps
}

func (w crashingWriter) Write(p []byte) (n int, err error) {
	err = w.write(func() (err error) { n, err = w.FileWriter.Write(p); return err })
	return n, err
}

func (w crashingWriter) Commit(ctx context.Context) error {
	return w.write(func() error { return w.FileWriter.Commit(ctx) })
}

// crashingAPI passes all that changes the image API through steps.
type crashingAPI struct {
	imageapi.Client
	*steps
}

// apiCall makes the injected error one that the API server could give.
func (a crashingAPI) apiCall(do func() error) error {
	err := a.write(do)
	if errors.Is(err, errCrash) {
		return apierrors.NewInternalError(errCrash)
	}
	return err
}

func (a crashingAPI) CreateStream(ctx context.Context, stream *imagev1.ImageStream) error {
	return a.apiCall(func() error { return a.Client.CreateStream(ctx, stream) })
}

func (a crashingAPI) CreateMapping(ctx context.Context, mapping *imagev1.ImageStreamMapping) error {
	return a.apiCall(func() error { return a.Client.CreateMapping(ctx, mapping) })
}

func (a crashingAPI) CreateImage(ctx context.Context, image *imagev1.Image) error {
	return a.apiCall(func() error { return a.Client.CreateImage(ctx, image) })
}

func (a crashingAPI) AnnotateImage(ctx context.Context, digest string, annotations map[string]string) error {
	return a.apiCall(func() error { return a.Client.AnnotateImage(ctx, digest, annotations) })
}

func (a crashingAPI) UpdateStreamStatus(ctx context.Context, stream *imagev1.ImageStream) error {
	return a.apiCall(func() error { return a.Client.UpdateStreamStatus(ctx, stream) })
}

// crashCase is a push that is interrupted everywhere.
type crashCase struct {
	// prepare pushes what has to be there, and returns the manifest and what it names.
	prepare   func(e *env) (raw []byte, mediaType string)
	reference func(raw []byte) string
	tags      []string
	// old is what the tag had before.
	old bool
}

var crashCases = map[string]crashCase{
	"image by tag": {
		prepare:   func(e *env) ([]byte, string) { return e.image("team/app", "new"), ociManifest },
		reference: func([]byte) string { return "v1" }, tags: []string{"v1"},
	},
	"image that moves a tag": {
		prepare: func(e *env) ([]byte, string) {
			e.pushImage("team/app", "v1", "old")
			return e.image("team/app", "new"), ociManifest
		},
		reference: func([]byte) string { return "v1" }, tags: []string{"v1"}, old: true,
	},
	"image by digest": {
		prepare:   func(e *env) ([]byte, string) { return e.image("team/app", "new"), ociManifest },
		reference: digestOf,
	},
	"image by digest with tags": {
		prepare:   func(e *env) ([]byte, string) { return e.image("team/app", "new"), ociManifest },
		reference: func(raw []byte) string { return digestOf(raw) + "?tag=v1&tag=v2" }, tags: []string{"v1", "v2"},
	},
	"image by sha512": {
		prepare:   func(e *env) ([]byte, string) { return e.image("team/app", "new"), ociManifest },
		reference: func(raw []byte) string { return sha512Of(raw) + "?tag=v1" }, tags: []string{"v1"},
	},
	"index of a pruned and an old child": {
		prepare: func(e *env) ([]byte, string) {
			pruned, old := e.pushImage("team/app", "child", "pruned"), e.pushImage("team/app", "other", "old")
			e.api.DeleteImage(digestOf(pruned))
			e.clock.Step(time.Hour)
			return indexOf(pruned, old), ociIndex
		},
		reference: func([]byte) string { return "v1" }, tags: []string{"v1"},
	},
	"referrer": {
		prepare: func(e *env) ([]byte, string) {
			subject := e.pushImage("team/app", "subject", "subject")
			return e.image("team/app", "referrer", fmt.Sprintf(`"subject":%s,`, descriptor(ociManifest, subject))), ociManifest
		},
		reference: digestOf,
	},
}

// A push is cut off at each of its writes, in three ways. Whoever looks then finds the old
// state or the new one, and the same push once more leads to the new one.
// Behaviour 38.
func TestCrashAtEveryWriteOfAPush(t *testing.T) {
	for name, test := range crashCases {
		for kind, how := range []string{"write fails", "dies before", "dies after"} {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					if at > 100 {
						t.Fatal("a push has more than 100 writes")
					}
					if !crashAt(t, test, crash(kind), at) {
						if at < 4 {
							t.Errorf("only %d writes were interrupted", at-1)
						}
						return
					}
				}
			})
		}
	}
}

// crashAt interrupts a push at one write; false when it has no such write.
func crashAt(t *testing.T, test crashCase, kind crash, at int) bool {
	t.Helper()
	injected := &steps{}
	storage := inmemory.New()
	e := startWith(t, storage, func(deps *app.Dependencies) {
		deps.Driver = crashingDriver{storage, injected}
		deps.API = crashingAPI{deps.API, injected}
	})
	raw, mediaType := test.prepare(e)
	before := map[string][]byte{}
	for _, tag := range test.tags {
		if test.old {
			before[tag] = e.get("/v2/team/app/manifests/" + tag).want(200).body
		}
	}
	where := fmt.Sprintf("write %d", at)
	reference := test.reference(raw)
	injected.arm(kind, at)
	answer := e.putManifest("team/app", reference, raw, mediaType)
	if !injected.reached() {
		answer.want(201)
		return false
	}
	if answer.StatusCode != 503 && answer.StatusCode != 500 && answer.StatusCode != 201 {
		t.Errorf("%s: status %d: %s", where, answer.StatusCode, answer.body)
	}
	injected.arm(failing, 0)
	// The process that comes next knows nothing but what is stored.
	next := startWith(t, storage, func(deps *app.Dependencies) { deps.API = e.api })
	next.api, next.clock = e.api, e.clock
	next.consistent(where, test, raw, before, answer.StatusCode == 201)

	if err := pushAgain(next, reference, raw, mediaType); err != nil {
		t.Errorf("%s: the retry: %v", where, err)
		return true
	}
	next.consistent(where+" and retry", test, raw, nil, true)
	if name, _, _ := strings.Cut(reference, "?"); strings.HasPrefix(name, "sha512:") {
		next.pulls("team/app", name, raw)
	}
	if subject := bytes.Contains(raw, []byte(`"subject"`)); subject {
		list := next.get("/v2/team/app/referrers/" + digestOf(next.get("/v2/team/app/manifests/subject").body)).want(200)
		if !strings.Contains(string(list.body), digestOf(raw)) {
			t.Errorf("%s and retry: the referrer is not listed", where)
		}
	}
	return true
}

func pushAgain(e *env, reference string, raw []byte, mediaType string) error {
	answer := e.putManifest("team/app", reference, raw, mediaType)
	if answer.StatusCode != 201 {
		return fmt.Errorf("status %d: %s", answer.StatusCode, answer.body)
	}
	return nil
}

// consistent checks what can be read: each tag is as before or new and complete, the digest
// unknown or complete, and nobody else reads anything.
func (e *env) consistent(where string, test crashCase, raw []byte, before map[string][]byte, complete bool) {
	e.t.Helper()
	for _, tag := range test.tags {
		got := e.get("/v2/team/app/manifests/" + tag)
		switch {
		case got.StatusCode == 200 && bytes.Equal(got.body, raw):
			e.wholeOf(where, raw)
		case complete:
			e.t.Errorf("%s: tag %s has status %d", where, tag, got.StatusCode)
		case before[tag] != nil && (got.StatusCode != 200 || !bytes.Equal(got.body, before[tag])):
			e.t.Errorf("%s: tag %s is neither old nor new: status %d", where, tag, got.StatusCode)
		case before[tag] == nil && got.StatusCode != 404:
			e.t.Errorf("%s: tag %s has status %d", where, tag, got.StatusCode)
		}
	}
	switch got := e.get("/v2/team/app/manifests/" + digestOf(raw)); {
	case got.StatusCode == 200 && bytes.Equal(got.body, raw):
		e.wholeOf(where, raw)
		e.recorded(where, raw, complete)
	case complete || got.StatusCode != 404:
		e.t.Errorf("%s: the digest has status %d: %s", where, got.StatusCode, got.body)
	}
	foreign := e.do(call{method: "GET", path: "/v2/elsewhere/app/manifests/" + digestOf(raw), token: otherToken})
	if foreign.StatusCode != 404 {
		e.t.Errorf("%s: another repository reads it: status %d", where, foreign.StatusCode)
	}
}

// recorded checks that what can be read has an Image: a collector takes what has none.
func (e *env) recorded(where string, raw []byte, complete bool) {
	e.t.Helper()
	must := []string{digestOf(raw)}
	if complete {
		children, _ := named(e.t, raw)
		must = append(must, children...)
	}
	for _, d := range must {
		if _, err := e.api.Image(e.t.Context(), d); err != nil {
			e.t.Errorf("%s: %s can be read but has no Image: %v", where, d, err)
		}
	}
}

// wholeOf pulls everything below a manifest.
func (e *env) wholeOf(where string, raw []byte) {
	e.t.Helper()
	children, blobs := named(e.t, raw)
	for _, child := range children {
		got := e.get("/v2/team/app/manifests/" + child)
		if got.StatusCode != 200 {
			e.t.Errorf("%s: child %s has status %d", where, child, got.StatusCode)
			continue
		}
		e.wholeOf(where, got.body)
	}
	for _, d := range blobs {
		if got := e.get("/v2/team/app/blobs/" + d); got.StatusCode != 200 {
			e.t.Errorf("%s: blob %s has status %d", where, d, got.StatusCode)
		}
	}
}

// The upload of a blob is cut off in the same way.
// Behaviour 38.
func TestCrashAtEveryWriteOfAnUpload(t *testing.T) {
	content := []byte("content of a layer")
	path := "/v2/team/app/blobs/uploads/?digest=" + digestOf(content)
	for kind := range 3 {
		for at := 1; ; at++ {
			injected := &steps{}
			storage := inmemory.New()
			e := startWith(t, storage, func(deps *app.Dependencies) { deps.Driver = crashingDriver{storage, injected} })
			injected.arm(crash(kind), at)
			answer := e.do(call{method: "POST", path: path, body: content})
			if !injected.reached() {
				answer.want(201)
				if at < 4 {
					t.Errorf("only %d writes were interrupted", at-1)
				}
				break
			}
			injected.arm(failing, 0)
			next := startOn(t, storage)
			got := next.get("/v2/team/app/blobs/" + digestOf(content))
			if got.StatusCode != 404 && (got.StatusCode != 200 || !bytes.Equal(got.body, content)) || answer.StatusCode == 201 && got.StatusCode != 200 {
				t.Errorf("kind %d, write %d: upload %d, then the blob has status %d", kind, at, answer.StatusCode, got.StatusCode)
			}
			next.do(call{method: "POST", path: path, body: content}).want(201)
			if again := next.get("/v2/team/app/blobs/" + digestOf(content)).want(200); !bytes.Equal(again.body, content) {
				t.Errorf("kind %d, write %d: other bytes after the retry", kind, at)
			}
		}
	}
}

// named are the children and the blobs of a manifest.
func named(t testing.TB, raw []byte) (children, blobs []string) {
	t.Helper()
	parsed := parsedManifest(t, raw)
	for _, child := range parsed.Manifests {
		children = append(children, child.Digest.String())
	}
	for _, blob := range parsed.Stored() {
		blobs = append(blobs, blob.Digest.String())
	}
	return children, blobs
}

func sha512Of(raw []byte) string { return digest.SHA512.FromBytes(raw).String() }
