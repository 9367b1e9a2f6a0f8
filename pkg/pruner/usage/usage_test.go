package usage

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const old = 100 * 24 * time.Hour

const empty = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

type anyStream struct{}

func (anyStream) Has(references.Stream) (exists, local bool) { return true, false }

func (anyStream) Digests(references.Stream) []string { return nil }

func (anyStream) HasNamespace(string) bool { return true }

type world struct {
	*plan.Planner
	*Inventory
}

func newWorld() *world {
	w := &world{Inventory: NewInventory(), Planner: &plan.Planner{
		Settings: plan.Settings{KeepTagRevisions: 1, KeepYoungerThan: time.Hour, All: true, ReferenceGrace: 5 * time.Minute},
		Snapshot: &snapshot.Snapshot{Time: now, Images: map[string]snapshot.Image{}, Uses: references.NewIndex(anyStream{})},
		Lookup:   func(string) plan.Presence { return plan.Absent },
	}}
	w.Snapshot.Uses.RememberOrigins()
	return w
}

// image adds an old image of layers that are named by a digit n and have n MiB, and a config of 512 bytes.
func (w *world) image(letter string, layers ...string) *imagev1.Image {
	i := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id(letter), CreationTimestamp: metav1.NewTime(now.Add(-old)), Annotations: map[string]string{
		imagev1.ImageConfigDigestAnnotation: "sha256:" + strings.Repeat(letter, 62) + "00", imagev1.ImageManifestBlobStoredAnnotation: "true",
	}}}
	total := 512
	for _, name := range layers {
		layer := imagev1.ImageLayer{Name: name, LayerSize: 32}
		if len(name) == 1 {
			layer = imagev1.ImageLayer{Name: id(name), LayerSize: int64(name[0]-'0') << 20}
		}
		total += int(layer.LayerSize)
		i.DockerImageLayers = append(i.DockerImageLayers, layer)
	}
	i.DockerImageMetadata = runtime.RawExtension{Raw: fmt.Appendf(nil, `{"Size":%d}`, total)}
	return i
}

func (w *world) index(letter string, children ...string) *imagev1.Image {
	i := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id(letter), CreationTimestamp: metav1.NewTime(now.Add(-old)),
		Annotations: map[string]string{imagev1.ImageManifestBlobStoredAnnotation: "true"}}}
	for _, child := range children {
		i.DockerImageManifests = append(i.DockerImageManifests, imagev1.ImageManifest{Digest: id(child)})
	}
	return i
}

func (w *world) add(images ...*imagev1.Image) {
	for _, i := range images {
		w.Inventory.Add(i)
		w.Snapshot.Images[i.Name] = snapshot.ImageOf(i)
	}
}

// stream adds a stream; each tag is "name=letters", the newest revision first.
func (w *world) stream(name string, tags ...string) {
	s := snapshot.Stream{Namespace: "ns", Name: name, Created: now.Add(-old)}
	if strings.Contains(name, "/") {
		s.Namespace, s.Name, _ = strings.Cut(name, "/")
	}
	for _, text := range tags {
		name, letters, _ := strings.Cut(text, "=")
		tag := snapshot.Tag{Name: name}
		for _, letter := range letters {
			tag.Revisions = append(tag.Revisions, snapshot.Revision{Digest: id(string(letter)), Created: now.Add(-old)})
		}
		s.Tags = append(s.Tags, tag)
	}
	w.Snapshot.Streams = append(w.Snapshot.Streams, s)
}

func (w *world) pod(t *testing.T, name, controller string, change func(*corev1.Pod)) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name}, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	if controller != "" {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: controller, Controller: &yes}}
	}
	change(pod)
	if err := w.Snapshot.Uses.AddObject(pod, references.Ages{Cutoff: now.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// example has a base image a, two images upon it, an index of two platforms, history and strangers.
func example(t *testing.T) *world {
	w := newWorld()
	w.add(
		w.image("a", "1", "2", empty), w.image("b", "1", "2", "3"), w.image("c", "1", "2", "3", "4"),
		w.image("d", "5"), w.image("e", "6"), w.index("f", "d", "e"),
		&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id("7"), CreationTimestamp: metav1.NewTime(now.Add(-old))}},
	)
	w.stream("base", "v1=a", "latest=a")
	w.stream("app", "v1=cb", "old=b")
	w.stream("other/multi", "v1=fa", "v2=a")
	w.stream("history", "v1=ab")
	w.stream("empty")
	w.pod(t, "one", "web-1", func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Image: "h.x/ns/app:v1"}} })
	w.pod(t, "two", "web-1", func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Image: "h.x/ns/app:v1"}} })
	w.pod(t, "alone", "", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{ImageID: "h.x/other/multi@" + id("d")}}
	})
	return w
}

// Behaviour 65.
func TestTables(t *testing.T) {
	w := example(t)
	for _, format := range []string{"text", "wide", "json", "yaml"} {
		for _, namespace := range []string{"", "other"} {
			var images, streams bytes.Buffer
			if err := PrintImages(&images, NewImages(w.Planner, w.Inventory, namespace), format); err != nil {
				t.Fatal(err)
			}
			if err := PrintStreams(&streams, Streams(w.Planner, w.Inventory, namespace), format); err != nil {
				t.Fatal(err)
			}
			golden(t, "images"+suffix(namespace)+"."+format, images.String())
			golden(t, "streams"+suffix(namespace)+"."+format, streams.String())
		}
	}
}

func suffix(namespace string) string {
	if namespace == "" {
		return ""
	}
	return "-of-" + namespace
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: printed\n%s\nwant\n%s", file, got, want)
	}
}

// Behaviour 65.
func TestRowsOfImages(t *testing.T) {
	w := example(t)
	rows := map[string]Image{}
	images := NewImages(w.Planner, w.Inventory, "")
	for i := range images.Len() {
		rows[images.Row(i).Digest[7:8]] = images.Row(i)
	}
	check := func(letter, what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("image %s: %s %v, want %v", letter, what, got, want)
		}
	}
	check("a", "parents", rows["a"].Parents, []string(nil))
	check("b", "parents: the top of a is not its empty layer", rows["b"].Parents, []string{id("a")})
	check("c", "parents", rows["c"].Parents, []string{id("a"), id("b")})
	check("c", "usage by a tag and from an init container", rows["c"].Usage, []string{"ReplicaSet x/web-1"})
	check("b", "usage: the tag means another image", rows["b"].Usage, []string(nil))
	check("d", "usage by the running digest", rows["d"].Usage, []string{"Pod x/alone"})
	check("a", "storage", rows["a"].Storage, 3<<20+32+512)
	check("f", "storage of an index", rows["f"].Storage, 11<<20+2*512)
	check("7", "metadata", rows["7"].Metadata, false)
	check("f", "metadata", rows["f"].Metadata, true)
}

// Behaviour 65.
func TestReclaimableIsWhatThePlanFrees(t *testing.T) {
	w := newWorld()
	w.add(w.image("a", "1"), w.image("b", "1", "2"), w.image("c", "3"), w.image("d", "4"))
	w.stream("app", "v1=abcd")
	w.stream("other", "v1=c")
	w.pod(t, "user", "", func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Image: "h.x/ns/app@" + id("d")}} })
	row := Streams(w.Planner, w.Inventory, "")
	if row[0].Name != "other" || row[1].Name != "app" {
		t.Fatalf("rows %+v, want the larger storage first", row)
	}
	if app := row[1]; app.Reclaimable != 2<<20+512 || app.HistoryStorage != (2+3+4)<<20+3*512 || app.Storage != 1<<20+512 || app.Revisions != 4 {
		t.Errorf("row %+v, want what only the old, unused image holds to be reclaimable", app)
	}
}

// A base image of very many others does not make rows of megabytes.
func TestRowsAreBounded(t *testing.T) {
	w := newWorld()
	for i := range 3 * maxNamed {
		image := w.image("a", "1")
		image.Name = fmt.Sprintf("sha256:%064x", i)
		w.add(image)
	}
	row := NewImages(w.Planner, w.Inventory, "").Row(0)
	if len(row.Parents) != maxNamed || row.MoreParents != 2*maxNamed-1 {
		t.Errorf("%d parents and %d more, want %d and the rest", len(row.Parents), row.MoreParents, maxNamed)
	}
}

// Images come from anybody; nothing they say stops a report.
func TestOddImages(t *testing.T) {
	w := newWorld()
	a := w.image("a", "1")
	a.DockerImageLayers = append(a.DockerImageLayers, imagev1.ImageLayer{Name: "no digest", LayerSize: -5}, imagev1.ImageLayer{Name: "sha256:" + strings.Repeat("zz", 32)})
	b := w.image("b", "1", "2")
	b.DockerImageMetadata.Raw = []byte("[")
	c := w.image("c", "3", "1")
	c.Annotations[imagev1.DockerImageLayersOrderAnnotation] = imagev1.DockerImageLayersOrderDescending
	w.add(a, b, c, w.index("d", "d", "a"))
	w.stream("app", "v1=abcd")
	images := NewImages(w.Planner, w.Inventory, "")
	for i := range images.Len() {
		switch row := images.Row(i); row.Digest {
		case id("b"):
			if row.Storage != 3<<20 {
				t.Errorf("storage %d of an image whose metadata cannot be read, want its layers", row.Storage)
			}
		case id("c"):
			if content := w.Inventory.images[id("c")]; w.Inventory.sizes[content.top] != 3<<20 {
				t.Error("the top of layers in descending order is the first one")
			}
		}
	}
	Streams(w.Planner, w.Inventory, "")
	w.Inventory.Add(nil)
	if len(w.Inventory.images)+len(w.Inventory.sizes)+len(w.Inventory.numbers) != 0 {
		t.Error("a list that begins again leaves what was read before")
	}
}

func TestListsAreDocuments(t *testing.T) {
	for _, w := range []*world{newWorld(), example(t)} {
		for _, format := range []string{"json", "yaml"} {
			var out bytes.Buffer
			if err := PrintImages(&out, NewImages(w.Planner, w.Inventory, ""), format); err != nil {
				t.Fatal(err)
			}
			var document struct {
				APIVersion, Kind string
				Items            []Image
			}
			decode := json.Unmarshal
			if format == "yaml" {
				decode = func(text []byte, into any) error { return yaml.UnmarshalStrict(text, into) }
			}
			if err := decode(out.Bytes(), &document); err != nil || document.Kind != "ImageUsageList" || len(document.Items) != len(w.Snapshot.Images) {
				t.Errorf("%s of %d images: %d items, %v\n%s", format, len(w.Snapshot.Images), len(document.Items), err, out.String())
			}
		}
	}
}
