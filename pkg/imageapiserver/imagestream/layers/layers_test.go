package layers

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/oci/manifest"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func digest(word string) string { return manifest.Canonical([]byte(word)).String() }

type records map[string]*Record

func (r records) Records(_ context.Context, digests []string) (map[string]*Record, error) {
	found := map[string]*Record{}
	for _, name := range digests {
		if record := r[name]; record != nil {
			found[name] = record
		}
	}
	return found, nil
}

func (r records) image(word string, created time.Time) {
	r[digest(word)] = &Record{Name: digest(word), Created: created, MediaType: manifest.OCIManifest, ConfigID: digest(word + " config"), Layers: []imageapi.ImageLayer{{Name: digest(word + " layer"), LayerSize: 5, MediaType: "layer"}}}
}

func (r records) index(word string, created time.Time, children ...string) {
	record := &Record{Name: digest(word), Created: created, MediaType: manifest.OCIIndex, ConfigID: digest(word)}
	for _, child := range children {
		record.Children = append(record.Children, digest(child))
	}
	r[digest(word)] = record
}

func event(word, reference string, created time.Time) imageapi.TagEvent {
	return imageapi.TagEvent{Image: digest(word), DockerImageReference: reference + "@" + digest(word), Created: metav1.NewTime(created)}
}

// Behaviour 32.
func TestCompute(t *testing.T) {
	index := records{}
	index.image("pushed", start)
	index.image("imported", start)
	index.image("early", start.Add(-time.Hour))
	index.image("late", start.Add(2*time.Minute))
	index.image("in-grace", start.Add(time.Minute))
	index.index("inner", start, "early")
	index.index("list", start, "inner", "late", "in-grace", "sparse")

	const own, foreign = "registry.example.com/team-a/app", "quay.io/org/app"
	stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "app"}}
	stream.Status.Tags = map[string]imageapi.TagEventList{
		"v1":   {Items: []imageapi.TagEvent{event("pushed", own, start), event("imported", foreign, start)}},
		"v2":   {Items: []imageapi.TagEvent{event("list", own, start), event("gone", foreign, start)}},
		"ref":  {Items: []imageapi.TagEvent{{DockerImageReference: own + ":v1"}}},
		"none": {},
	}
	got, err := Compute(t.Context(), index, stream, repository.Hosts{External: []string{"registry.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pushed": "local", "imported": "foreign", "list": "local", "inner": "local", "early": "local",
		"in-grace": "local", "late": "foreign", "gone": "missing",
		"sparse": "missing", // whoever brings its bytes later has not brought them here
	}
	for word, state := range want {
		entry, found := got.Images[digest(word)]
		if !found {
			t.Errorf("%s is not there", word)
			continue
		}
		if (state == "missing") != entry.ImageMissing || (state == "local") != entry.Local {
			t.Errorf("%s is %+v, want %s", word, entry, state)
		}
	}
	if len(got.Images) != len(want) {
		t.Errorf("%d images, want %d", len(got.Images), len(want))
	}
	if layer := got.Blobs[digest("pushed layer")]; layer.LayerSize == nil || *layer.LayerSize != 5 {
		t.Errorf("layer is %+v", layer)
	}
	if config := got.Images[digest("pushed")].Config; config == nil || got.Blobs[*config].MediaType != manifest.OCIConfig {
		t.Errorf("config is %v", config)
	}
	if got.Images[digest("list")].Config != nil || got.Blobs[digest("list")].MediaType != manifest.OCIIndex {
		t.Error("an index has a config or no media type")
	}
	if _, found := got.Blobs[digest("gone")]; found {
		t.Error("a missing image is a blob")
	}
}

func TestComputeEndsOnIndexesThatNameEachOther(t *testing.T) {
	index := records{}
	index.index("a", start, "b")
	index.index("b", start, "a")
	stream := &imageapi.ImageStream{}
	stream.Status.Tags = map[string]imageapi.TagEventList{"v": {Items: []imageapi.TagEvent{event("a", "quay.io/a/b", start)}}}
	got, err := Compute(t.Context(), index, stream, repository.Hosts{})
	if err != nil || len(got.Images) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}

type broken struct{}

func (broken) Records(context.Context, []string) (map[string]*Record, error) {
	return nil, fmt.Errorf("wait: %w", ErrNotSynced)
}

func TestComputeHandsErrorsOn(t *testing.T) {
	stream := &imageapi.ImageStream{}
	stream.Status.Tags = map[string]imageapi.TagEventList{"v": {Items: []imageapi.TagEvent{event("a", "quay.io/a/b", start)}}}
	if _, err := Compute(t.Context(), broken{}, stream, repository.Hosts{}); err == nil {
		t.Error("no error")
	}
}
