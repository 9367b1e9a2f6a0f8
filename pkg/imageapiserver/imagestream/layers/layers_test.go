package layers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
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
	r[digest(word)] = &Record{Name: digest(word), Created: created, Managed: true, MediaType: manifest.OCIManifest, ConfigID: digest(word + " config"), Layers: []imageapi.ImageLayer{{Name: digest(word + " layer"), LayerSize: 5, MediaType: "layer"}}}
}

func (r records) index(word string, created time.Time, children ...string) {
	record := &Record{Name: digest(word), Created: created, Managed: true, MediaType: manifest.OCIIndex, ConfigID: digest(word)}
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
	index.image("late", start.Add(time.Second))
	index.image("just", start)
	index.image("bare", start.Add(-time.Hour))
	index[digest("bare")].Managed = false
	index.index("inner", start, "early")
	index.index("list", start, "inner", "late", "just", "bare", "sparse")

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
		"just": "local", "late": "foreign", "gone": "missing",
		"bare":   "foreign", // imported by somebody: its bytes never came
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

// Behaviour 32.
func TestProof(t *testing.T) {
	index := records{}
	index.image("old", start.Add(-time.Hour))
	index.image("now", start)
	index.image("ahead", start.Add(2*time.Second))
	index.image("far-ahead", start.Add(time.Hour))
	index.image("imported", start.Add(-time.Hour))
	index[digest("imported")].Managed = false
	index.index("inner", start, "old", "absent")
	tests := map[string]time.Duration{
		"":              0,
		"old now":       0,
		"old ahead":     2 * time.Second,
		"old far-ahead": 0,
		"old absent":    -sparseMargin,
		"old imported":  -sparseMargin,
		"old inner":     -sparseMargin,
	}
	for children, want := range tests {
		var digests []string
		for _, word := range strings.Fields(children) {
			digests = append(digests, digest(word))
		}
		got, err := Proof(t.Context(), index, start, digest("list"), digests)
		if err != nil || got.Sub(start) != want {
			t.Errorf("children %q: %s after now, %v; want %s", children, got.Sub(start), err, want)
		}
	}
	if got, err := Proof(t.Context(), broken{}, start, digest("list"), []string{digest("old")}); err != nil || got.Sub(start) != -sparseMargin {
		t.Errorf("while nothing is known: %s after now, %v", got.Sub(start), err)
	}
}

// Whoever pushes an index again and again until somebody else brings a child
// gets nothing: no event is as young as the child. Behaviour 32.
func TestPushingAnIndexAgainDoesNotWaitForAChild(t *testing.T) {
	const own = "registry.example.com/team-a/app"
	hosts := repository.Hosts{External: []string{"registry.example.com"}}
	for _, offset := range []time.Duration{0, 300 * time.Millisecond, time.Second} {
		index := records{}
		index.index("list", start, "victim")
		stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "app"}}
		stream.Status.Tags = map[string]imageapi.TagEventList{}
		brought := start.Add(10 * time.Second)
		for i, at := 0, start; !at.After(brought.Add(-offset)); i, at = i+1, at.Add(500*time.Millisecond) {
			proven, err := Proof(t.Context(), index, at, digest("list"), []string{digest("victim")})
			if err != nil {
				t.Fatal(err)
			}
			list := stream.Status.Tags["v"]
			list.Items = append([]imageapi.TagEvent{event("list", own, proven.Truncate(time.Second))}, list.Items...)
			stream.Status.Tags["v"] = list
		}
		index.image("victim", brought.Truncate(time.Second))
		got, err := Compute(t.Context(), index, stream, hosts)
		if err != nil {
			t.Fatal(err)
		}
		if got.Images[digest("victim")].Local {
			t.Errorf("pushed %s before it: the child of another tenant is local", offset)
		}
	}
}

func TestRecord(t *testing.T) {
	image := &imageapi.Image{}
	image.CreationTimestamp = metav1.NewTime(start)
	image.Annotations = map[string]string{"alauda.io/image.managed": "true", "image.alauda.io/managedTime": "2026-01-02T04:00:00Z"}
	image.DockerImageLayers = []imageapi.ImageLayer{
		{Name: digest("base"), MediaType: manifest.DockerForeignLayer},
		{Name: digest("other base"), MediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
		{Name: digest("own"), MediaType: "application/vnd.oci.image.layer.v1.tar"},
	}
	record := NewRecord(image)
	if len(record.Layers) != 1 || record.Layers[0].Name != digest("own") {
		t.Errorf("layers kept elsewhere are served: %+v", record.Layers)
	}
	if !record.Managed || record.Created.Format(time.RFC3339) != "2026-01-02T04:00:00Z" {
		t.Errorf("record is %+v, want the time at which the bytes came", record)
	}
	image.Annotations = map[string]string{"image.alauda.io/managedTime": "yesterday"}
	if record := NewRecord(image); record.Managed || !record.Created.Equal(start) {
		t.Errorf("record is %+v", record)
	}
}

// Whoever may push decides how many indexes name how many children.
func TestIndexesOfTheSameChildrenTakeNoMemoryOfTheirOwn(t *testing.T) {
	const indexes, children = 250, 3500
	stored, stream := records{}, &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "app"}}
	var names []string
	for i := range children {
		names = append(names, fmt.Sprintf("child %d", i))
	}
	list := imageapi.TagEventList{}
	stored.index("0", start, names...)
	for i := range indexes {
		copied := *stored[digest("0")]
		copied.Name = digest(fmt.Sprint(i))
		stored[copied.Name] = &copied
		list.Items = append(list.Items, event(fmt.Sprint(i), "registry.example.com/team-a/app", start))
	}
	stream.Status.Tags = map[string]imageapi.TagEventList{"v1": list}
	hosts := repository.Hosts{External: []string{"registry.example.com"}}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	result, err := Compute(t.Context(), stored, stream, hosts)
	runtime.ReadMemStats(&after)
	if err != nil || len(result.Images) != indexes+children {
		t.Fatalf("%v, %d images", err, len(result.Images))
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > indexes*children*16 {
		t.Errorf("%d bytes for %d references", allocated, indexes*children)
	}

	for i := indexes; i*children <= MaxReferences; i++ {
		copied := *stored[digest("0")]
		copied.Name = digest(fmt.Sprint(i))
		stored[copied.Name] = &copied
		list.Items = append(list.Items, event(fmt.Sprint(i), "registry.example.com/team-a/app", start))
	}
	stream.Status.Tags["v1"] = list
	if _, err := Compute(t.Context(), stored, stream, hosts); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d indexes: %v, want that this is too much", len(list.Items), err)
	}
}
