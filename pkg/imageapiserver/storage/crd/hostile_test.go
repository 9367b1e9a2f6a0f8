package crd_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/rest"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/pkg/imageapiserver/storage/crd"
)

// imageStore keeps images behind a handler that plays kube-apiserver.
func imageStore(t *testing.T, kubeAPIServer http.HandlerFunc) *crd.Store {
	t.Helper()
	server := httptest.NewServer(kubeAPIServer)
	t.Cleanup(server.Close)
	client, err := crd.NewClient(&rest.Config{Host: server.URL}, storagev1.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	compressor, err := compress.New(true)
	if err != nil {
		t.Fatal(err)
	}
	store, err := crd.New(crd.Config{
		Client: client, Records: storagev1.SchemeGroupVersion.WithResource("storedimages"), RecordKind: "StoredImage",
		Codec: codecs.Storage, Compressor: compressor, ResourcePrefix: "/images", NewFunc: func() runtime.Object { return &imageapi.Image{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// record is a stored image as kube-apiserver sends it.
func record(name, data string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name, "resourceVersion": "5", "annotations": map[string]string{"storage.image.alauda.io/name": name}},
		"spec":     storagev1.RecordSpec{Format: storagev1.FormatJSON, Size: int64(len(data)), Data: []byte(data)},
	}
}

func image(name string) string {
	return `{"apiVersion":"image.alauda.io/v1","kind":"Image","metadata":{"name":"` + name + `"}}`
}

func answer(t *testing.T, w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		t.Error(err)
	}
}

func TestLostRacesAreNotRepeatedWithoutPause(t *testing.T) {
	var writes atomic.Int64
	store := imageStore(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer(t, w, http.StatusOK, record("app", image("app")))
			return
		}
		writes.Add(1)
		answer(t, w, http.StatusConflict, metav1.Status{Status: metav1.StatusFailure, Code: http.StatusConflict, Reason: metav1.StatusReasonConflict})
	})
	relabel := func(obj runtime.Object, _ storage.ResponseMeta) (runtime.Object, *uint64, error) {
		obj.(*imageapi.Image).Labels = map[string]string{"a": "b"}
		return obj, nil, nil
	}
	validate := func(context.Context, runtime.Object) error { return nil }
	for name, write := range map[string]func(context.Context) error{
		"update": func(ctx context.Context) error {
			return store.GuaranteedUpdate(ctx, "/images/app", &imageapi.Image{}, false, nil, relabel, nil)
		},
		"delete": func(ctx context.Context) error {
			return store.Delete(ctx, "/images/app", &imageapi.Image{}, nil, validate, nil, storage.DeleteOptions{})
		},
	} {
		writes.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := write(ctx)
		cancel()
		if err == nil || writes.Load() < 3 || writes.Load() > 60 {
			t.Errorf("%s: %d writes in three seconds of conflicts, error %v, want 3 to 60 and an error", name, writes.Load(), err)
		}
	}
}

// What was damaged and is then deleted, as an administrator repairs it, does not stay with those who had read it
// before.
func TestDeletionOfADamagedRecordReachesWatchers(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	unnamed := func(name string) map[string]any {
		r := record(name, "{")
		r["metadata"].(map[string]any)["annotations"] = map[string]string{}
		return r
	}
	for name, test := range map[string]struct {
		deleted map[string]any
		want    string
	}{
		"with its name":         {record("app", "{"), "app"},
		"plain record name":     {unnamed("app"), "app"},
		"digest as record name": {unnamed(strings.Replace(digest, ":", "-", 1)), digest},
		"escaped record name":   {unnamed("x--c5n6"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			store := imageStore(t, func(w http.ResponseWriter, _ *http.Request) {
				answer(t, w, http.StatusOK, map[string]any{"type": watch.Modified, "object": test.deleted})
				answer(t, w, http.StatusOK, map[string]any{"type": watch.Deleted, "object": test.deleted})
			})
			events, err := store.Watch(t.Context(), "/images", storage.ListOptions{Recursive: true, ResourceVersion: "4", Predicate: storage.Everything})
			if err != nil {
				t.Fatal(err)
			}
			defer events.Stop()
			event := <-events.ResultChan()
			switch obj := event.Object.(type) {
			case *imageapi.Image:
				if event.Type != watch.Deleted || obj.Name != test.want || obj.ResourceVersion != "5" {
					t.Errorf("got %s of %q at version %s, want the deletion of %q at 5", event.Type, obj.Name, obj.ResourceVersion, test.want)
				}
			case *metav1.Status:
				if test.want != "" || obj.Reason != metav1.StatusReasonExpired {
					t.Errorf("got %+v, want the deletion of %q", obj, test.want)
				}
			default:
				t.Errorf("got %+v, want the deletion of %q", event, test.want)
			}
		})
	}
}
