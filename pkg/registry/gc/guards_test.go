package gc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Behaviour 84: every guard ends the run before anything is deleted.
func TestGuards(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(w *world)
		want    GuardName
	}{
		{"no Image, but blobs", func(w *world) {
			raw, _ := w.image(app, "of another cluster", nil)
			w.put(app, raw)
			w.stream(app)
		}, GuardEmpty},
		{"more than the percentage", func(w *world) {
			furnish(w)
			for i := range 60 {
				w.bytes(fmt.Sprint("garbage ", i))
			}
			w.options.MaxPercent = 50
		}, GuardPercent},
		{"an Image that says nothing", func(w *world) {
			furnish(w)
			w.api.AddImage(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: w.bytes("?").Digest.String()}})
		}, GuardUnknown},
		{"an Image whose metadata is damaged", func(w *world) {
			furnish(w)
			image := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: w.bytes("?").Digest.String()}}
			image.DockerImageMetadata.Raw = []byte(`{"Id":7}`)
			w.api.AddImage(image)
		}, GuardUnknown},
		{"an Image without a digest as its name", func(w *world) {
			furnish(w)
			w.api.AddImage(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: "something"}})
		}, GuardUnknown},
		{"a damaged manifest that only the storage knows", func(w *world) {
			furnish(w)
			raw, _ := w.image(app, "damaged", nil)
			d := w.put(app, raw)
			w.stream(app, d)
			w.must(os.WriteFile(filepath.Join(w.directory, storageRoot, "blobs/sha256", d.Encoded()[:2], d.Encoded(), "data"), []byte("{}"), 0o600))
		}, GuardUnknown},
		{"blocked by an annotation", func(w *world) {
			furnish(w)
			w.api.SetRegistryConfig(&imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{
				Name: "cluster", Annotations: map[string]string{imageregistryv1.BlockGCAnnotation: "true"},
			}})
		}, GuardBlocked},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.prepare(w)
			w.age()
			before := w.files()
			report, err := w.collect()
			var guard *Guard
			if !errors.As(err, &guard) || guard.Name != test.want || report.State != StateFailed || report.Message == "" {
				t.Errorf("%v; want the guard %s; %+v", err, test.want, report)
			}
			if !maps.Equal(before, w.files()) {
				t.Error("files have changed")
			}
		})
	}
}

// An empty list of Images is the truth when the caller says so.
func TestEmptyMetadataCanBeAllowed(t *testing.T) {
	w := newWorld(t)
	w.bytes("garbage")
	w.age()
	w.options.AllowEmptyMetadata = true
	if report := w.mustCollect(); report.DeletedBlobs != 1 {
		t.Errorf("%+v", report)
	}
}

// small stores one of each way in which something is kept or goes.
func small(w *world) {
	subjectRaw, subject := w.image(app, "subject", nil)
	child, childDescriptor := w.image(app, "child without Image", nil)
	index, _ := w.index(childDescriptor)
	w.put(app, child)
	referrer, _ := w.image(app, "referrer without Image", &subject)
	w.put(app, referrer)
	for _, raw := range []string{subjectRaw, index} {
		w.record(raw)
	}
	w.stream(app, w.put(app, subjectRaw), w.put(app, index))
	unused, _ := w.image(app, "unused", nil)
	w.put(app, unused)
	gone := route.Name{Namespace: "team", Stream: "gone"}
	raw, _ := w.image(gone, "of a gone stream", nil)
	w.put(gone, raw)
}

// Behaviour 84: whichever single read fails, of API, storage or marker, the run ends with
// that error and removes nothing more.
func TestNothingIsDeletedAfterAReadError(t *testing.T) {
	master := newWorld(t)
	small(master)
	touched := master.bytes("touched").Digest
	master.must(master.store.PutLink(t.Context(), app, store.Layers, touched, touched))
	master.age()
	if _, err := master.store.Rely(t.Context(), touched); err != nil {
		t.Fatal(err)
	}
	total := 0
	for at := 0; at <= total; at++ { // 0 fails nothing and counts
		w := master.clone()
		w.driver.failAt = at
		if at%2 == 1 { // and the announcement cannot be taken back either
			w.driver.cannot = func(path string) bool { return w.driver.failed && strings.Contains(path, "/_gc/") }
		}
		_, err := w.collect()
		if at == 0 {
			master.must(err)
			total = w.driver.reads
			continue
		}
		if err == nil || !strings.Contains(err.Error(), errBroken.Error()) {
			t.Fatalf("read %d of %d: %v", at, total, err)
		}
		for _, path := range w.driver.removals {
			if !strings.Contains(path, "/_gc/deleting/") && !strings.Contains(path, "/_gc/unlinking/") { // an announcement that is taken back
				t.Fatalf("read %d of %d failed, and %s was removed after it", at, total, path)
			}
		}
	}
	t.Logf("%d reads", total)
	if total < 150 {
		t.Errorf("only %d reads were made to fail", total)
	}
}

// Behaviour 84: a list that lacks damaged objects is refused, and so is one whose
// continuation expired.
func TestIncompleteLists(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		guard  bool
	}{
		{"a warning on the second page", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("continue") == "" {
				fmt.Fprint(w, `{"apiVersion":"image.alauda.io/v1","metadata":{"continue":"more"},"items":[]}`)
				return
			}
			w.Header().Set("Warning", fmt.Sprintf("299 - %q", imagev1.WarningIncompleteList))
			fmt.Fprint(w, `{"apiVersion":"image.alauda.io/v1","metadata":{},"items":[]}`)
		}, true},
		{"an expired continuation", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("continue") == "" {
				fmt.Fprint(w, `{"apiVersion":"image.alauda.io/v1","metadata":{"continue":"more"},"items":[]}`)
				return
			}
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
		}, false},
		{"no permission", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		}, false},
		{"no image API", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404 page not found", http.StatusNotFound) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				test.answer(w, r)
			}))
			defer server.Close()
			metadata, err := NewKubeMetadata(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			lists := map[string]func(context.Context) error{
				"images": func(ctx context.Context) error {
					return metadata.ImagePages(ctx, func([]imagev1.Image) error { return nil })
				},
				"streams": func(ctx context.Context) error {
					return metadata.StreamPages(ctx, func([]imagev1.ImageStream) error { return nil })
				},
			}
			for name, list := range lists {
				err := list(t.Context())
				var guard *Guard
				if err == nil || errors.As(err, &guard) != test.guard {
					t.Errorf("%s: %v, want a guard: %t", name, err, test.guard)
				}
			}
		})
	}
}

// Without the operator nothing blocks a collection.
func TestNoConfigIsNoBlock(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	metadata, err := NewKubeMetadata(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if config, err := metadata.RegistryConfig(t.Context()); config != nil || err != nil {
		t.Errorf("%v, %v", config, err)
	}
}

// The report is the JSON that clients know.
func TestReport(t *testing.T) {
	w := newWorld(t)
	furnish(w)
	w.age()
	w.options.ID, w.options.DryRun = "one", true
	var phases []string
	collector := &Collector{Store: w.store, Metadata: w.api, Log: zap.NewNop()}
	report, err := collector.Run(t.Context(), w.options, func(r Report) { phases = append(phases, string(r.Phase)) })
	if err != nil || strings.Join(phases, " ") != "metadata blobs repositories" || report.ID != "one" || report.CompletionTime == nil {
		t.Errorf("%v, %v, %+v", phases, err, report)
	}
	if text, err := report.MinAge.MarshalJSON(); err != nil || string(text) != `"24h0m0s"` {
		t.Errorf("%s, %v", text, err)
	}
}
