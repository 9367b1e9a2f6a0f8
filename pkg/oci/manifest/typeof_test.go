package manifest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestTypeOf(t *testing.T) {
	for _, raw := range []string{
		imageJSON(""), indexJSON(""), `{"schemaVersion":2,"manifests":[]}`,
		imageJSON(`"mediaType":"` + DockerManifest + `",`), indexJSON(`"mediaType":"` + DockerManifestList + `",`), imageJSON(`"mediaType":"",`), imageJSON(`"media\u0054ype":"` + DockerManifest + `",`), imageJSON(`"a":["manifests",{"manifests":1}],"b\"":"manifests",`), " " + indexJSON(`"a":"mediaType",`),
	} {
		parsed, err := Parse([]byte(raw), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := TypeOf([]byte(raw)); got != parsed.MediaType {
			t.Errorf("%s: %q, want %q", raw, got, parsed.MediaType)
		}
	}
	for _, raw := range []string{"", "[]", "{", `{"mediaType":7}`, `{"mediaType":"text/html","manifests":[]}`, `{"a"}`} {
		if got := TypeOf([]byte(raw)); got != OCIManifest {
			t.Errorf("%s: %q", raw, got)
		}
	}
}

// A manifest that was made to be expensive is read by every pull.
func TestTypeOfNeedsLittleMemory(t *testing.T) {
	var members strings.Builder
	for i := range 300000 {
		fmt.Fprintf(&members, `"m%d":0,`, i)
	}
	raw := []byte(imageJSON(members.String()))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if got := TypeOf(raw); got != OCIManifest {
		t.Errorf("type %q", got)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes were allocated for %d", took, len(raw))
	}
}

func FuzzTypeOf(f *testing.F) {
	f.Add([]byte(imageJSON("")))
	f.Add([]byte(indexJSON("")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := TypeOf(raw)
		if parsed, err := Parse(raw, ""); err == nil && parsed.MediaType != got {
			t.Fatalf("%q: %q, but parsed as %q", raw, got, parsed.MediaType)
		}
	})
}
