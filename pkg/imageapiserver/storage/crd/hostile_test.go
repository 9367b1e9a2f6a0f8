package crd_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := write(ctx)
		cancel()
		if err == nil || writes.Load() < 3 || writes.Load() > 30 {
			t.Errorf("%s: %d writes in a second of conflicts, error %v, want 3 to 30 and an error", name, writes.Load(), err)
		}
	}
}
