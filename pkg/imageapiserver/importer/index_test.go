package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

// Behaviour 37.
func TestPreserveOriginalImportsAnIndexWithAllItsChildren(t *testing.T) {
	s := newScripted()
	amd, arm := s.image(app, "", "amd64", "a"), s.image(app, "", "arm64", "b")
	arm.Platform.Variant = "v8"
	attestation := s.put(app, "", manifest.OCIManifest, document(map[string]any{
		"config": s.blob(manifest.OCIConfig, []byte(`{}`)), "layers": []v1.Descriptor{},
	}))
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	index := s.index(app, "v1", amd, arm, attestation)

	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	if diff := cmp.Diff([]string{amd.Digest.String(), arm.Digest.String(), attestation.Digest.String()}, childDigests(r)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	image := r.Image
	if image.Name != index.Digest.String() || image.DockerImageMetadata.ID != image.Name || image.DockerImageManifestMediaType != manifest.OCIIndex ||
		image.DockerImageMetadataVersion != "1.0" || !image.DockerImageMetadata.Created.Time.Equal(testTime) || len(image.DockerImageLayers) != 0 {
		t.Errorf("index %+v", image)
	}
	want := []imageapi.ImageManifest{
		{Digest: amd.Digest.String(), MediaType: manifest.OCIManifest, ManifestSize: amd.Size, Architecture: "amd64", OS: "linux"},
		{Digest: arm.Digest.String(), MediaType: manifest.OCIManifest, ManifestSize: arm.Size, Architecture: "arm64", OS: "linux", Variant: "v8"},
		{Digest: attestation.Digest.String(), MediaType: manifest.OCIManifest, ManifestSize: attestation.Size, Architecture: "unknown", OS: "unknown"},
	}
	if diff := cmp.Diff(want, image.DockerImageManifests); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
	sum := index.Size
	for _, child := range r.Children {
		sum += child.DockerImageMetadata.Size
		if child.DockerImageReference != app+"@"+child.Name {
			t.Errorf("child at %q", child.DockerImageReference)
		}
	}
	if image.DockerImageMetadata.Size != sum {
		t.Errorf("size %d, want %d", image.DockerImageMetadata.Size, sum)
	}
}

// Behaviour 37.
func TestNestedIndexesComeAfterTheirChildren(t *testing.T) {
	s := newScripted()
	leaf, shared := s.image(app, "", "amd64", "leaf"), s.image(app, "", "arm64", "shared")
	inner := s.index(app, "", leaf, shared)
	middle := s.index(app, "", inner, shared)
	s.index(app, "v1", shared, middle, inner)
	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	want := []string{shared.Digest.String(), leaf.Digest.String(), inner.Digest.String(), middle.Digest.String()}
	if diff := cmp.Diff(want, childDigests(r)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}

	s.index(app, "deep", s.index(app, "", middle))
	failed(t, one(t, engine(t, s), Item{From: app + ":deep"}), "Invalid", "nested more than 3")
	lone := newScripted()
	lone.index(app, "deep", lone.index(app, "", lone.index(app, "", lone.index(app, "", lone.image(app, "", "amd64", "x")))))
	failed(t, one(t, engine(t, lone), legacy(app+":deep")), "Invalid", "nested more than 3")
}

// Behaviour 37.
func TestAChildThatTheRegistryDoesNotHaveIsNoted(t *testing.T) {
	s := newScripted()
	here, gone := s.image(app, "", "amd64", "a"), s.image(app, "", "arm64", "b")
	s.index(app, "v1", here, gone)
	delete(s.manifests[app], gone.Digest.String())
	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	if diff := cmp.Diff([]string{here.Digest.String()}, childDigests(r)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if len(r.Image.DockerImageManifests) != 2 || !strings.Contains(r.Note, "1 of the 2 entries") || !strings.Contains(r.Note, gone.Digest.String()) {
		t.Errorf("manifests %v, note %q", r.Image.DockerImageManifests, r.Note)
	}

	s.image(app, "", "arm64", "b")
	s.errors["GET "+app+" "+gone.Digest.String()] = &remote.Error{Kind: remote.Forbidden, Message: "denied"}
	failed(t, one(t, engine(t, s), Item{From: app + ":v1"}), "Forbidden", gone.Digest.String()+": denied")
}

func TestAnImageWhoseConfigIsGoneIsBrokenAndNotSparse(t *testing.T) {
	s := newScripted()
	child := s.image(app, "", "amd64", "a")
	s.index(app, "v1", child)
	clear(s.blobs)
	failed(t, one(t, engine(t, s), Item{From: app + ":v1"}), "NotFound", "config: blob not found")
}

func TestEntriesThatAreNoManifestsArePassedOver(t *testing.T) {
	s := newScripted()
	child := s.image(app, "", "amd64", "a")
	other := s.blob("application/vnd.example.thing", []byte("thing"))
	s.index(app, "v1", other, child)
	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	if len(r.Children) != 1 || len(r.Image.DockerImageManifests) != 2 || !strings.Contains(r.Note, "are no manifests") {
		t.Errorf("children %v, manifests %v, note %q", childDigests(r), r.Image.DockerImageManifests, r.Note)
	}
	old := s.put(app, "", "application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1}`))
	s.index(app, "v2", old, child)
	failed(t, one(t, engine(t, s), Item{From: app + ":v2"}), "UnsupportedManifest", "schema 1")
}

func TestTooManyChildrenAreRefusedBeforeTheyAreFetched(t *testing.T) {
	s := newScripted()
	entries := func(n int, seed string) []v1.Descriptor {
		var list []v1.Descriptor
		for at := range n {
			list = append(list, v1.Descriptor{MediaType: manifest.OCIManifest, Size: 1, Digest: digest.FromString(fmt.Sprint(seed, at))})
		}
		return list
	}
	s.index(app, "many", entries(1000, "a")...)
	s.index(app, "repeated", slices.Repeat(entries(1, "b"), 201)...)
	s.index(app, "nested", append(entries(100, "c"), s.index(app, "", entries(100, "d")...))...)
	for tag, asked := range map[string]int{"many": 1, "repeated": 1, "nested": 1 + 101} {
		s.asked = nil
		failed(t, one(t, engine(t, s), Item{From: app + ":" + tag}), "Invalid", "more than 200 manifests")
		if len(s.asked) != asked {
			t.Errorf("%s: %d requests, want %d", tag, len(s.asked), asked)
		}
	}
	s.index(app, "sparse", entries(200, "e")...)
	if r := imported(t, one(t, engine(t, s), Item{From: app + ":sparse"})); len(r.Note) > 600 {
		t.Errorf("the note has %d characters", len(r.Note))
	}
}

// Behaviour 37.
func TestLegacyImportsOneChild(t *testing.T) {
	s := newScripted()
	amd, arm := s.image(app, "", "amd64", "a"), s.image(app, "", "arm64", "b")
	index := s.index(app, "v1", amd, arm)
	nested := s.index(app, "nested", index)
	s.index(app, "empty")
	prefer := legacy(app + ":v1")
	prefer.Platform.Arch = "arm64"
	byDigest := legacy(app + "@" + index.Digest.String())
	byDigest.Platform.Arch = "arm64"
	for name, test := range map[string]struct {
		item   Item
		want   v1.Descriptor
		remote digest.Digest
	}{
		"the server's platform":   {legacy(app + ":v1"), amd, index.Digest},
		"the tag's preference":    {prefer, arm, index.Digest},
		"also for a digest":       {byDigest, arm, index.Digest},
		"through a nested index":  {legacy(app + ":nested"), amd, nested.Digest},
		"a single image is taken": {legacy(app + "@" + arm.Digest.String()), arm, arm.Digest},
	} {
		r := imported(t, one(t, engine(t, s), test.item))
		if r.Image.Name != test.want.Digest.String() || r.Reference != app+"@"+r.Image.Name || r.RemoteDigest != test.remote.String() || len(r.Children) != 0 {
			t.Errorf("%s: image %s at %s, remote %s, %d children", name, r.Image.Name, r.Reference, r.RemoteDigest, len(r.Children))
		}
	}
	failed(t, one(t, engine(t, s), legacy(app+":empty")), "Invalid", "has no manifests")
	delete(s.manifests[app], amd.Digest.String())
	failed(t, one(t, engine(t, s), legacy(app+":v1")), "NotFound", amd.Digest.String())

	settings := func(o *Options) {
		o.Settings = func() Settings { d := DefaultSettings(); d.Mode = imageapi.ImportModeLegacy; return d }
	}
	if r := imported(t, one(t, engine(t, s, settings), Item{From: app + ":v1", Policy: Policy{Platform: Platform{Arch: "arm64"}}})); r.Image.Name != arm.Digest.String() {
		t.Errorf("the configured mode is not used: %s", r.Image.Name)
	}
}

func TestAnIndexMayNotCallAChildWhatItIsNot(t *testing.T) {
	s := newScripted()
	child := s.image(app, "", "amd64", "a")
	for name, test := range map[string]struct {
		change func(*v1.Descriptor)
		reason string
		text   string
	}{
		"an index":           {func(d *v1.Descriptor) { d.MediaType = manifest.OCIIndex }, "Invalid", "media type"},
		"of another size":    {func(d *v1.Descriptor) { d.Size++ }, "InternalError", "content integrity"},
		"of no type that is": {func(d *v1.Descriptor) { d.MediaType = "no type" }, "Invalid", "cannot be recorded"},
	} {
		changed := child
		test.change(&changed)
		s.index(app, "v1", changed)
		r := one(t, engine(t, s), Item{From: app + ":v1"})
		if r.Err == nil || string(r.Err.Reason) != test.reason || !strings.Contains(r.Err.Message, test.text) {
			t.Errorf("%s: %v, want %s with %q", name, r.Err, test.reason, test.text)
		}
	}
}

func TestChildrenUnderOtherDigestAlgorithmsAreNamedBySha256(t *testing.T) {
	s := newScripted()
	child := s.image(app, "", "amd64", "a")
	raw := s.manifests[app][child.Digest.String()].Content
	long := digest.SHA512.FromBytes(raw)
	s.manifests[app][long.String()] = s.manifests[app][child.Digest.String()]
	named := child
	named.Digest = long
	s.index(app, "v1", named)
	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	if got := r.Image.DockerImageManifests[0].Digest; got != child.Digest.String() {
		t.Errorf("the index names %s", got)
	}
	if got := r.Children[0]; got.Name != child.Digest.String() || got.DockerImageReference != app+"@"+long.String() {
		t.Errorf("child %s at %s", got.Name, got.DockerImageReference)
	}
	delete(s.manifests[app], long.String())
	r = imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	if got := r.Image.DockerImageManifests[0].Digest; got != long.String() || !strings.Contains(r.Note, long.String()) {
		t.Errorf("a child that nobody read is %s, note %q", got, r.Note)
	}
}
