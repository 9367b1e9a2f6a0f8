package layerindex

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

// memory is an Image store with one page of one Image per list call.
type memory struct {
	listed  []imageapi.Image
	stored  map[string]*imageapi.Image
	events  *watch.FakeWatcher
	lookups chan string
}

func (m *memory) List(_ context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	list := &imageapi.ImageList{ListMeta: metav1.ListMeta{ResourceVersion: "5"}}
	first := 0
	if options.Continue == "1" {
		first = 1
	} else if len(m.listed) > 1 {
		list.Continue = "1"
	}
	list.Items = m.listed[first:min(first+1, len(m.listed))]
	return list, nil
}

func (m *memory) Watch(context.Context, *metainternalversion.ListOptions) (watch.Interface, error) {
	return m.events, nil
}

func (m *memory) Find(_ context.Context, name string) (*imageapi.Image, error) {
	select {
	case m.lookups <- name:
	default:
	}
	if found, ok := m.stored[name]; ok {
		return found, nil
	}
	return nil, apierrors.NewNotFound(imageapi.Resource("images"), name)
}

func image(name string, layerNames ...string) *imageapi.Image {
	result := &imageapi.Image{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "5"}}
	for _, layer := range layerNames {
		result.DockerImageLayers = append(result.DockerImageLayers, imageapi.ImageLayer{Name: layer, LayerSize: 1})
	}
	return result
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return condition(), nil
	})
	if err != nil {
		t.Fatalf("not within 10 s: %s", what)
	}
}

func TestIndexFollowsTheStore(t *testing.T) {
	store := &memory{listed: []imageapi.Image{*image("a", "l1"), *image("b", "l1", "l2")}, events: watch.NewFake()}
	index := New(store)
	if _, err := index.Records(t.Context(), []string{"a"}); !errors.Is(err, layers.ErrNotSynced) {
		t.Errorf("before the first list: error %v, want ErrNotSynced", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go index.Run(ctx)
	eventually(t, "both pages are indexed", func() bool { return index.HasSynced() && index.Len() == 2 })

	store.events.Add(image("c", "l3"))
	eventually(t, "an added Image is indexed", func() bool { return index.Len() == 3 })
	store.events.Modify(image("a", "l1", "l4"))
	store.events.Delete(image("b"))
	eventually(t, "a deleted Image is gone", func() bool { return index.Len() == 2 })

	records, err := index.Records(t.Context(), []string{"a", "b", "c"})
	if err != nil || len(records) != 2 || len(records["a"].Layers) != 2 || records["c"].Layers[0].Name != "l3" {
		t.Errorf("records %v, error %v", records, err)
	}
}

func TestUnknownDigestsAreLookedUpWithABound(t *testing.T) {
	store := &memory{
		events: watch.NewFake(), lookups: make(chan string, 1000),
		stored: map[string]*imageapi.Image{"new": image("new", "l1")},
	}
	index := New(store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go index.Run(ctx)
	eventually(t, "the empty list is complete", index.HasSynced)

	digests := []string{"new"}
	for n := range 2 * maxLookups {
		digests = append(digests, "missing-"+string(rune('a'+n)))
	}
	records, err := index.Records(t.Context(), digests)
	if err != nil || len(records) != 1 || records["new"] == nil {
		t.Errorf("records %v, error %v: want the new Image only", records, err)
	}
	if got := len(store.lookups); got != maxLookups {
		t.Errorf("%d lookups, want %d", got, maxLookups)
	}
}
