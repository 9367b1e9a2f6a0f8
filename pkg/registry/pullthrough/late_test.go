package pullthrough

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type quiet struct{}

func (quiet) RemoteDone(string, string, string, time.Duration) {}
func (quiet) MirrorDone(string, int64)                         {}
func (quiet) DownloadShared(bool)                              {}

// newService is a Service that may ask this machine.
func newService(t *testing.T, writes *limiter.Limiter, change func(*Limits)) *Service {
	t.Helper()
	options := remote.DefaultOptions()
	options.UserAgent = "test"
	options.Settings = func() *remote.Settings { return &remote.Settings{DeniedCIDRs: []string{}} }
	client, err := remote.New(options)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := store.OpenDriver(t.Context(), "inmemory", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := store.New(t.Context(), opened, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	limits := DefaultLimits()
	change(&limits)
	s, err := New(Options{
		Client: client, Secrets: func(context.Context, route.Name) ([]corev1.Secret, error) { return nil, nil },
		Store: blobs, Writes: writes, Mirror: true, ServerAddr: "registry.test:5000", Installation: "test",
		Limits: limits, Observer: quiet{}, Log: zap.NewNop(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// wishFor asks for a layer that a stream has by import.
func wishFor(source *secondregistry.Registry, layer []byte) Request {
	d, image := digest.FromBytes(layer), digest.FromString("image").String()
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app",
		Annotations: map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}}}
	stream.Status.Tags = []imagev1.NamedTagEventList{{Tag: "v1", Items: []imagev1.TagEvent{{
		Image: image, DockerImageReference: source.Host + "/app@" + image}}}}
	size := int64(len(layer))
	return Request{Name: route.Name{Namespace: "team", Stream: "app"}, Stream: stream, Digest: d,
		Layers: func(context.Context) (*imagev1.ImageStreamLayers, error) {
			return &imagev1.ImageStreamLayers{
				Blobs:  map[string]imagev1.ImageLayerData{d.String(): {LayerSize: &size}},
				Images: map[string]imagev1.ImageBlobReferences{image: {Layers: []string{d.String()}}},
			}, nil
		}}
}

// halting answers the first download with the first half alone until the test ends, and
// the others with everything.
func halting(t *testing.T, source *secondregistry.Registry, layer []byte) {
	t.Helper()
	ctx, release := context.WithCancel(context.Background())
	t.Cleanup(release)
	var asked atomic.Int32
	source.Answer("GET", "/v2/app/blobs/**", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(layer)))
		if asked.Add(1) > 1 {
			_, _ = w.Write(layer)
			return
		}
		_, _ = w.Write(layer[:len(layer)/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	})
}

// Who comes too late to read along does not wait without an answer until a slow source
// has sent everything.
func TestWhoComesLateDoesNotWaitForASlowDownload(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	layer := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	halting(t, source, layer)
	s := newService(t, limiter.New(0, 0, 0), func(l *Limits) { l.Window, l.Late = 64<<10, 20*time.Millisecond })
	first, err := s.Open(t.Context(), wishFor(source, layer))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Body.Close()
	if _, err := io.ReadFull(first.Body, make([]byte, 256<<10)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	second, err := s.Open(ctx, wishFor(source, layer))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Body.Close()
	if got, err := io.ReadAll(second.Body); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("it got %d bytes: %v", len(got), err)
	}
}

// The push that waits for a blob has a slot of its own: with the only one, it would wait
// for itself.
func TestAPushWithTheOnlySlotObtainsABlob(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	layer := []byte("a small layer")
	source.PushBlob(t, "app", "application/octet-stream", layer)
	writes := limiter.New(1, 0, 0)
	release, err := writes.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	s := newService(t, writes, func(*Limits) {})
	if info, err := s.Obtain(t.Context(), wishFor(source, layer)); err != nil || info.Size != int64(len(layer)) {
		t.Errorf("%+v, %v", info, err)
	}
}

// All namespaces share the rate at which a registry may be asked: none may have many
// questions in the line.
func TestQuestionsOfANamespaceAreBounded(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{})
	layer := []byte("a small layer")
	s := newService(t, limiter.New(0, 0, 0), func(l *Limits) { l.NamespaceQuestions = 2 })
	ctx, release := context.WithCancel(t.Context())
	t.Cleanup(release)
	asked := make(chan struct{}, 10)
	source.Answer("HEAD", "/v2/app/blobs/**", func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
	})
	var clients sync.WaitGroup
	defer clients.Wait()
	defer release()
	for range 2 {
		clients.Go(func() { _, _ = s.Stat(ctx, wishFor(source, layer)) })
	}
	<-asked
	<-asked
	waiting, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Stat(waiting, wishFor(source, layer)); err == nil || len(asked) > 0 {
		t.Errorf("a third question was asked at the same time: %v", err)
	}
	other := wishFor(source, layer)
	other.Name.Namespace = "elsewhere"
	clients.Go(func() { _, _ = s.Stat(ctx, other) })
	<-asked
}

// Whatever joins the values of a header on the way must not hide a loop.
func TestALoopIsSeenThroughProxies(t *testing.T) {
	s := newService(t, limiter.New(0, 0, 0), func(*Limits) {})
	name := route.Name{Namespace: "team", Stream: "app"}
	for _, passed := range [][]string{{"https://other/v2/x?registry=1, " + s.mark(name)}, {s.mark(name) + ",https://other/v2/x?registry=1"}} {
		if s.checkLoop(&Request{Name: name, Passed: passed}) == nil {
			t.Errorf("%q is no loop", passed)
		}
	}
	if err := s.checkLoop(&Request{Name: name, Passed: []string{"https://other/v2/x?registry=1"}}); err != nil {
		t.Error(err)
	}
}
