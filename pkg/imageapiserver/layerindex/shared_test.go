package layerindex

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// Between two Images the garbage collector runs, and more than once; the second must not get a copy.
func TestImagesShareTheirDigestsAcrossCollections(t *testing.T) {
	const digest = "sha256:0123456789"
	first := reduce(image("a", strings.Clone(digest)))
	for range 3 {
		runtime.GC()
	}
	second := reduce(image("b", strings.Clone(digest)))
	if unsafe.StringData(first.record.Layers[0].Name) != unsafe.StringData(second.record.Layers[0].Name) {
		t.Error("the digest of a layer of both Images is in memory twice")
	}
	runtime.KeepAlive(first)
}
