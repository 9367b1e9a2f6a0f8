package links

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	imagev1 "image.alauda.io/api/image/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/graph"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/pruner/report"
)

func id(name string) string { return "sha256:" + strings.Repeat(name, 64) }

// world has the index a with the children b and c, the image d with the referrer e, and the image f. Layer
// 1 is shared by b and d; 2 is c's, 3 d's, 4 e's, 5 f's; 0 is the config of all.
func world() (*graph.Graph, map[string][]string) {
	return graph.New([]graph.Image{
		{Digest: id("a"), Children: []string{id("b"), id("c")}}, {Digest: id("b")}, {Digest: id("c")},
		{Digest: id("d")}, {Digest: id("e"), Subject: id("d")}, {Digest: id("f")},
	}), map[string][]string{"a": nil, "b": {"1"}, "c": {"2"}, "d": {"1", "3"}, "e": {"4"}, "f": {"5"}}
}

type fakeRegistry struct {
	mu       sync.Mutex
	requests []string
	answer   func(path string) (registry.Outcome, error)
	stopped  error
}

func (f *fakeRegistry) send(kind, repository, digest string) (registry.Outcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := kind + repository + ":" + digest[7:8]
	f.requests = append(f.requests, path)
	if f.answer == nil {
		return registry.Done, nil
	}
	return f.answer(path)
}

// DeleteManifest implements Registry.
func (f *fakeRegistry) DeleteManifest(_ context.Context, repository, digest string) (registry.Outcome, error) {
	return f.send("m ", repository, digest)
}

// DeleteBlob implements Registry.
func (f *fakeRegistry) DeleteBlob(_ context.Context, repository, digest string) (registry.Outcome, error) {
	return f.send("b ", repository, digest)
}

// Stopped implements Registry.
func (f *fakeRegistry) Stopped() error { f.mu.Lock(); defer f.mu.Unlock(); return f.stopped }

// Address implements Registry.
func (f *fakeRegistry) Address() string { return "https://registry.test" }

// client knows the images of the world, and says that the streams contain the given ones.
func client(streams map[string][]string) *imagefake.Clientset {
	relations, layers := world()
	fake := imagefake.NewClientset()
	for name, blobs := range layers {
		image := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id(name)}}
		for _, blob := range blobs {
			image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{Name: id(blob)})
		}
		if len(relations.Children(id(name))) == 0 {
			image.Annotations = map[string]string{imagev1.ImageConfigDigestAnnotation: id("0")}
		}
		_ = fake.Tracker().Add(image)
	}
	fake.PrependReactor("get", "imagestreams", func(action clienttesting.Action) (bool, runtime.Object, error) {
		listed, found := streams[action.(clienttesting.GetAction).GetName()]
		if action.GetSubresource() != "layers" || !found {
			return true, nil, apierrors.NewNotFound(imagev1.Resource("imagestreams"), "x")
		}
		answer := &imagev1.ImageStreamLayers{Images: map[string]imagev1.ImageBlobReferences{}}
		for _, name := range listed {
			references := imagev1.ImageBlobReferences{Manifests: relations.Children(id(name))}
			for _, blob := range layers[name] {
				references.Layers = append(references.Layers, id(blob))
			}
			if config := id("0"); len(references.Manifests) == 0 {
				references.Config = &config
			}
			answer.Images[id(name)] = references
		}
		return true, answer, nil
	})
	return fake
}

func ids(names string) []string {
	var all []string
	for _, name := range strings.Split(names, "") {
		if name != "" {
			all = append(all, id(name))
		}
	}
	return all
}

func outline(items []report.Item) []string {
	var lines []string
	for _, item := range items {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s/%s %.1s", item.Action, item.Kind, item.Namespace, item.Name, strings.TrimPrefix(item.Digest, "sha256:"))))
	}
	return lines
}

// Behaviours 35 and 36: what a stream lost, without what it still leads to.
func TestWhatGoes(t *testing.T) {
	tests := []struct {
		name string
		// removed and listed by the run; now is what the stream contains by the time of the deletions.
		removed, listed, now string
		want                 []string
	}{
		{"index with its children, shared layers stay", "a", "d", "d", []string{"m ns/app:a", "m ns/app:b", "m ns/app:c", "b ns/app:2"}},
		{"child of a kept index", "b", "a", "abc", nil},
		{"image with its referrer", "d", "f", "f", []string{"m ns/app:d", "m ns/app:e", "b ns/app:1", "b ns/app:3", "b ns/app:4"}},
		{"a referrer that goes needs nothing of its own to stay", "f", "d", "d", []string{"m ns/app:f", "b ns/app:5"}},
		{"revision that is listed elsewhere", "f", "f", "f", nil},
		{"everything", "adf", "", "", []string{"m ns/app:a", "m ns/app:b", "m ns/app:c", "m ns/app:d", "m ns/app:e", "m ns/app:f",
			"b ns/app:0", "b ns/app:1", "b ns/app:2", "b ns/app:3", "b ns/app:4", "b ns/app:5"}},
		{"pushed again since", "d", "f", "df", nil},
		{"an image that nobody knows", "9", "f", "f", []string{"m ns/app:9"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			relations, _ := world()
			fake := &fakeRegistry{}
			remover := Remover{Client: client(map[string][]string{"app": strings.Split(test.now, "")}), Registry: fake, Keep: relations.Keep, Workers: 3}
			if test.now == "" {
				remover.Client = client(map[string][]string{"app": nil})
			}
			items := remover.Remove(t.Context(), []Change{{Namespace: "ns", Name: "app", Removed: ids(test.removed), Listed: ids(test.listed)}})
			if !slices.Equal(fake.requests, test.want) || len(items) != len(test.want) {
				t.Errorf("requests %q, want %q; items %q", fake.requests, test.want, outline(items))
			}
			if test.now != test.listed {
				return
			}
			dry := Remover{Client: client(map[string][]string{"app": strings.Split(test.removed+test.listed, "")}), Keep: relations.Keep, Workers: 3}
			planned := dry.Remove(t.Context(), []Change{{Namespace: "ns", Name: "app", Removed: ids(test.removed), Listed: ids(test.listed)}})
			if got, want := strings.ReplaceAll(fmt.Sprint(outline(planned)), "would-delete", "deleted"), fmt.Sprint(outline(items)); got != want {
				t.Errorf("the dry run names %s, the run %s", got, want)
			}
		})
	}
}

// Behaviours 40 and 41: outcomes one by one; one failure does not stop the others.
func TestOutcomes(t *testing.T) {
	relations, _ := world()
	fake := &fakeRegistry{answer: func(path string) (registry.Outcome, error) {
		switch path {
		case "m ns/app:d":
			return registry.Failed, errors.New("500")
		case "b ns/app:3":
			return registry.Skipped, errors.New("young")
		}
		return registry.Done, nil
	}}
	remover := Remover{Client: client(map[string][]string{"app": nil, "other": nil}), Registry: fake, Keep: relations.Keep, Workers: 1}
	items := remover.Remove(t.Context(), []Change{
		{Namespace: "ns", Name: "app", Removed: ids("d")}, {Namespace: "ns", Name: "gone", Removed: ids("d")}, {Namespace: "ns", Name: "other", Removed: ids("f")},
	})
	want := []string{
		"failed manifest-link ns/app d", "deleted manifest-link ns/app e", "deleted layer-link ns/app 0", "deleted layer-link ns/app 1",
		"skipped layer-link ns/app 3", "deleted layer-link ns/app 4", "deleted manifest-link ns/other f", "deleted layer-link ns/other 0", "deleted layer-link ns/other 5",
	}
	if got := outline(items); !slices.Equal(got, want) {
		t.Errorf("items\n%q\nwant\n%q", got, want)
	}
}

// Behaviour 56: what stops all requests is one failure.
func TestStoppedRegistryIsOneFailure(t *testing.T) {
	relations, _ := world()
	stopped := &registry.StoppedError{Address: "https://registry.test", Reason: errors.New("the registry is read-only")}
	fake := &fakeRegistry{}
	fake.answer = func(string) (registry.Outcome, error) { fake.stopped = stopped; return registry.Failed, stopped }
	remover := Remover{Client: client(map[string][]string{"app": nil, "other": nil}), Registry: fake, Keep: relations.Keep, Workers: 1}
	items := remover.Remove(t.Context(), []Change{{Namespace: "ns", Name: "app", Removed: ids("d")}, {Namespace: "ns", Name: "other", Removed: ids("f")}})
	if len(fake.requests) != 1 || len(items) != 1 || items[0].Kind != report.KindRegistry || !strings.Contains(items[0].Error, "read-only") {
		t.Errorf("requests %q, items %+v", fake.requests, items)
	}
}

// A stream, or an image, whose content cannot be read keeps its links, and that is a failure.
func TestUnreadableContentKeepsLinks(t *testing.T) {
	relations, _ := world()
	for _, resource := range []string{"imagestreams", "images"} {
		fake, kube := &fakeRegistry{}, client(map[string][]string{"app": nil})
		kube.PrependReactor("get", resource, func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("broken") })
		remover := Remover{Client: kube, Registry: fake, Keep: relations.Keep, Workers: 1}
		items := remover.Remove(t.Context(), []Change{{Namespace: "ns", Name: "app", Removed: ids("d")}})
		if len(fake.requests) != 0 || len(items) != 1 || items[0].Action != report.Failed {
			t.Errorf("%s: requests %q, items %+v", resource, fake.requests, items)
		}
	}
}

// Names that are no digests never become a part of a path.
func TestOddDigestsAreNotSent(t *testing.T) {
	change := Change{Removed: []string{"sha256:../../x", "sha512:" + strings.Repeat("a", 128), "", id("A"), id("f")}}
	gone, _ := change.manifests(func(map[string]string) {})
	if !slices.Equal(gone, ids("f")) {
		t.Errorf("manifests %q", gone)
	}
	if blobs := blobsGone(map[string][]string{"x": {"sha256:..", id("1"), id("1"), id("2")}}, map[string]bool{id("2"): true}); !slices.Equal(blobs, ids("1")) {
		t.Errorf("blobs %q", blobs)
	}
}
