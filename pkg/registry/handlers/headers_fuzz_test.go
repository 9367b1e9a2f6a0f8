package handlers

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"0-4", "bytes 0-4", "bytes=5-9/10", "5-3", "-", "0-", "-1", "0-9223372036854775807", "0-9223372036854775808", "+0-1", "0x0-1", "0-1,2-3", "bytes */5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		chunk, err := parseContentRange(text)
		switch {
		case err != nil && chunk != (contentRange{}):
			t.Fatalf("%q: %v and %+v", text, err, chunk)
		case err == nil && (chunk.first < 0 || chunk.last < chunk.first):
			t.Fatalf("%q is the range %+v", text, chunk)
		case err == nil && strings.Count(text, "-") == 0:
			t.Fatalf("%q has no end", text)
		}
	})
}

func FuzzAccept(f *testing.F) {
	const stored = "application/vnd.oci.image.index.v1+json"
	for _, seed := range []string{"", "*/*", stored, stored + ";q=0", "text/html, " + stored + ";q=0.5", ",,,", ";q=0", "a/b;q=NaN", "*/*;q=0", strings.Repeat("a/b,", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		once, twice := parseAccept([]string{value}), parseAccept([]string{value, value})
		for _, mediaType := range []string{stored, "application/json", ""} {
			if once.allows(mediaType) != twice.allows(mediaType) {
				t.Fatalf("%q allows %q: %t, and twice %t", value, mediaType, once.allows(mediaType), twice.allows(mediaType))
			}
		}
		if !parseAccept([]string{"*/*"}).allows(stored) || !parseAccept(nil).allows(stored) {
			t.Fatal("a client that takes everything does not")
		}
	})
}

func FuzzETag(f *testing.F) {
	d := digest.FromString("x")
	for _, seed := range []string{"", "*", d.String(), `"` + d.String() + `"`, `W/"` + d.String() + `"`, `"a", "` + d.String() + `"`, `"` + d.String(), ","} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if matchesETag([]string{value}, d) && !strings.Contains(value, d.String()) {
			t.Fatalf("%q matches %s", value, d)
		}
		if !matchesETag([]string{value, `"` + d.String() + `"`}, d) {
			t.Fatalf("%q hides the tag after it", value)
		}
	})
}
