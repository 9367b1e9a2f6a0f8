//go:build component

package datapath

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"image.alauda.io/registry/pkg/registry/streams"
	"image.alauda.io/registry/test/imageapi"
)

// door is the way of one registry to kube-apiserver. It counts what passes, and can be
// closed for lists and watches of image streams.
type door struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu       sync.Mutex
	requests []string
	closed   bool
	watches  []context.CancelFunc
}

func newDoor(t *testing.T, config *rest.Config) *door {
	t.Helper()
	target, err := url.Parse(config.Host)
	must(t, err)
	transport, err := rest.TransportFor(config)
	must(t, err)
	d := &door{proxy: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	d.Server = httptest.NewServer(d)
	t.Cleanup(func() {
		d.close()
		d.Close()
	})
	return d
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/v1/imagestreams") && r.Method == http.MethodGet {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if !d.open(cancel) {
			http.Error(w, "closed", http.StatusForbidden)
			return
		}
		d.proxy.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	d.mu.Lock()
	d.requests = append(d.requests, r.Method+" "+r.URL.Path)
	d.mu.Unlock()
	d.proxy.ServeHTTP(w, r)
}

func (d *door) open(cancel context.CancelFunc) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watches = append(d.watches, cancel)
	return !d.closed
}

// close ends watches and refuses new ones.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for _, cancel := range d.watches {
		cancel()
	}
	d.watches = nil
}

func (d *door) reopen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = false
}

// passed is what went through since the last call, lists and watches of streams left out.
func (d *door) passed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.requests
	d.requests = nil
	return list
}

// replica runs another registry on the same storage, behind a door.
func (e *environment) replica(t *testing.T, d *door) *environment {
	t.Helper()
	other := &environment{Server: e.Server, storage: e.storage, host: freeAddress(t)}
	config := other.registryConfig(t, &rest.Config{Host: d.URL}, ", secret: shared", "auth: {cache: {allowttl: 10m, tokenttl: 10m}}")
	other.serveAt(t, config, "http://"+other.host, http.DefaultClient)
	return other
}

// reader asks one registry with one token and without the retries of a client library.
type reader struct {
	e      *environment
	client *http.Client
}

func (e *environment) reader(t *testing.T, repository string, user authn.Authenticator) reader {
	t.Helper()
	repo := e.tag(t, repository, "any").Repository
	rt, err := transport.NewWithContext(t.Context(), repo.Registry, user, http.DefaultTransport, []string{repo.Scope(transport.PullScope)})
	must(t, err)
	return reader{e, &http.Client{Transport: rt}}
}

// ask returns status and digest.
func (r reader) ask(t *testing.T, method, path string) (int, string) {
	t.Helper()
	got := send(t, r.client, method, "http://"+r.e.host+path, nil, nil)
	return got.status, got.header.Get("Docker-Content-Digest")
}

// shows checks which image a tag is.
func (r reader) shows(t *testing.T, path string, want v1.Hash) {
	t.Helper()
	if status, got := r.ask(t, http.MethodGet, path); status != http.StatusOK || got != want.String() {
		t.Errorf("%s at %s: status %d, digest %s, want %s", path, r.e.host, status, got, want)
	}
}

// Behaviour 46a; the bound of the memory is shown in package streams.
func TestStreamViews(t *testing.T) {
	e := start(t)
	config := imageapi.ServiceAccountConfig(e.CP, account)
	bookmark := firstBookmark(t, config)
	doors := []*door{newDoor(t, config), newDoor(t, config), newDoor(t, config)}
	doors[2].close()
	replicas := make([]*environment, 3)
	for i, d := range doors {
		replicas[i] = e.replica(t, d)
	}
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher, viewer)
	push := func(tag string) v1.Hash {
		t.Helper()
		image := newImage(t)
		must(t, remote.Write(replicas[0].tag(t, repository, tag), image, as(t, user)...))
		return hash(t, image)
	}
	first := push("v1")
	readers := make([]reader, 3)
	for i, r := range replicas {
		readers[i] = r.reader(t, repository, user)
	}
	byTag := "/v2/" + repository + "/manifests/v1"
	list := "/v2/" + repository + "/tags/list"

	// warm waits until a registry answers all by itself.
	warm := func(i int) {
		t.Helper()
		imageapi.Eventually(t, "a warm view", func(context.Context) error {
			doors[i].passed()
			readers[i].ask(t, http.MethodGet, byTag)
			if passed := doors[i].passed(); len(passed) > 0 {
				return fmt.Errorf("requests %v", passed)
			}
			return nil
		})
	}
	warm(0)
	warm(1)
	for range 20 {
		readers[0].shows(t, byTag, first)
		readers[0].ask(t, http.MethodHead, byTag)
		readers[0].ask(t, http.MethodGet, list)
	}
	if passed := doors[0].passed(); len(passed) > 0 {
		t.Errorf("warm reads made requests: %v", passed)
	}

	// An own push is seen at once, a moved tag by the other replica within a second.
	for range 5 {
		moved := push("v1")
		pushed := time.Now()
		readers[0].shows(t, byTag, moved)
		for {
			if _, got := readers[1].ask(t, http.MethodGet, byTag); got == moved.String() {
				break
			}
			if time.Since(pushed) > time.Second {
				t.Fatalf("the other replica does not see the moved tag after %s", time.Since(pushed))
			}
		}
		t.Logf("the moved tag was seen after %s", time.Since(pushed))
		first = moved
	}
	// A new tag is seen by every replica at once.
	for i := range 5 {
		tag := fmt.Sprint("new", i)
		pushed := push(tag)
		for _, r := range readers {
			r.shows(t, "/v2/"+repository+"/manifests/"+tag, pushed)
		}
	}
	if status, _ := readers[1].ask(t, http.MethodGet, "/v2/"+repository+"/manifests/nothing"); status != http.StatusNotFound {
		t.Errorf("status %d for a tag that does not exist", status)
	}

	// The registry that may not list reads each time, and sees everything at once.
	doors[2].passed()
	for range 3 {
		moved := push("v1")
		readers[2].shows(t, byTag, moved)
		reads := slices.DeleteFunc(doors[2].passed(), func(request string) bool { return !strings.HasSuffix(request, "/imagestreams/app") })
		if len(reads) != 1 {
			t.Errorf("%d reads of the stream without a watch, want 1", len(reads))
		}
	}
	doors[2].reopen()
	warm(2)

	// A watch that breaks for a moment costs nothing, and what came meanwhile is not lost.
	doors[1].close()
	moved := push("v1")
	doors[1].reopen()
	imageapi.Eventually(t, "the moved tag after a broken watch", func(context.Context) error {
		if _, got := readers[1].ask(t, http.MethodGet, byTag); got != moved.String() {
			return errors.New(got)
		}
		return nil
	})
	warm(1)

	select {
	case after := <-bookmark:
		t.Logf("the first bookmark came after %s", after)
		if after > streams.DefaultMaxSilence {
			t.Errorf("a bookmark came only after %s: views would not be used in a cluster without pushes", after)
		}
	case <-time.After(2 * streams.DefaultMaxSilence):
		t.Error("no bookmark came")
	}
}

// firstBookmark tells how long the image API is silent at most.
func firstBookmark(t *testing.T, config *rest.Config) <-chan time.Duration {
	t.Helper()
	source, err := streams.NewKubeSource(config)
	must(t, err)
	seconds := int64(300)
	events, err := source.WatchWithContext(t.Context(), metav1.ListOptions{AllowWatchBookmarks: true, TimeoutSeconds: &seconds})
	must(t, err)
	t.Cleanup(events.Stop)
	began, result := time.Now(), make(chan time.Duration, 1)
	go func() {
		for event := range events.ResultChan() {
			if event.Type == watch.Bookmark {
				result <- time.Since(began)
				return
			}
		}
	}()
	return result
}
