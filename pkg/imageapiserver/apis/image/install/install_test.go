package install

import (
	"encoding/json"
	"math/rand"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/apitesting/roundtrip"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/randfill"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := Install(scheme, nil); err != nil {
		t.Fatal(err)
	}
	return scheme
}

// fuzzFuncs fill the internal types with what the wire form can say: defaults
// are set, and the name of a tag is its key.
func fuzzFuncs(serializer.CodecFactory) []any {
	return []any{
		func(tag *imageapi.TagReference, c randfill.Continue) {
			c.FillNoCustom(tag)
			tag.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
			tag.ImportPolicy.ImportMode = imageapi.ImportModeLegacy
		},
		func(spec *imageapi.RepositoryImportSpec, c randfill.Continue) {
			c.FillNoCustom(spec)
			spec.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
			spec.ImportPolicy.ImportMode = imageapi.ImportModeLegacy
		},
		func(spec *imageapi.ImageImportSpec, c randfill.Continue) {
			c.FillNoCustom(spec)
			spec.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
			spec.ImportPolicy.ImportMode = imageapi.ImportModeLegacy
		},
		func(spec *imageapi.ImageStreamSpec, c randfill.Continue) {
			c.FillNoCustom(spec)
			for name, tag := range spec.Tags {
				tag.Name = name
				spec.Tags[name] = tag
			}
		},
		func(image *imageapi.Image, c randfill.Continue) {
			c.FillNoCustom(image)
			if image.DockerImageMetadataVersion == "" {
				image.DockerImageMetadataVersion = "1.0"
			}
		},
		func(metadata *docker10.DockerImage, c randfill.Continue) {
			c.FillNoCustom(metadata)
			metadata.TypeMeta = metav1.TypeMeta{}
		},
		func(tag *imageapi.ImageStreamTag, c randfill.Continue) {
			c.FillNoCustom(tag)
			tag.History = nil
		},
	}
}

// Behaviour 4.
func TestRoundTrip(t *testing.T) {
	scheme := scheme(t)
	codecs := serializer.NewCodecFactory(scheme)
	filler := fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, fuzzFuncs), rand.NewSource(rand.Int63()), codecs)
	for kind, form := range scheme.KnownTypes(imageapi.SchemeGroupVersion) {
		if !strings.HasSuffix(form.PkgPath(), "/apis/image") {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			roundtrip.RoundTripSpecificKindWithoutProtobuf(t, imageapi.SchemeGroupVersion.WithKind(kind), scheme, codecs, filler, nil)
		})
	}
}

// Behaviour 4.
func TestTagsAreUniqueAndSorted(t *testing.T) {
	codec := serializer.NewCodecFactory(scheme(t)).LegacyCodec(imagev1.SchemeGroupVersion)
	decode := func(body string) (*imageapi.ImageStream, error) {
		obj, err := runtime.Decode(codec, []byte(`{"apiVersion":"image.alauda.io/v1","kind":"ImageStream","metadata":{"name":"app"},`+body+`}`))
		if err != nil {
			return nil, err
		}
		return obj.(*imageapi.ImageStream), nil
	}
	for _, body := range []string{`"spec":{"tags":[{"name":"a"},{"name":"a"}]}`, `"status":{"tags":[{"tag":"a","items":null},{"tag":"a","items":null}]}`} {
		if _, err := decode(body); err == nil || !strings.Contains(err.Error(), `duplicate tag "a"`) {
			t.Errorf("%s gave %v", body, err)
		}
	}
	stream, err := decode(`"spec":{"tags":[{"name":"c"},{"name":"a"},{"name":"b"}]},"status":{"tags":[{"tag":"z","items":null},{"tag":"y","items":null}]}`)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := runtime.Encode(codec, stream)
	if err != nil {
		t.Fatal(err)
	}
	var got imagev1.ImageStream
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, tag := range got.Spec.Tags {
		names += tag.Name
		if tag.ReferencePolicy.Type != imagev1.SourceTagReferencePolicy || tag.ImportPolicy.ImportMode != imagev1.ImportModePreserveOriginal {
			t.Errorf("tag %s has no defaults: %+v", tag.Name, tag)
		}
	}
	for _, tag := range got.Status.Tags {
		names += tag.Tag
	}
	if names != "abcyz" {
		t.Errorf("tags are in the order %s", names)
	}
}

// The tag of an import is the one that its source writes out.
func TestImportDefaults(t *testing.T) {
	codec := serializer.NewCodecFactory(scheme(t)).LegacyCodec(imagev1.SchemeGroupVersion)
	tests := []struct{ image, tag string }{
		{`{"from":{"kind":"DockerImage","name":"example.com/a/b:v1"}}`, "v1"},
		{`{"from":{"kind":"DockerImage","name":"example.com/a/b:v1"},"to":{"name":"other"}}`, "other"},
		{`{"from":{"kind":"DockerImage","name":"example.com/a/b"}}`, ""},
		{`{"from":{"kind":"DockerImage","name":"example.com:5000"}}`, ""},
		{`{"from":{"kind":"DockerImage","name":"not a reference"}}`, ""},
	}
	for _, test := range tests {
		obj, err := runtime.Decode(codec, []byte(`{"apiVersion":"image.alauda.io/v1","kind":"ImageStreamImport","spec":{"import":true,"images":[`+test.image+`]}}`))
		if err != nil {
			t.Fatal(err)
		}
		image, tag := obj.(*imageapi.ImageStreamImport).Spec.Images[0], ""
		if image.To != nil {
			tag = image.To.Name
		}
		if tag != test.tag || image.ReferencePolicy.Type != imageapi.SourceTagReferencePolicy || image.ImportPolicy.ImportMode != imageapi.ImportModePreserveOriginal {
			t.Errorf("%s became %+v to %q", test.image, image, tag)
		}
	}
}

func TestImageMetadata(t *testing.T) {
	codec := serializer.NewCodecFactory(scheme(t)).LegacyCodec(imagev1.SchemeGroupVersion)
	decode := func(metadata string) (*imageapi.Image, error) {
		obj, err := runtime.Decode(codec, []byte(`{"apiVersion":"image.alauda.io/v1","kind":"Image","metadata":{"name":"x"},"dockerImageMetadata":`+metadata+`}`))
		if err != nil {
			return nil, err
		}
		return obj.(*imageapi.Image), nil
	}
	for _, version := range []string{``, `"apiVersion":"1.0","kind":"DockerImage",`, `"apiVersion":"image.alauda.io/1.0",`, `"apiVersion":"image.openshift.io/1.0",`} {
		image, err := decode(`{` + version + `"Id":"one","Unknown":true,"Architecture":"arm64"}`)
		if err != nil || image.DockerImageMetadata.ID != "one" || image.DockerImageMetadata.Architecture != "arm64" || image.DockerImageMetadataVersion != "1.0" {
			t.Errorf("%q gave %+v, %v", version, image, err)
			continue
		}
		encoded, err := runtime.Encode(codec, image)
		if err != nil || !strings.Contains(string(encoded), `"apiVersion":"image.alauda.io/1.0"`) || strings.Contains(string(encoded), "Unknown") {
			t.Errorf("%q was encoded as %s, %v", version, encoded, err)
		}
	}
	for _, wrong := range []string{`"text"`, `{"apiVersion":"other/v9"}`, `{"kind":"Pod"}`, `{"Size":"big"}`} {
		if _, err := decode(wrong); err == nil {
			t.Errorf("%s was accepted", wrong)
		}
	}
	if image, err := decode(`null`); err != nil || image.DockerImageMetadata.ID != "" {
		t.Errorf("null gave %+v, %v", image, err)
	}
}

func TestFieldLabels(t *testing.T) {
	scheme := scheme(t)
	tests := []struct {
		kind, label string
		known       bool
	}{
		{"Image", "metadata.name", true},
		{"Image", "metadata.namespace", false},
		{"ImageStream", "spec.dockerImageRepository", true},
		{"ImageStream", "status.dockerImageRepository", true},
		{"ImageStream", "spec.tags", false},
		{"ImageStreamTag", "metadata.name", true},
	}
	for _, test := range tests {
		_, _, err := scheme.ConvertFieldLabel(imagev1.SchemeGroupVersion.WithKind(test.kind), test.label, "x")
		if (err == nil) != test.known {
			t.Errorf("%s %s gave %v", test.kind, test.label, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	codec := serializer.NewCodecFactory(scheme(f)).LegacyCodec(imagev1.SchemeGroupVersion)
	f.Add([]byte(`{"apiVersion":"image.alauda.io/v1","kind":"ImageStream","spec":{"tags":[{"name":"a","from":{"kind":"DockerImage","name":"b"}}]}}`))
	f.Add([]byte(`{"apiVersion":"image.alauda.io/v1","kind":"Image","dockerImageMetadata":{"Id":"x"}}`))
	for _, kind := range []string{"ImageStreamTag", "ImageTag", "ImageStreamImport", "ImageStreamMapping", "ImageSignature", "ImageStreamLayers", "ImageStreamImage", "SecretList"} {
		f.Add([]byte(`{"apiVersion":"image.alauda.io/v1","kind":"` + kind + `","spec":{"images":[{"from":{"name":"a:b"}}]},"tag":null,"image":{"signatures":[{}]},"status":null}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		obj, err := runtime.Decode(codec, data)
		if err != nil {
			return
		}
		if _, err := runtime.Encode(codec, obj); err != nil {
			t.Errorf("decoded but not encoded: %v", err)
		}
	})
}
