package references

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// counted counts what an Index asks for.
type counted struct {
	streams
	asked int
}

func (c *counted) Has(stream Stream) (exists, local bool) {
	c.asked++
	return c.streams.Has(stream)
}

func (c *counted) HasNamespace(name string) bool {
	c.asked++
	return c.streams.HasNamespace(name)
}

// Whoever may write an object may put into it what looks like thousands of names. A long text costs little,
// and what it mentions is protected all the same, wherever it stands.
func TestLongTextsCostLittle(t *testing.T) {
	const size = 1 << 20
	full := strings.Repeat("a", maxNamespace) + "/" + strings.Repeat("b", maxName)
	for name, part := range map[string]string{"the longest names": full, "the longest namespaces": full[:maxNamespace+2], "separators": "/", "short names": "a/"} {
		text := strings.Repeat(part, size/len(part)) + " team/app$(X) " + strings.Repeat(part, 3)
		known := &counted{streams: streams{{"team", "app"}: false, {"other", "app"}: false}}
		index := NewIndex(known)
		index.add(value{source: Source{Kind: "Pod", Namespace: "x", Name: "p"}, text: text})
		if got := protectedBy(index); !slices.Equal(got, []string{"all of team/app"}) {
			t.Errorf("%s: protects %q", name, got)
		}
		if known.asked > 2*len(text) {
			t.Errorf("%s: asked %d times about a text of %d bytes", name, known.asked, len(text))
		}
	}
	// Namespaces that end alike are all tried.
	known := streams{}
	var want []string
	for i := range 5 {
		known[Stream{"abcde"[i:], "app"}] = false
		want = append(want, fmt.Sprintf("all of %s/app", "abcde"[i:]))
	}
	index := NewIndex(known)
	index.add(value{source: Source{Kind: "Pod", Namespace: "x", Name: "p"}, text: "abcde/apple$(X)"})
	if got := protectedBy(index); !slices.Equal(got, want) {
		t.Errorf("protects %q, want %q", got, want)
	}
}
