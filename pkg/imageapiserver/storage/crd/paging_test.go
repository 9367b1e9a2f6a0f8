package crd_test

import (
	"fmt"
	"net/http"
	"testing"

	"k8s.io/apiserver/pkg/storage"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Clients that come back after a broken watch list from the version that they have seen, and name no
// limit.
func TestListsFromAVersionAreReadPageByPage(t *testing.T) {
	var queries []string
	store := imageStore(t, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		queries = append(queries, fmt.Sprintf("limit=%s resourceVersion=%s continue=%s", query.Get("limit"), query.Get("resourceVersion"), query.Get("continue")))
		next, name := "more", "app"
		if query.Get("continue") != "" {
			next, name = "", "other"
		}
		answer(t, w, http.StatusOK, map[string]any{
			"metadata": map[string]any{"resourceVersion": "9", "continue": next}, "items": []any{record(name, image(name))},
		})
	})
	options := storage.ListOptions{Recursive: true, Predicate: storage.Everything, ResourceVersion: "7"}
	list := &imageapi.ImageList{}
	if err := store.GetList(t.Context(), "/images", options, list); err != nil || len(list.Items) != 2 || list.ResourceVersion != "9" {
		t.Errorf("%d items of version %s, error %v, want 2 of version 9", len(list.Items), list.ResourceVersion, err)
	}
	if got, want := fmt.Sprint(queries), "[limit=500 resourceVersion= continue= limit=500 resourceVersion= continue=more]"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	options.ResourceVersion = "10"
	if err := store.GetList(t.Context(), "/images", options, &imageapi.ImageList{}); !storage.IsTooLargeResourceVersion(err) {
		t.Errorf("a version that does not exist yet gave %v, want too large", err)
	}
}
