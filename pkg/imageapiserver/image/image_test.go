package image_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
)

const config = `{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05Z","config":{"Env":["A=b"]}}`

func digest(text string) string { return manifest.Canonical([]byte(text)).String() }

func descriptor(mediaType, name string, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, name, size)
}

// layered is a manifest in the given terms: a base layer that comes twice, and one on top.
func layered(mediaType, configType, layerType string) string {
	base, top := descriptor(layerType, digest("base"), 100), descriptor(layerType, digest("top"), 10)
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s,%s]}`,
		mediaType, descriptor(configType, digest(config), len(config)), base, top, base)
}

func ociManifest() string {
	return layered(manifest.OCIManifest, manifest.OCIConfig, "application/vnd.oci.image.layer.v1.tar+gzip")
}

func dockerManifest() string {
	return layered(manifest.DockerManifest, manifest.DockerConfig, "application/vnd.docker.image.rootfs.diff.tar.gzip")
}

func withManifest(raw, rawConfig string) *imageapi.Image {
	return &imageapi.Image{
		ObjectMeta:           metav1.ObjectMeta{Name: digest(raw)},
		DockerImageReference: "quay.io/org/app@" + digest(raw),
		DockerImageManifest:  raw,
		DockerImageConfig:    rawConfig,
	}
}

func create(env *grouptest.Env, image *imageapi.Image) (*imageapi.Image, error) {
	obj, err := env.Group.Images.Create(env.Request("alice", "", "images"), image, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

func update(env *grouptest.Env, image *imageapi.Image) (*imageapi.Image, error) {
	obj, _, err := env.Group.Images.Update(env.Request("alice", "", "images"), image.Name, rest.DefaultUpdatedObjectInfo(image), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.Image), nil
}

// Behaviour 6.
func TestCreateReadsTheManifest(t *testing.T) {
	for mediaType, raw := range map[string]string{manifest.OCIManifest: ociManifest(), manifest.DockerManifest: dockerManifest()} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stored %t", mediaType, stored), func(t *testing.T) {
				image := withManifest(raw, config)
				if stored {
					image.Annotations = map[string]string{imagev1.ImageManifestBlobStoredAnnotation: "true"}
				}
				got, err := create(grouptest.New(t), image)
				if err != nil {
					t.Fatal(err)
				}
				metadata := got.DockerImageMetadata
				if metadata.ID != digest(config) || metadata.Architecture != "amd64" || metadata.Size != int64(110+len(config)) {
					t.Errorf("metadata is %+v", metadata)
				}
				var layers []string
				for _, layer := range got.DockerImageLayers {
					layers = append(layers, layer.Name)
				}
				if want := []string{digest("base"), digest("top"), digest("base")}; !slices.Equal(layers, want) {
					t.Errorf("layers are %v, want %v", layers, want)
				}
				if got.Annotations[imagev1.DockerImageLayersOrderAnnotation] != "ascending" || got.DockerImageManifestMediaType != mediaType {
					t.Errorf("annotations are %v, media type %s", got.Annotations, got.DockerImageManifestMediaType)
				}
				if stored != (got.DockerImageManifest == "") || stored != (got.DockerImageConfig == "") {
					t.Errorf("manifest kept %t, config kept %t", got.DockerImageManifest != "", got.DockerImageConfig != "")
				}
			})
		}
	}
}

// Behaviour 7.
func TestCreateOfAnIndex(t *testing.T) {
	env := grouptest.New(t)
	for mediaType, childType := range map[string]string{manifest.OCIIndex: manifest.OCIManifest, manifest.DockerManifestList: manifest.DockerManifest} {
		raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,{"mediaType":%q,"digest":%q,"size":8,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`,
			mediaType, descriptor(childType, digest("child"), 7), childType, digest("other"))
		got, err := create(env, withManifest(raw, ""))
		if err != nil {
			t.Fatalf("%s: %v", mediaType, err)
		}
		want := []imageapi.ImageManifest{
			{Digest: digest("child"), MediaType: childType, ManifestSize: 7, Architecture: "unknown", OS: "unknown"},
			{Digest: digest("other"), MediaType: childType, ManifestSize: 8, Architecture: "arm", OS: "linux", Variant: "v7"},
		}
		if !slices.Equal(got.DockerImageManifests, want) || len(got.DockerImageLayers) != 0 || got.DockerImageMetadata.ID != got.Name || got.DockerImageManifestMediaType != mediaType {
			t.Errorf("%s: children %+v, layers %+v, Id %s", mediaType, got.DockerImageManifests, got.DockerImageLayers, got.DockerImageMetadata.ID)
		}
	}
	both := grouptest.PushedIndex("a", "b", "both", "child")
	both.DockerImageLayers = []imageapi.ImageLayer{{Name: digest("layer")}}
	if _, err := create(env, both); !apierrors.IsInvalid(err) {
		t.Errorf("layers and children gave %v", err)
	}
}

// Behaviour 8.
func TestManifestMustHashToTheName(t *testing.T) {
	env := grouptest.New(t)
	wrong := withManifest(ociManifest(), config)
	wrong.Name = digest("other")
	if _, err := create(env, wrong); !apierrors.IsInvalid(err) {
		t.Errorf("a wrong manifest gave %v", err)
	}

	empty := withManifest(ociManifest(), config)
	empty.DockerImageManifest, empty.DockerImageConfig = "", ""
	image, err := create(env, empty)
	if err != nil {
		t.Fatal(err)
	}
	image.DockerImageManifest = "{}"
	if image, err = update(env, image); err != nil || image.DockerImageManifest != "" {
		t.Fatalf("a wrong manifest on update: %v, kept %q", err, image.DockerImageManifest)
	}
	image.DockerImageManifest, image.DockerImageConfig = ociManifest(), config
	if image, err = update(env, image); err != nil || image.DockerImageMetadata.ID != digest(config) || len(image.DockerImageLayers) != 3 {
		t.Errorf("completed image is %+v, %v", image, err)
	}

	for what, change := range map[string]func(*imageapi.Image){
		"another manifest": func(i *imageapi.Image) { i.DockerImageManifest = dockerManifest() },
		"no manifest":      func(i *imageapi.Image) { i.DockerImageManifest = "nonsense" },
		"another config":   func(i *imageapi.Image) { i.DockerImageConfig = `{"architecture":"arm64"}` },
	} {
		changed := image.DeepCopy()
		change(changed)
		if image, err = update(env, changed); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if image.DockerImageManifest != ociManifest() || image.DockerImageConfig != config || image.DockerImageMetadata.Architecture != "amd64" {
			t.Errorf("%s was not undone: %+v", what, image)
		}
	}
	image.DockerImageManifest, image.DockerImageConfig = "", ""
	if image, err = update(env, image); err != nil || image.DockerImageManifest != "" || image.DockerImageConfig != "" || len(image.DockerImageLayers) != 3 {
		t.Errorf("clearing both gave %+v, %v", image, err)
	}
}

// Behaviour 9.
func TestWhatCannotChange(t *testing.T) {
	env := grouptest.New(t)
	image, err := create(env, grouptest.Pushed("a", "b", "one"))
	if err != nil {
		t.Fatal(err)
	}
	changed := image.DeepCopy()
	changed.DockerImageMetadata.ID = "other"
	changed.DockerImageMetadataVersion = "2.0"
	changed.DockerImageLayers = nil
	changed.Annotations["note"] = "yes"
	changed.Signatures = []imageapi.ImageSignature{{ObjectMeta: metav1.ObjectMeta{Name: image.Name + "@s"}, Type: "AtomicImageV1", Content: []byte("x")}}
	got, err := update(env, changed)
	if err != nil {
		t.Fatal(err)
	}
	if got.DockerImageMetadata.ID != image.DockerImageMetadata.ID || got.DockerImageMetadataVersion != "1.0" || len(got.DockerImageLayers) != 1 {
		t.Errorf("immutable parts changed: %+v", got)
	}
	if got.Annotations["note"] != "yes" || len(got.Signatures) != 1 {
		t.Errorf("annotations %v and signatures %v", got.Annotations, got.Signatures)
	}
	got.ResourceVersion = ""
	if _, err = update(env, got); !apierrors.IsInvalid(err) {
		t.Errorf("no resourceVersion gave %v", err)
	}
}

func TestInvalidImages(t *testing.T) {
	env := grouptest.New(t)
	for name, change := range map[string]func(*imageapi.Image){
		"no reference":   func(i *imageapi.Image) { i.DockerImageReference = "" },
		"bad reference":  func(i *imageapi.Image) { i.DockerImageReference = "UPPER/case" },
		"path name":      func(i *imageapi.Image) { i.Name = "a/b" },
		"child digest":   func(i *imageapi.Image) { i.DockerImageManifests[0].Digest = "sha256:short" },
		"child type":     func(i *imageapi.Image) { i.DockerImageManifests[0].MediaType = "none" },
		"child platform": func(i *imageapi.Image) { i.DockerImageManifests[0].OS = "" },
		"child size":     func(i *imageapi.Image) { i.DockerImageManifests[0].ManifestSize = -1 },
		"stamp":          func(i *imageapi.Image) { i.Annotations[imagev1.ImageLastReferencedTimeAnnotation] = "yesterday" },
	} {
		image := grouptest.PushedIndex("a", "b", "one", "child")
		change(image)
		if _, err := create(env, image); !apierrors.IsInvalid(err) {
			t.Errorf("%s gave %v, want Invalid", name, err)
		}
	}
}

// What cannot be stored is refused as too large, before the store says so in words of its own; an image that is
// too large already can still be stamped.
func TestTooLargeImages(t *testing.T) {
	env := grouptest.New(t)
	large := grouptest.Pushed("a", "b", "large")
	large.DockerImageMetadata.Comment = strings.Repeat("x", 3<<19)
	if _, err := create(env, large); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("create: %v, want 413", err)
	}
	if err := env.Map("registry", "a", "b", "v1", large); !apierrors.IsNotFound(err) {
		t.Errorf("mapping into no stream: %v, want NotFound", err)
	}
	env.CreateStream(grouptest.Stream("a", "b"))
	if err := env.Map("registry", "a", "b", "v1", large); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("mapping: %v, want 413", err)
	}
	small, err := create(env, grouptest.Pushed("a", "b", "small"))
	if err != nil {
		t.Fatal(err)
	}
	small.Annotations["note"] = strings.Repeat("x", 3<<19)
	if _, err := update(env, small); err == nil {
		t.Error("an update to 1.5 MiB succeeded")
	}

	key, err := env.Group.Images.KeyFunc(env.Request("alice", "", "images"), large.Name)
	if err != nil {
		t.Fatal(err)
	}
	large.UID, large.CreationTimestamp = "uid", metav1.Now()
	if err := env.Group.Images.Storage.Create(t.Context(), key, large, &imageapi.Image{}, 0, false); err != nil {
		t.Fatal(err)
	}
	err = env.Group.Images.Change(env.Request("alice", "", "images"), large.Name, func(image *imageapi.Image) {
		image.Annotations[imagev1.ImageLastReferencedTimeAnnotation] = "2026-01-02T03:04:05Z"
	})
	if err != nil {
		t.Errorf("stamp of a large image: %v", err)
	}
}
