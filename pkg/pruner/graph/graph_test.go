package graph

import (
	"fmt"
	"testing"
)

func example() *Graph {
	return New([]Image{
		{Digest: "outer", Children: []string{"inner", "plain"}},
		{Digest: "inner", Children: []string{"leaf", "absent"}},
		{Digest: "plain"}, {Digest: "leaf"},
		{Digest: "signature", Subject: "outer"},
		{Digest: "sbom", Subject: "leaf"},
		{Digest: "dangling", Subject: "gone"},
	})
}

func TestKeepReachesChildrenAndReferrers(t *testing.T) {
	kept := map[string]string{"outer": ""}
	example().Keep(kept)
	for _, want := range []string{"outer", "inner", "plain", "leaf", "absent", "signature", "sbom"} {
		if _, ok := kept[want]; !ok {
			t.Errorf("%s is not kept", want)
		}
	}
	if _, ok := kept["dangling"]; ok {
		t.Error("a referrer of nothing is kept")
	}
	kept = map[string]string{"leaf": ""}
	example().Keep(kept)
	if len(kept) != 2 {
		t.Errorf("kept with a leaf: %v, want its SBOM only", kept)
	}
}

func TestWavesNeverLeaveAnIndexWithoutChildren(t *testing.T) {
	got := fmt.Sprint(example().Waves([]string{"sbom", "leaf", "plain", "inner", "outer", "signature", "dangling"}))
	want := "[[outer] [dangling inner plain signature] [leaf] [sbom]]"
	if got != want {
		t.Errorf("waves %s, want %s", got, want)
	}
}

// An index may be a referrer of what it contains, such as one that lists an image with its attestations.
func TestIndexesGoBeforeASubjectThatTheyContain(t *testing.T) {
	for name, images := range map[string][]Image{
		"[[index] [image] [signature]]": {
			{Digest: "index", Children: []string{"image"}, Subject: "image"}, {Digest: "image"}, {Digest: "signature", Subject: "image"},
		},
		"[[outer] [inner] [image]]": {
			{Digest: "outer", Children: []string{"inner"}, Subject: "image"}, {Digest: "inner", Children: []string{"image"}}, {Digest: "image"},
		},
		"[[one two] [image other]]": {
			{Digest: "one", Children: []string{"other"}, Subject: "image"}, {Digest: "two", Children: []string{"image"}, Subject: "other"},
			{Digest: "image"}, {Digest: "other"},
		},
	} {
		var digests []string
		for _, image := range images {
			digests = append(digests, image.Digest)
		}
		g := New(images)
		waves := g.Waves(digests)
		if got := fmt.Sprint(waves); got != name {
			t.Errorf("waves %s, want %s", got, name)
		}
		gone := map[string]bool{}
		for _, wave := range waves {
			for _, digest := range wave {
				for _, other := range g.Before(digest) {
					if !gone[other] {
						t.Errorf("%s: %s has to go before %s and does not", name, other, digest)
					}
				}
			}
			for _, digest := range wave {
				gone[digest] = true
			}
		}
	}
}

func TestCircleEnds(t *testing.T) {
	g := New([]Image{{Digest: "a", Children: []string{"b"}}, {Digest: "b", Children: []string{"a"}}})
	count := 0
	for _, wave := range g.Waves([]string{"a", "b"}) {
		count += len(wave)
	}
	if count != 2 {
		t.Errorf("%d images in the waves, want 2", count)
	}
}
