package v1_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	imagev1 "image.alauda.io/api/image/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file string, object any) {
	t.Helper()
	got, err := json.MarshalIndent(object, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got\n%swant\n%s", file, got, want)
	}
}

// Clients depend on every name, and on what is written when a field is unset.
func TestJSONOfAStream(t *testing.T) {
	generation := int64(2)
	golden(t, "testdata/imagestream.json", &imagev1.ImageStream{
		TypeMeta:   metav1.TypeMeta{APIVersion: imagev1.GroupVersion.String(), Kind: "ImageStream"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"},
		Spec: imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{
			{Name: "unset"},
			{
				Name: "set", Annotations: map[string]string{"a": "b"}, Reference: true, Generation: &generation,
				From:            &corev1.ObjectReference{Kind: imagev1.KindDockerImage, Name: "example.com/app:v1"},
				ImportPolicy:    imagev1.TagImportPolicy{Insecure: true, Scheduled: true, ImportMode: imagev1.ImportModeLegacy},
				ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.LocalTagReferencePolicy},
			},
		}},
		Status: imagev1.ImageStreamStatus{
			DockerImageRepository: "registry:5000/ns/app", PublicDockerImageRepository: "example.com/ns/app",
			Tags: []imagev1.NamedTagEventList{{
				Tag:        "failed",
				Conditions: []imagev1.TagEventCondition{{Type: imagev1.ImportSuccess, Status: corev1.ConditionFalse, Generation: 2}},
			}, {
				Tag: "set",
				Items: []imagev1.TagEvent{{
					Created:              metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
					DockerImageReference: "example.com/app@sha256:a", Image: "sha256:a", Generation: 2,
				}},
			}},
		},
	})
}

func TestJSONOfAnImage(t *testing.T) {
	golden(t, "testdata/image.json", &imagev1.Image{
		ObjectMeta:                   metav1.ObjectMeta{Name: "sha256:a"},
		DockerImageReference:         "example.com/app@sha256:a",
		DockerImageMetadata:          runtime.RawExtension{Raw: []byte(`{"Id":"sha256:c","Other":1}`)},
		DockerImageMetadataVersion:   imagev1.DockerImageMetadataVersion,
		DockerImageManifestMediaType: "application/vnd.oci.image.index.v1+json",
		DockerImageLayers:            []imagev1.ImageLayer{{Name: "sha256:l", LayerSize: 7, MediaType: "m"}},
		DockerImageManifests:         []imagev1.ImageManifest{{Digest: "sha256:b", MediaType: "m", ManifestSize: 3, Architecture: "arm", OS: "linux", Variant: "v7"}},
		Signatures:                   []imagev1.ImageSignature{{Type: imagev1.ImageSignatureTypeAtomicImageV1, Content: []byte("x")}},
	})
}

func TestJSONOfLayers(t *testing.T) {
	size := int64(5)
	config := "sha256:c"
	golden(t, "testdata/imagestreamlayers.json", &imagev1.ImageStreamLayers{
		Blobs: map[string]imagev1.ImageLayerData{"sha256:a": {}, "sha256:l": {LayerSize: &size, MediaType: "m"}},
		Images: map[string]imagev1.ImageBlobReferences{
			"sha256:a": {Layers: []string{"sha256:l"}, Config: &config, Local: true},
			"sha256:i": {Manifests: []string{"sha256:a"}},
			"sha256:m": {ImageMissing: true},
		},
	})
}

// A strict decoder accepts what the encoder writes, for every registered kind.
func TestEveryKindIsRegistered(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := imagev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	for _, kind := range []string{
		"Image", "ImageList", "ImageSignature", "ImageStream", "ImageStreamList", "ImageStreamLayers", "ImageStreamMapping",
		"ImageStreamTag", "ImageStreamTagList", "ImageTag", "ImageTagList", "ImageStreamImage", "ImageStreamImport", "SecretList",
	} {
		object, err := scheme.New(imagev1.GroupVersion.WithKind(kind))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		data, err := runtime.Encode(codecs.LegacyCodec(imagev1.GroupVersion), object)
		if err != nil {
			t.Errorf("encode %s: %v", kind, err)
			continue
		}
		if _, err := runtime.Decode(codecs.UniversalDeserializer(), data); err != nil {
			t.Errorf("decode %s: %v", kind, err)
		}
	}
}
