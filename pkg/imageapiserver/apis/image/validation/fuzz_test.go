package validation

import (
	"strings"
	"testing"
	"time"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// FuzzNames asks every check of names and references the same: none may panic, and what one accepts
// must be fit for what it is used for.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"", "a", "a..b", "a/b", "..", "a:b", "a@b", "sha256:" + strings.Repeat("0", 64), "example.test:5000/a/b:c@sha256:" + strings.Repeat("f", 64), "\x00", "ä", strings.Repeat("a", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(StreamName(text, false)) == 0 && strings.ContainsAny(text, "/%:@ \x00") {
			t.Errorf("%q is taken for the name of a stream", text)
		}
		if len(ImageName(text, false)) == 0 && (strings.ContainsAny(text, "/%") || text == "." || text == "..") {
			t.Errorf("%q is taken for the name of an image", text)
		}
		if len(TagName(text, nil)) == 0 && strings.ContainsAny(text, ":@/ \x00") {
			t.Errorf("%q is taken for the name of a tag", text)
		}
		if stream, tag, err := SplitTagSource("own", text); err == nil && (stream == "" || tag == "") {
			t.Errorf("tag source %q has the parts %q and %q", text, stream, tag)
		}
		if stream, id, err := SplitImageSource("own", text); err == nil && (stream == "" || id == "") {
			t.Errorf("image source %q has the parts %q and %q", text, stream, id)
		}
		for _, meta := range []string{text, "app:" + text, text + ":v1"} {
			tag := &imageapi.ImageTag{Spec: &imageapi.TagReference{Name: text}}
			tag.Namespace, tag.Name = "team-a", meta
			ImageTag(tag)
		}
	})
}

// FuzzSignature checks whatever a client may send as a signature, by itself and in its image.
func FuzzSignature(f *testing.F) {
	f.Add("image@name", "AtomicImageV1", []byte("content"), "Trusted", "True", int64(0))
	f.Add("@", "", []byte(nil), "", "", int64(1<<62))
	f.Fuzz(func(t *testing.T, name, kind string, content []byte, condition, status string, seconds int64) {
		signature := imageapi.ImageSignature{Type: kind, Content: content}
		signature.Name = name
		signature.Conditions = []imageapi.SignatureCondition{{Type: imageapi.SignatureConditionType(condition)}}
		signature.Conditions[0].LastProbeTime.Time = time.Unix(seconds, 0)
		errs := ImageSignature(&signature)
		if len(errs) == 0 && (kind == "" || len(content) == 0 || len(content) > MaxSignatureContent || strings.Count(name, "@") != 1) {
			t.Errorf("signature %q of type %q with %d bytes is accepted", name, kind, len(content))
		}
		image := &imageapi.Image{Signatures: []imageapi.ImageSignature{signature, signature}}
		if len(Image(image, nil)) == 0 {
			t.Error("an image with one signature twice is accepted")
		}
	})
}

// FuzzTime reads times as they stand in annotations.
func FuzzTime(f *testing.F) {
	f.Add("2026-01-02T03:04:05Z")
	f.Add("9999-12-31T23:59:59+23:59")
	f.Add("0000-00-00T00:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := ParseTime(text); err == nil {
			again, err := ParseTime(parsed.Format(time.RFC3339))
			if err != nil || again.Unix() != parsed.Unix() {
				t.Errorf("%q reads as %s, that as %s, %v", text, parsed, again, err)
			}
		}
	})
}
