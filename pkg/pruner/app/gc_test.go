package app

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/options"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// collectingRegistry answers as a registry does whose storage has 40 blobs, two of them garbage.
type collectingRegistry struct {
	*httptest.Server
	// deletion and post, if not 0, are the status of every deletion and of requests for a collection. message
	// is what the registry says with them.
	deletion, post int
	message        string
	// failed is the message of collections that fail in the phase.
	failed, phase string
	// candidates of a dry run.
	candidates int

	mu   sync.Mutex
	log  []string
	dry  bool
	seen func(string)
}

func newRegistry(t *testing.T) *collectingRegistry {
	t.Helper()
	r := &collectingRegistry{candidates: 2}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP implements http.Handler.
func (r *collectingRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	line := request.Method + " " + strings.TrimPrefix(request.URL.Path, "/v2/ns/app/")
	if end := strings.Index(line, "sha256:"); end >= 0 {
		line = line[:end+8]
	}
	r.log = append(r.log, line)
	if r.seen != nil {
		r.seen(line)
	}
	refuse := func(status int) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":"UNSUPPORTED","message":%q}]}`, r.message)
	}
	switch {
	case request.Method == http.MethodDelete && r.deletion != 0:
		refuse(r.deletion)
	case request.Method == http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	case request.Method == http.MethodPost && r.post != 0 && !(r.post == http.StatusMethodNotAllowed && strings.Contains(string(body), `"dryRun":true`)):
		refuse(r.post)
	case request.Method == http.MethodPost:
		r.dry = strings.Contains(string(body), `"dryRun":true`)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, `{"id":"c1","state":"Running"}`)
	case strings.HasPrefix(request.URL.Path, "/admin/gc/"):
		r.report(w)
	}
}

func (r *collectingRegistry) report(w io.Writer) {
	report := map[string]any{
		"id": "c1", "state": "Succeeded", "phase": "delete", "dryRun": r.dry, "minAge": "2h0m0s", "totalBlobs": 40, "totalBytes": 40 << 20, "totalRepositories": 30,
		"candidates": []map[string]any{{"digest": id("1"), "size": 1 << 20}, {"digest": id("2"), "size": 512}}, "candidateCount": r.candidates,
		"candidateBytes": 1<<20 + 512, "links": 5, "repositories": 1, "repositoryNames": []string{"gone/app"},
	}
	if !r.dry {
		for key, value := range map[string]any{"deletedBlobs": r.candidates, "deletedLinks": 5, "deletedRepositories": 1, "freedBytes": 1<<20 + 512} {
			report[key] = value
		}
	}
	if r.failed != "" {
		report["state"], report["phase"], report["message"] = "Failed", r.phase, r.failed
	}
	_ = json.NewEncoder(w).Encode(report)
}

func (r *collectingRegistry) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.log)
}

// flags are the settings of a connection to the registry.
func (r *collectingRegistry) flags(t *testing.T) options.Registry {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("secret-token"), 0o600); err != nil {
		t.Fatal(err)
	}
	return options.Registry{RegistryURL: r.URL, TokenFile: path}
}

// withLayers lets the stream app answer what it contains: the images with the letters, all with layer 9.
func withLayers(fake *imagefake.Clientset, letters ...string) {
	fake.PrependReactor("get", "imagestreams", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.GetSubresource() != "layers" {
			return false, nil, nil
		}
		layers := &imagev1.ImageStreamLayers{Images: map[string]imagev1.ImageBlobReferences{}}
		for _, letter := range letters {
			layers.Images[id(letter)] = imagev1.ImageBlobReferences{Layers: []string{id("9")}}
		}
		return true, layers, nil
	})
}

func pruning(t *testing.T, registry *collectingRegistry, change func(*options.Options)) *fixture {
	t.Helper()
	f := newFixture(t, func(o *options.Options) {
		o.Confirm, o.PruneRegistry, o.Registry, o.NumWorkers = true, true, registry.flags(t), 1
		change(o)
	})
	withLayers(f.image, "a", "b")
	return f
}

// Behaviours 35 and 38: stream, manifests, blobs, images, collection, in this order, and nothing but links
// is deleted in the registry. d has a layer of its own.
func TestPruneRegistry(t *testing.T) {
	registry := newRegistry(t)
	f := pruning(t, registry, func(*options.Options) {})
	d := image("d")
	d.DockerImageLayers = append(d.DockerImageLayers, imagev1.ImageLayer{Name: id("8")})
	if err := f.image.Tracker().Update(imagev1.SchemeGroupVersion.WithResource("images"), d, ""); err != nil {
		t.Fatal(err)
	}
	var order []string
	registry.seen = func(line string) { order = append(order, line) }
	f.image.PrependReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if verb := action.GetVerb(); verb == "update" || verb == "delete" {
			registry.mu.Lock()
			order = append(order, verb+" "+action.GetResource().Resource)
			registry.mu.Unlock()
		}
		return false, nil, nil
	})
	if code := f.code(); code != 0 {
		t.Fatalf("exit %d: %s", code, f.errors.String())
	}
	want := "GET /healthz, GET /v2/, update imagestreams, DELETE manifests/sha256:c, DELETE manifests/sha256:d, DELETE blobs/sha256:8, " +
		"delete images, delete images, delete images, POST /admin/gc, GET /admin/gc/c1, POST /admin/gc, GET /admin/gc/c1"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("order\n%s\nwant\n%s", got, want)
	}
	for _, line := range []string{
		"deleted\tmanifest-link\tns/app@" + id("c") + "\treason=no image of the stream needs it",
		"deleted\tlayer-link\tns/app@" + id("8") + "\t",
		"deleted\tblob\t" + id("1") + "\tsize=1048576",
		"Summary: deleted 3 images, 2 tag revisions, updated 1 image streams, 1 layer links, 2 manifest links, 2 blobs (1.0MiB)",
	} {
		if !strings.Contains(f.out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, f.out.String())
		}
	}
	if !strings.Contains(string(f.last), `"blobsDeleted":2,"bytesReclaimed":1049088`) || strings.Contains(string(f.last)+f.out.String()+f.errors.String(), "secret-token") {
		t.Errorf("termination message %s", f.last)
	}
}

// Behaviours 7 and 42: a dry run names the same links and does not contact the registry; without
// --prune-registry nobody does.
func TestRegistryIsLeftOut(t *testing.T) {
	registry := newRegistry(t)
	f := pruning(t, registry, func(o *options.Options) { o.Confirm = false })
	withLayers(f.image, "a", "b", "c", "d")
	if code := f.code(); code != 0 || len(registry.requests()) != 0 || !strings.Contains(f.out.String(), "would-delete\tmanifest-link\tns/app@"+id("d")) {
		t.Errorf("dry run: exit %d, requests %v\n%s", code, registry.requests(), f.out.String())
	}
	registry.Close()
	f = pruning(t, registry, func(o *options.Options) { o.PruneRegistry = false })
	if code := f.code(); code != 0 {
		t.Errorf("unreachable and not needed: exit %d", code)
	}
	f = pruning(t, registry, func(o *options.Options) { o.Retries = 1 })
	if code := f.code(); code != 5 || len(f.changes()) != 0 || f.out.Len() != 0 {
		t.Errorf("unreachable and needed: exit %d, changes %v, printed %q", code, f.changes(), f.out.String())
	}
}

// Behaviours 30, 43, 54 and 56: what keeps the registry part small, and what its failures leave behind.
func TestPruneRegistryFailures(t *testing.T) {
	for name, test := range map[string]struct {
		options  func(*options.Options)
		registry func(*collectingRegistry)
		cluster  func(*fixture)
		code     int
		// deletions and posts are how many requests the registry gets, images how many Images go.
		deletions, posts, images int
		text                     string
	}{
		"one namespace": {options: func(o *options.Options) { o.Namespace = "ns" }, code: 0, deletions: 2},
		"update forbidden": {
			cluster: func(f *fixture) {
				f.image.PrependReactor("update", "imagestreams", func(clienttesting.Action) (bool, runtime.Object, error) {
					return true, nil, fmt.Errorf("no")
				})
			}, code: 1, posts: 2, images: 1,
		},
		"read-only": {
			registry: func(r *collectingRegistry) { r.deletion, r.message = 405, "the registry is in read-only mode" },
			code:     1, deletions: 1, images: 3, text: "the registry is read-only",
		},
		"no right":  {registry: func(r *collectingRegistry) { r.deletion = 403 }, code: 1, deletions: 1, images: 3, text: "403"},
		"in use":    {registry: func(r *collectingRegistry) { r.deletion = 405 }, code: 0, deletions: 2, posts: 2, images: 3},
		"too old":   {registry: func(r *collectingRegistry) { r.post = 404 }, code: 1, deletions: 2, posts: 1, images: 3, text: "/admin/gc"},
		"refused":   {registry: func(r *collectingRegistry) { r.candidates = 30 }, code: 1, deletions: 2, posts: 1, images: 3, text: "30 of 40 blobs"},
		"no longer": {registry: func(r *collectingRegistry) { r.failed, r.phase = "disk full", "blobs" }, code: 1, deletions: 2, posts: 1, images: 3, text: "disk full"},
		"blocked": {
			cluster: func(f *fixture) {
				_ = f.image.Tracker().Add(&imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Annotations: map[string]string{imageregistryv1.BlockGCAnnotation: "true"}}})
			}, code: 1, deletions: 2, images: 3, text: "block-gc",
		},
	} {
		t.Run(name, func(t *testing.T) {
			registry := newRegistry(t)
			if test.registry != nil {
				test.registry(registry)
			}
			f := pruning(t, registry, func(o *options.Options) {
				if test.options != nil {
					test.options(o)
				}
			})
			if test.cluster != nil {
				test.cluster(f)
			}
			err := f.attempts(context.Background())
			code := exitCode(context.Background(), err)
			count := func(lines []string, prefix string) int {
				return len(slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, prefix) }))
			}
			deletions, posts := count(registry.requests(), "DELETE "), count(registry.requests(), "POST ")
			if images := count(f.changes(), "delete "); code != test.code || deletions != test.deletions || posts != test.posts || images != test.images {
				t.Errorf("exit %d (%v), %d deletions, %d posts, %d images deleted; want %d, %d, %d, %d", code, err, deletions, posts, images, test.code, test.deletions, test.posts, test.images)
			}
			if text := f.out.String() + fmt.Sprint(err); !strings.Contains(text, test.text) {
				t.Errorf("%q is missing in\n%s", test.text, text)
			}
		})
	}
}

func collecting(t *testing.T, registry *collectingRegistry, change func(*options.GC), objects ...runtime.Object) (code int, stdout, stderr string) {
	t.Helper()
	if objects == nil {
		objects = []runtime.Object{image("a")}
	}
	opts := options.GCDefaults()
	opts.Registry = registry.flags(t)
	change(&opts)
	if err := opts.Validate(); err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	g := &gcRun{GC: opts, clients: clients{image: imagefake.NewClientset(objects...), config: &rest.Config{}}, clock: steppingClock{clocktesting.NewFakeClock(now)}, stdout: &out, stderr: &problems}
	err := g.run(t.Context())
	if err != nil {
		problems.WriteString(err.Error())
	}
	return exitCode(t.Context(), err), out.String(), problems.String()
}

// Behaviours 8 and 51: a dry run by default, a real one on request, in every format.
func TestGCReports(t *testing.T) {
	for _, format := range []string{"text", "json", "yaml", "jsonl"} {
		for _, confirmed := range []bool{false, true} {
			registry := newRegistry(t)
			code, stdout, stderr := collecting(t, registry, func(o *options.GC) { o.Output, o.Confirm = format, confirmed })
			name, posts := "gc-dry-run."+format, 1
			if confirmed {
				name, posts = "gc."+format, 2
			}
			if code != 0 || strings.HasPrefix(stderr, "Dry run") == confirmed {
				t.Errorf("%s: exit %d, stderr %q", name, code, stderr)
			}
			got := slices.DeleteFunc(registry.requests(), func(line string) bool {
				return !strings.HasPrefix(line, "POST ") && !strings.HasPrefix(line, "DELETE ")
			})
			if len(got) != posts {
				t.Errorf("%s: requests %v, want %d", name, got, posts)
			}
			golden(t, name, stdout)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// Behaviours 9, 51, 54, 55 and 56.
func TestGCExitCodes(t *testing.T) {
	blocked := &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster", Annotations: map[string]string{imageregistryv1.BlockGCAnnotation: "true"}}}
	incomplete := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id("f")}}
	real := func(o *options.GC) { o.Confirm = true }
	for name, test := range map[string]struct {
		change   func(*options.GC)
		registry func(*collectingRegistry)
		objects  []runtime.Object
		code     int
		posts    int
		text     string
	}{
		"incomplete Image":      {change: real, objects: []runtime.Object{image("a"), incomplete}, code: 4, text: "is incomplete"},
		"no Image":              {change: real, objects: []runtime.Object{}, code: 4, text: "--allow-empty-metadata"},
		"no Image, allowed":     {change: func(o *options.GC) { o.AllowEmptyMetadata = true }, objects: []runtime.Object{}, code: 0, posts: 1},
		"blocked":               {change: real, objects: []runtime.Object{image("a"), blocked}, code: 4, text: "block-gc"},
		"too much":              {change: real, registry: func(r *collectingRegistry) { r.candidates = 30 }, code: 4, posts: 1, text: "30 of 40 blobs"},
		"too much, only asked":  {change: func(*options.GC) {}, registry: func(r *collectingRegistry) { r.candidates = 30 }, code: 0, posts: 1},
		"more was allowed":      {change: func(o *options.GC) { o.Confirm, o.MaxDeletePercent = true, 75 }, registry: func(r *collectingRegistry) { r.candidates = 30 }, code: 0, posts: 2},
		"guard of the registry": {change: real, registry: func(r *collectingRegistry) { r.failed, r.phase = "an Image lacks a manifest", "metadata" }, code: 4, posts: 1, text: "an Image lacks a manifest"},
		"no right":              {change: real, registry: func(r *collectingRegistry) { r.post = 403 }, code: 4, posts: 1, text: "system:image-pruner"},
		"too old":               {change: real, registry: func(r *collectingRegistry) { r.post = 404 }, code: 5, posts: 1, text: "/admin/gc"},
		"read-only":             {change: real, registry: func(r *collectingRegistry) { r.post, r.message = 405, "the registry is in read-only mode" }, code: 5, posts: 2, text: "read-only"},
		"read-only, dry run":    {change: func(*options.GC) {}, registry: func(r *collectingRegistry) { r.post, r.message = 405, "the registry is in read-only mode" }, code: 0, posts: 1},
		"fails":                 {change: real, registry: func(r *collectingRegistry) { r.failed, r.phase = "disk full", "blobs" }, code: 1, posts: 1, text: "disk full"},
		"interrupted twice":     {change: real, registry: func(r *collectingRegistry) { r.failed, r.phase = "interrupted", "blobs" }, code: 1, posts: 2, text: "interrupted"},
		"not ready":             {change: real, registry: func(r *collectingRegistry) { r.post = 503 }, code: 1, posts: 4, text: "503"},
		"not there":             {change: real, registry: func(r *collectingRegistry) { r.Close() }, code: 5, text: "connection refused"},
		"no token":              {change: func(o *options.GC) { o.TokenFile = "" }, code: 2, text: "--as-service-account"},
	} {
		t.Run(name, func(t *testing.T) {
			registry := newRegistry(t)
			if test.registry != nil {
				test.registry(registry)
			}
			code, stdout, stderr := collecting(t, registry, test.change, test.objects...)
			posts := slices.DeleteFunc(registry.requests(), func(line string) bool { return !strings.HasPrefix(line, "POST ") })
			if code != test.code || len(posts) != test.posts || !strings.Contains(stderr, test.text) {
				t.Errorf("exit %d, %d posts, want %d and %d; %q in\n%s%s", code, len(posts), test.code, test.posts, test.text, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "secret-token") {
				t.Errorf("the token was printed:\n%s%s", stdout, stderr)
			}
		})
	}
}
