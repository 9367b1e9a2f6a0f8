package manifest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func descriptorJSON(mediaType, digest string, size int) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest, size)
}

func imageJSON(extra string) string {
	return `{"schemaVersion":2,` + extra + `"config":` + descriptorJSON(OCIConfig, digestA, 7) +
		`,"layers":[` + descriptorJSON("application/vnd.oci.image.layer.v1.tar+gzip", digestB, 9) + `]}`
}

func indexJSON(extra string) string {
	return `{"schemaVersion":2,` + extra + `"manifests":[` + descriptorJSON(OCIManifest, digestA, 7) + `]}`
}

// Behaviours 26 and 27.
func TestParseDecidesTheMediaType(t *testing.T) {
	tests := []struct{ name, raw, announced, want string }{
		{"announced", imageJSON(""), OCIManifest, OCIManifest},
		{"announced with parameters", imageJSON(""), OCIManifest + "; charset=utf-8", OCIManifest},
		{"named", imageJSON(`"mediaType":"` + DockerManifest + `",`), "", DockerManifest},
		{"shape of an image", imageJSON(""), "", OCIManifest},
		{"shape of an index", indexJSON(""), "", OCIIndex},
		{"announced list", indexJSON(""), DockerManifestList, DockerManifestList},
		{"empty index", `{"schemaVersion":2,"manifests":[]}`, OCIIndex, OCIIndex},
		{"image without layers", `{"schemaVersion":2,"layers":[],"config":` + descriptorJSON(OCIEmpty, digestA, 2) + `}`, OCIManifest, OCIManifest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse([]byte(test.raw), test.announced)
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			if m.MediaType != test.want {
				t.Errorf("media type %q, want %q", m.MediaType, test.want)
			}
			if (m.Config == nil) != m.IsIndex() {
				t.Errorf("config present: %t, index: %t", m.Config != nil, m.IsIndex())
			}
		})
	}
}

// Behaviour 26. CVE-2021-41190.
func TestParseRefuses(t *testing.T) {
	image, index := imageJSON(""), indexJSON("")
	tests := []struct {
		name, raw, announced string
		reason               Reason
	}{
		{"not JSON", "hello", OCIManifest, ReasonMalformed},
		{"an array", "[]", OCIManifest, ReasonMalformed},
		{"empty", "", OCIManifest, ReasonMalformed},
		{"truncated", image[:len(image)-1], OCIManifest, ReasonMalformed},
		{"content after the end", image + "}", OCIManifest, ReasonMalformed},
		{"a second document", image + image, OCIManifest, ReasonMalformed},
		{"not UTF-8", strings.Replace(image, "layer", "lay\xff", 1), OCIManifest, ReasonMalformed},
		{"schema 1 announced", image, dockerSchema1, ReasonUnsupported},
		{"signed schema 1 announced", image, dockerSchema1Signed + "; charset=utf-8", ReasonUnsupported},
		{"schema 1 by version", `{"schemaVersion":1,"fsLayers":[]}`, "", ReasonUnsupported},
		{"schema 1 by version under another type", `{"schemaVersion":1}`, DockerManifest, ReasonUnsupported},
		{"schema 1 named", imageJSON(`"mediaType":"` + dockerSchema1 + `",`), "", ReasonUnsupported},
		{"artifact manifest", image, ociArtifactManifest, ReasonUnsupported},
		{"unknown type", image, "text/html", ReasonUnsupported},
		{"no type and no shape", `{"schemaVersion":2}`, "", ReasonUnsupported},
		{"no version", `{"config":` + descriptorJSON(OCIConfig, digestA, 1) + `}`, OCIManifest, ReasonUnsupported},
		{"version 3", strings.Replace(image, ":2,", ":3,", 1), OCIManifest, ReasonUnsupported},
		{"header and field differ", imageJSON(`"mediaType":"` + DockerManifest + `",`), OCIManifest, ReasonAmbiguous},
		{"manifests and config", `{"schemaVersion":2,"manifests":[],"config":{}}`, OCIIndex, ReasonAmbiguous},
		{"manifests and layers", `{"schemaVersion":2,"manifests":[],"layers":[]}`, OCIManifest, ReasonAmbiguous},
		{"an image called index", image, OCIIndex, ReasonAmbiguous},
		{"an index called image", index, OCIManifest, ReasonAmbiguous},
		{"repeated member", `{"schemaVersion":2,"schemaVersion":2,"manifests":[]}`, OCIIndex, ReasonAmbiguous},
		{"member in another case", strings.Replace(index, `"manifests"`, `"Manifests"`, 1), OCIIndex, ReasonAmbiguous},
		{"another document in another case", strings.Replace(image, `"layers"`, `"Manifests":[],"layers"`, 1), OCIManifest, ReasonAmbiguous},
		{"another digest in another case", strings.Replace(image, `"digest"`, `"DIGEST":"x","digest"`, 1), OCIManifest, ReasonAmbiguous},
		{"null config", `{"schemaVersion":2,"config":null,"layers":[]}`, OCIManifest, ReasonMalformed},
		{"bad digest", strings.Replace(image, digestB, "sha256:xyz", 1), OCIManifest, ReasonMalformed},
		{"upper-case digest", strings.Replace(image, digestB, strings.ToUpper(digestB), 1), OCIManifest, ReasonMalformed},
		{"negative size", strings.Replace(image, `"size":9`, `"size":-9`, 1), OCIManifest, ReasonMalformed},
		{"no size", strings.Replace(image, `,"size":9`, "", 1), OCIManifest, ReasonMalformed},
		{"text size", strings.Replace(image, `"size":9`, `"size":"9"`, 1), OCIManifest, ReasonMalformed},
		{"layers is an object", `{"schemaVersion":2,"layers":{},"config":` + descriptorJSON(OCIConfig, digestA, 1) + `}`, OCIManifest, ReasonMalformed},
		{"bad subject", imageJSON(`"subject":{"digest":"x","size":1},`), OCIManifest, ReasonMalformed},
		{"too many descriptors", `{"schemaVersion":2,"manifests":[0` + strings.Repeat(",0", MaxDescriptors) + `]}`, OCIIndex, ReasonMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, err := Parse([]byte(test.raw), test.announced)
			var refusal *Error
			if !errors.As(err, &refusal) {
				t.Fatalf("Parse = %+v, %v; want a refusal", m, err)
			}
			if refusal.Reason != test.reason {
				t.Errorf("reason %s (%s), want %s", refusal.Reason, refusal.Message, test.reason)
			}
		})
	}
}

func TestBlobsNamesEachDigestOnce(t *testing.T) {
	layer := descriptorJSON("application/vnd.oci.image.layer.v1.tar", digestB, 9)
	raw := `{"schemaVersion":2,"config":` + descriptorJSON(OCIConfig, digestA, 7) + `,"layers":[` + layer + "," + layer + `]}`
	m, err := Parse([]byte(raw), OCIManifest)
	if err != nil {
		t.Fatal(err)
	}
	blobs := m.Blobs()
	if len(blobs) != 2 || blobs[0].Digest != digestA || blobs[1].Digest != digestB {
		t.Errorf("blobs %v, want the config and the layer once", blobs)
	}
}

func TestDigests(t *testing.T) {
	raw := []byte("content")
	for _, good := range []string{Canonical(raw).String(), "sha512:" + strings.Repeat("0", 128)} {
		if _, err := ParseDigest(good); err != nil {
			t.Errorf("ParseDigest(%q): %v", good, err)
		}
	}
	for _, bad := range []string{"", "sha256", "sha256:", "md5:" + strings.Repeat("0", 32), "sha256:" + strings.Repeat("0", 63), "sha256:" + strings.Repeat("G", 64), "sha512:" + strings.Repeat("0", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest(%q) accepted it", bad)
		}
	}
	if err := Verify(raw, Canonical(raw)); err != nil {
		t.Errorf("Verify: %v", err)
	}
	var refusal *Error
	if err := Verify(raw, digestA); !errors.As(err, &refusal) || refusal.Reason != ReasonDigest {
		t.Errorf("Verify with another digest = %v, want reason Digest", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{imageJSON(""), indexJSON(""), `{"schemaVersion":1}`, `{"schemaVersion":2,"manifests":null}`, "{}", ""} {
		f.Add([]byte(seed), OCIManifest)
		f.Add([]byte(seed), "")
	}
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		m, err := Parse(raw, contentType)
		if err != nil {
			var refusal *Error
			if !errors.As(err, &refusal) {
				t.Fatalf("refusal of another type: %T", err)
			}
			return
		}
		if m.IsIndex() == (m.Config != nil) {
			t.Fatalf("neither image nor index: %q", raw)
		}
		again, err := Parse(raw, m.MediaType)
		if err != nil || again.MediaType != m.MediaType {
			t.Fatalf("the decided media type %q is not accepted: %v", m.MediaType, err)
		}
	})
}

// Strangers send documents, and several are read at a time.
func TestHostileDocumentsTakeLittleMoreMemoryThanTheyHaveBytes(t *testing.T) {
	const size = 4 << 20
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	config := `"config":{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":1}`
	for name, raw := range map[string]string{
		"items":       `{"schemaVersion":2,` + config + `,"layers":[` + strings.Repeat("0,", size/2) + `0]}`,
		"members":     `{"schemaVersion":2,` + config + `,"layers":[]` + numbered(`,"%x":0`) + `}`,
		"annotations": `{"schemaVersion":2,` + config + `,"layers":[],"annotations":{` + numbered(`"%x":"",`) + `"":""}}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse([]byte(raw), OCIManifest)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: the document is accepted", name)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 7*size {
			t.Errorf("%s: %d MiB were allocated for a document of %d MiB", name, used>>20, size>>20)
		}
	}
}
