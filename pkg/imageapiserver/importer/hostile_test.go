package importer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

// Behaviour 43.
func TestUnusableManifestsHaveTheRightReason(t *testing.T) {
	config := `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("a", 64) + `","size":2}`
	for name, test := range map[string]struct{ mediaType, raw, reason, text string }{
		"schema 1 by type":          {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`, "UnsupportedManifest", "schema 1"},
		"schema 1 by content":       {"", `{"schemaVersion":1,"fsLayers":[]}`, "UnsupportedManifest", "schema 1"},
		"unknown media type":        {"application/vnd.example+json", `{"schemaVersion":2}`, "UnsupportedManifest", "application/vnd.example+json"},
		"neither type nor shape":    {"", `{"schemaVersion":2}`, "UnsupportedManifest", "not supported"},
		"no JSON":                   {manifest.OCIManifest, `<html>`, "Invalid", "not a JSON object"},
		"empty":                     {manifest.OCIManifest, ``, "Invalid", "not a JSON object"},
		"two kinds at once":         {"", `{"schemaVersion":2,"manifests":[],"config":` + config + `,"layers":[]}`, "Invalid", "both"},
		"another type than it says": {manifest.OCIManifest, `{"schemaVersion":2,"mediaType":"` + manifest.DockerManifest + `","config":` + config + `,"layers":[]}`, "Invalid", "Content-Type"},
		"negative size":             {"", `{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"a/b","digest":"sha256:` + strings.Repeat("b", 64) + `","size":-1}]}`, "Invalid", "negative"},
		"size beyond an integer":    {"", `{"schemaVersion":2,"config":` + config + `,"layers":[{"mediaType":"a/b","digest":"sha256:` + strings.Repeat("b", 64) + `","size":9223372036854775808}]}`, "Invalid", "size"},
		"config too large":          {"", `{"schemaVersion":2,"config":` + strings.Replace(config, `"size":2`, `"size":8388609`, 1) + `,"layers":[]}`, "Invalid", "8388609 bytes"},
		"a member twice":            {"", `{"schemaVersion":2,"config":` + config + `,"config":` + config + `,"layers":[]}`, "Invalid", "twice"},
	} {
		s := newScripted()
		s.put(app, "v1", test.mediaType, []byte(test.raw))
		r := one(t, engine(t, s), Item{From: app + ":v1"})
		if r.Err == nil || string(r.Err.Reason) != test.reason || !strings.Contains(r.Err.Message, test.text) {
			t.Errorf("%s: %v, want %s with %q", name, r.Err, test.reason, test.text)
		}
	}
}

func TestFailuresOfTheClientHaveTheRightStatus(t *testing.T) {
	for kind, want := range map[remote.Kind]struct {
		reason    string
		code      int32
		transient bool
	}{
		remote.NotFound: {"NotFound", 404, false}, remote.Unauthorized: {"Unauthorized", 401, false},
		remote.Forbidden: {"Forbidden", 403, false}, remote.Blocked: {"Forbidden", 403, false},
		remote.TooManyRequests: {"TooManyRequests", 429, true}, remote.Timeout: {"Timeout", 504, true},
		remote.NotV2Registry: {"NotV2Registry", 403, false}, remote.ContentIntegrity: {"InternalError", 500, false},
		remote.TooLarge: {"Invalid", 422, false}, remote.Network: {"InternalError", 500, true},
		remote.Internal: {"InternalError", 500, false}, "Unheard": {"InternalError", 500, false},
	} {
		s := newScripted()
		s.errors["GET "+app+" v1"] = fmt.Errorf("wrapped: %w", &remote.Error{Kind: kind, Message: "what happened"})
		r := one(t, engine(t, s), Item{From: app + ":v1"})
		failed(t, r, want.reason, "what happened")
		if status := r.Err.Status(); status.Code != want.code || status.Status != "Failure" || r.Err.Transient != want.transient || r.Unfinished {
			t.Errorf("%s: status %+v, transient %v, unfinished %v", kind, status, r.Err.Transient, r.Unfinished)
		}
	}
	s := newScripted()
	s.errors["GET "+app+" v1"] = fmt.Errorf("secret details")
	failed(t, one(t, engine(t, s), Item{From: app + ":v1"}), "InternalError", "inside of the server")
}

// Behaviour 43.
func TestArtifactsAreImportedWithWhatTheyHave(t *testing.T) {
	s := newScripted()
	chart := s.blob("application/vnd.cncf.helm.config.v1+json", []byte(`{"name":"chart"}`))
	raw := document(map[string]any{"config": chart, "artifactType": "application/vnd.example", "layers": []v1.Descriptor{
		{MediaType: "application/x", Digest: digest.FromString("layer"), Size: 10},
	}})
	child := s.put(app, "chart", manifest.OCIManifest, raw)
	r := imported(t, one(t, engine(t, s), Item{From: app + ":chart"}))
	meta := r.Image.DockerImageMetadata
	if meta.ID != chart.Digest.String() || meta.Size != chart.Size+10 || meta.Architecture != "unknown" || meta.OS != "unknown" || len(r.Image.DockerImageLayers) != 1 {
		t.Errorf("metadata %+v, layers %v", meta, r.Image.DockerImageLayers)
	}
	if got := r.Image.Annotations["image.alauda.io/artifactType"]; got != "application/vnd.example" {
		t.Errorf("artifact type %q", got)
	}
	child.Platform = &v1.Platform{OS: "linux", Architecture: "wasm"}
	s.index(app, "index", child)
	r = imported(t, one(t, engine(t, s), Item{From: app + ":index"}))
	if meta := r.Children[0].DockerImageMetadata; meta.Architecture != "wasm" || meta.OS != "linux" {
		t.Errorf("platform %s/%s", meta.OS, meta.Architecture)
	}
}

func TestMissingMediaTypesAreReadFromTheShape(t *testing.T) {
	s := newScripted()
	config := s.blob(manifest.OCIConfig, []byte(`{"architecture":"arm64","os":"linux"}`))
	child := s.put(app, "image", "", document(map[string]any{"config": config, "layers": []v1.Descriptor{}}))
	s.put(app, "index", "", document(map[string]any{"manifests": []v1.Descriptor{child}}))
	if r := imported(t, one(t, engine(t, s), Item{From: app + ":image"})); r.Image.DockerImageManifestMediaType != manifest.OCIManifest {
		t.Errorf("media type %q", r.Image.DockerImageManifestMediaType)
	}
	r := imported(t, one(t, engine(t, s), Item{From: app + ":index"}))
	if r.Image.DockerImageManifestMediaType != manifest.OCIIndex || r.Image.DockerImageManifests[0].MediaType != manifest.OCIManifest {
		t.Errorf("index %q of %q", r.Image.DockerImageManifestMediaType, r.Image.DockerImageManifests[0].MediaType)
	}
}

func TestHostileConfigsGiveAnImageThatCanBeStored(t *testing.T) {
	huge := func(text string, n int) string { return strings.Repeat(text, n) }
	for name, config := range map[string]string{
		"empty":                 ``,
		"empty object":          `{}`,
		"no JSON":               `\x00\xff`,
		"a list":                `[]`,
		"members of wrong kind": `{"architecture":7,"config":"x","created":{}}`,
		"deeply nested":         `{"config":` + huge(`[`, 20000) + huge(`]`, 20000) + `}`,
		"a year no API accepts": `{"created":"9999-12-31T23:59:59-23:59","architecture":"amd64"}`,
		"huge label":            `{"architecture":"amd64","config":{"Labels":{"a":"` + huge("x", 2<<20) + `"}}}`,
		"huge environment":      `{"architecture":"amd64","config":{"Env":["` + huge("x", 2<<20) + `"]}}`,
		"huge author":           `{"architecture":"amd64","author":"` + huge("x", 2<<20) + `"}`,
		"numbers at the edge":   `{"config":{"Memory":-9223372036854775808,"CpuShares":9223372036854775807}}`,
		"invalid UTF-8":         "{\"author\":\"\xff\xfe\",\"architecture\":\"amd64\"}",
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted()
			s.put(app, "v1", manifest.OCIManifest, document(map[string]any{"config": s.blob(manifest.OCIConfig, []byte(config)), "layers": []v1.Descriptor{}}))
			r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
			if problems := validation.Image(r.Image, nil); len(problems) > 0 {
				t.Errorf("invalid: %v", problems)
			}
			encoded, err := json.Marshal(r.Image.DockerImageMetadata)
			if err != nil || len(encoded) > 512<<10 {
				t.Errorf("metadata has %d bytes, error %v", len(encoded), err)
			}
		})
	}
}

func TestSizesNeverOverflow(t *testing.T) {
	s := newScripted()
	var layers []v1.Descriptor
	for at := range 3 {
		layers = append(layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString(fmt.Sprint(at)), Size: math.MaxInt64})
	}
	config := s.blob(manifest.OCIConfig, []byte(`{}`))
	a := s.put(app, "", manifest.OCIManifest, document(map[string]any{"config": config, "layers": layers}))
	b := s.put(app, "", manifest.OCIManifest, document(map[string]any{"config": config, "layers": layers[1:]}))
	s.index(app, "v1", a, b)
	r := imported(t, one(t, engine(t, s), Item{From: app + ":v1"}))
	for _, image := range append(r.Children, r.Image) {
		if got := image.DockerImageMetadata.Size; got != math.MaxInt64 {
			t.Errorf("size %d", got)
		}
	}
}

func TestAConfigOfAnotherSizeThanItsDescriptorIsRefused(t *testing.T) {
	s := newScripted()
	config := s.blob(manifest.OCIConfig, []byte(`{}`))
	config.Size = 1 << 20
	s.put(app, "v1", manifest.OCIManifest, document(map[string]any{"config": config, "layers": []v1.Descriptor{}}))
	failed(t, one(t, engine(t, s), Item{From: app + ":v1"}), "InternalError", "content integrity")
}

func TestResultsOfARequestAreBoundedTogether(t *testing.T) {
	s := newScripted()
	child := s.image(app, "v1", "amd64", "a")
	small := func(o *Options) { o.Limits.ResultBytes = 5000 }
	items := []Item{{From: app + ":v1"}, {From: app + ":v1"}, {From: app + ":v1"}, {From: app + ":v1"}, {From: app + "@" + child.Digest.String()}}
	result := engine(t, s, small).Import(t.Context(), Request{Items: items})
	failures := 0
	for _, r := range result.Items {
		exclusive(t, r)
		if r.Err != nil {
			failed(t, r, "Invalid", "too large together")
			failures++
		}
	}
	if failures == 0 || failures == len(items) {
		t.Errorf("%d of %d items failed", failures, len(items))
	}
}

func TestWhatDoesNotFitTheCacheIsFetchedAgain(t *testing.T) {
	s := newScripted()
	shared := s.image(app, "", "amd64", "shared")
	s.index(app, "v1", shared)
	s.index(app, "v2", shared)
	small := func(o *Options) { o.Limits.CacheBytes = 1; o.Limits.RequestWorkers = 1 }
	for _, r := range engine(t, s, small).Import(t.Context(), Request{Items: []Item{{From: app + ":v1"}, {From: app + ":v2"}}}).Items {
		imported(t, r)
	}
	n := 0
	for _, asked := range s.asked {
		if asked == "GET "+app+" "+shared.Digest.String() {
			n++
		}
	}
	if n != 2 {
		t.Errorf("the child was fetched %d times, want 2", n)
	}
}

// Whatever a registry sends, an item ends with an image that the API can store, or with an
// error, and nothing panics: a panic would be reported as InternalError.
func FuzzManifestToImage(f *testing.F) {
	s := newScripted()
	s.image(app, "v1", "amd64", "a")
	index := s.index(app, "v2", s.image(app, "", "arm64", "b"))
	config := []byte(`{"architecture":"amd64","config":{"Labels":{"a":"b"}}}`)
	f.Add(s.manifests[app]["v1"].Content, manifest.OCIManifest, config, true)
	f.Add(s.manifests[app][index.Digest.String()].Content, manifest.OCIIndex, config, false)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:aa","size":0}]}`), "", []byte(`{"created":0}`), false)
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}}`), "", []byte(`{}`), true)
	f.Fuzz(func(t *testing.T, raw []byte, mediaType string, config []byte, one bool) {
		s := newScripted()
		s.put(app, "v1", mediaType, raw)
		s.put(app, "", mediaType, bytes.TrimSpace(raw))
		s.blob("", config)
		mode := imageapi.ImportModePreserveOriginal
		if one {
			mode = imageapi.ImportModeLegacy
		}
		result := engine(t, s).Import(t.Context(), Request{Items: []Item{{From: app + ":v1", Policy: Policy{ImportMode: mode, IncludeManifest: true}}}})
		r := result.Items[0]
		exclusive(t, r)
		if r.Err != nil {
			if r.Err.Message == inside().Message || r.Err.Code == 0 {
				t.Fatalf("error %+v", r.Err)
			}
			return
		}
		for _, image := range append(r.Children, r.Image) {
			if problems := validation.Image(image, nil); len(problems) > 0 {
				t.Fatalf("image cannot be stored: %v", problems)
			}
			if image.DockerImageMetadata.Size < 0 {
				t.Fatalf("size %d", image.DockerImageMetadata.Size)
			}
		}
	})
}

// The fuzzer above cannot guess digests. Here they are right, and the parts that are not
// covered by one are hostile.
func FuzzConfigToImage(f *testing.F) {
	f.Add([]byte(`{"architecture":"amd64","created":"2025-01-01T00:00:00Z","config":{"Env":["A=b"]}}`), "application/vnd.oci.image.layer.v1.tar", int64(5), "amd64", "")
	f.Add([]byte(`{}`), "", int64(math.MaxInt64), "", "application/vnd.example")
	f.Fuzz(func(t *testing.T, config []byte, layerType string, layerSize int64, arch, artifactType string) {
		s := newScripted()
		child := s.put(app, "", manifest.OCIManifest, document(map[string]any{
			"config": s.blob(manifest.OCIConfig, config), "artifactType": artifactType,
			"layers": []v1.Descriptor{{MediaType: layerType, Digest: digest.FromString("layer"), Size: layerSize}},
		}))
		child.Platform = &v1.Platform{Architecture: arch, OS: "linux"}
		s.index(app, "v1", child)
		r := engine(t, s).Import(t.Context(), Request{Items: []Item{{From: app + ":v1", Policy: Policy{IncludeManifest: true}}}}).Items[0]
		exclusive(t, r)
		if r.Err != nil {
			if layerSize >= 0 && len(artifactType) < 1000 {
				t.Fatalf("refused: %+v", r.Err)
			}
			return
		}
		for _, image := range append(r.Children, r.Image) {
			if problems := validation.Image(image, nil); len(problems) > 0 || image.DockerImageMetadata.Size < 0 {
				t.Fatalf("size %d, problems %v", image.DockerImageMetadata.Size, problems)
			}
		}
	})
}
