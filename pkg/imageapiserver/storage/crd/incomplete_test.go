package crd_test

import (
	"net/http"
	"testing"

	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/warning"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// warnings records what a client is told beside the answer.
type warnings []string

func (w *warnings) AddWarning(_, text string) { *w = append(*w, text) }

func TestClientsAreWarnedOfIncompleteLists(t *testing.T) {
	for damaged, want := range map[bool]int{true: 1, false: 0} {
		store := imageStore(t, func(w http.ResponseWriter, _ *http.Request) {
			second := record("other", image("other"))
			if damaged {
				second = record("other", "{")
			}
			answer(t, w, http.StatusOK, map[string]any{"metadata": map[string]any{"resourceVersion": "9"}, "items": []any{record("app", image("app")), second}})
		})
		var told warnings
		list := &imageapi.ImageList{}
		options := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
		if err := store.GetList(warning.WithWarningRecorder(t.Context(), &told), "/images", options, list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 2-want || len(told) != want || want == 1 && told[0] != imagev1.WarningIncompleteList {
			t.Errorf("damaged %t: %d items and warnings %q, want %d and %d", damaged, len(list.Items), told, 2-want, want)
		}
	}
}
