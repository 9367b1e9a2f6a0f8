package pullthrough

import (
	"slices"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const address = "registry.test.svc:5000"

func of(word string) string { return digest.FromString(word).String() }

// history is a stream with the items "tag image reference", the newest first.
func history(items ...[3]string) *imagev1.ImageStream {
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}}
	stream.Status.DockerImageRepository = address + "/team/app"
	stream.Status.PublicDockerImageRepository = "images.example.com/team/app"
	for _, item := range items {
		event := imagev1.TagEvent{Image: of(item[1]), DockerImageReference: item[2]}
		i := slices.IndexFunc(stream.Status.Tags, func(list imagev1.NamedTagEventList) bool { return list.Tag == item[0] })
		if i < 0 {
			stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: item[0]})
			i = len(stream.Status.Tags) - 1
		}
		stream.Status.Tags[i].Items = append(stream.Status.Tags[i].Items, event)
	}
	return stream
}

func insecure(stream *imagev1.ImageStream, tag string) *imagev1.ImageStream {
	stream.Spec.Tags = append(stream.Spec.Tags, imagev1.TagReference{Name: tag, ImportPolicy: imagev1.TagImportPolicy{Insecure: true}})
	return stream
}

func keys(list []source) (found []string) {
	for _, s := range list {
		found = append(found, s.key())
	}
	return found
}

func layersOf(images map[string]imagev1.ImageBlobReferences) *imagev1.ImageStreamLayers {
	result := &imagev1.ImageStreamLayers{Blobs: map[string]imagev1.ImageLayerData{}, Images: map[string]imagev1.ImageBlobReferences{}}
	for word, image := range images {
		for i, child := range image.Manifests {
			image.Manifests[i] = of(child)
		}
		for i, layer := range image.Layers {
			image.Layers[i] = of(layer)
			result.Blobs[of(layer)] = imagev1.ImageLayerData{}
		}
		result.Images[of(word)] = image
	}
	return result
}

// Behaviours 65, 71 and 72.
func TestSourcesOfAManifest(t *testing.T) {
	index := layersOf(map[string]imagev1.ImageBlobReferences{
		"outer": {Manifests: []string{"inner"}}, "inner": {Manifests: []string{"child"}}, "child": {},
	})
	for name, c := range map[string]struct {
		stream *imagev1.ImageStream
		layers *imagev1.ImageStreamLayers
		tag    string
		image  string
		want   []string
	}{
		"names of Docker Hub": {history([3]string{"v1", "a", "busybox:1"}), nil, "v1", "a", []string{"docker.io/library/busybox"}},
		"its path":            {history([3]string{"v1", "a", "docker.io/org/app@" + of("a")}), nil, "", "a", []string{"docker.io/org/app"}},
		"the tag that was asked for first": {history([3]string{"v1", "a", "one.test/x"}, [3]string{"v2", "a", "two.test/x"}), nil, "v2", "a",
			[]string{"two.test/x", "one.test/x"}},
		"the current item first": {history([3]string{"v1", "b", "one.test/x"}, [3]string{"v1", "a", "old.test/x"}, [3]string{"v2", "a", "two.test/x"}), nil, "", "a",
			[]string{"two.test/x", "old.test/x"}},
		"an insecure tag":             {insecure(history([3]string{"v1", "a", "one.test/x"}), "v1"), nil, "v1", "a", []string{"one.test/x insecure"}},
		"another tag's insecurity":    {insecure(history([3]string{"v1", "a", "one.test/x"}, [3]string{"v2", "b", "two.test/x"}), "v2"), nil, "v1", "a", []string{"one.test/x"}},
		"a child of a child":          {history([3]string{"v1", "outer", "one.test/x"}), index, "", "child", []string{"one.test/x"}},
		"not of the stream":           {history([3]string{"v1", "a", "one.test/x"}), index, "", "child", nil},
		"this registry":               {history([3]string{"v1", "a", address + "/team/other@" + of("a")}), nil, "v1", "a", nil},
		"this registry, with domain":  {history([3]string{"v1", "a", "Registry.test.svc.cluster.local.:5000/team/other"}), nil, "v1", "a", nil},
		"this registry's public name": {history([3]string{"v1", "a", "images.example.com:443/team/other"}), nil, "v1", "a", nil},
		"a name that only begins so":  {history([3]string{"v1", "a", "registry.test.svcx:5000/team/other"}), nil, "v1", "a", []string{"registry.test.svcx:5000/team/other"}},
		"no reference":                {history([3]string{"v1", "a", "::"}), nil, "v1", "a", nil},
	} {
		got := keys(manifestSources(events(c.stream, newOwnHosts(address, nil)), c.layers, c.tag, digest.Digest(of(c.image)), 16))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestSourcesOfABlob(t *testing.T) {
	stream := insecure(history(
		[3]string{"v1", "a", "c.test/x"}, [3]string{"v1", "old", "old.test/x"},
		[3]string{"v2", "b", "b.test/x"}, [3]string{"v3", "b", "a.test/x"},
		[3]string{"v4", "plain", "http.test/x"},
	), "v4")
	layers := layersOf(map[string]imagev1.ImageBlobReferences{"a": {Layers: []string{"layer"}}, "b": {}, "old": {Layers: []string{"layer"}}, "plain": {}})
	got := keys(blobSources(events(stream, newOwnHosts(address, nil)), layers, digest.Digest(of("layer")), 16))
	if want := []string{"c.test/x", "a.test/x", "b.test/x", "http.test/x insecure", "old.test/x"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := blobSources(events(stream, newOwnHosts(address, nil)), layers, digest.Digest(of("layer")), 2); len(got) != 2 {
		t.Errorf("%d sources, want no more than the limit", len(got))
	}
	stream.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}
	for _, key := range keys(blobSources(events(stream, newOwnHosts(address, nil)), layers, digest.Digest(of("layer")), 16)) {
		if !slices.Contains([]string{"c.test/x insecure", "a.test/x insecure", "b.test/x insecure", "http.test/x insecure", "old.test/x insecure"}, key) {
			t.Errorf("%s in a stream that is insecure as a whole", key)
		}
	}
}

// Behaviour 74.
func TestOnlyWhatImagesConsistOfMayBeAskedFor(t *testing.T) {
	layers := layersOf(map[string]imagev1.ImageBlobReferences{"a": {Layers: []string{"layer"}}})
	if !contains(layers, digest.Digest(of("layer"))) || contains(layers, digest.Digest(of("other"))) {
		t.Error("what may be asked for does not follow the images")
	}
	layers.Images[of("gone")] = imagev1.ImageBlobReferences{ImageMissing: true}
	if !contains(layers, digest.Digest(of("other"))) {
		t.Error("an image that nobody has described may consist of anything")
	}
}

func TestInstallationsDiffer(t *testing.T) {
	first, again := Installation("a"), Installation("a")
	if first == Installation("b") || first != again || first == "a" {
		t.Error("the identity must follow from the secret, and not tell it")
	}
}
