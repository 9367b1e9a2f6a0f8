package plan

import (
	"testing"
	"time"

	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// newOverSize limits images in the namespace ns to 100 bytes; images a to f have 200, b exactly 100.
func newOverSize() *fixture {
	f := newFixture()
	f.OverSize, f.KeepTagRevisions, f.KeepYoungerThan = true, 3, time.Hour
	f.Snapshot.Limits = map[string]int64{"ns": 100}
	for _, letter := range []string{"a", "c", "d", "e", "f"} {
		f.image(letter, func(i *snapshot.Image) { i.Size = 200 })
	}
	f.image("b", func(i *snapshot.Image) { i.Size = 100 })
	return f
}

// Behaviours 28 and 44.
func TestOverSizeModeRemovesWhatExceeds(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *fixture, *snapshot.Stream)
		want   string
	}{
		{"what exceeds goes, even among the newest", func(*testing.T, *fixture, *snapshot.Stream) {}, "v1/0 v1/2"},
		{"young revisions and streams go, too", func(_ *testing.T, _ *fixture, s *snapshot.Stream) {
			s.Created, s.Tags[0].Revisions[0].Created = now, now
		}, "v1/0 v1/2"},
		{"declared tags go, too", func(_ *testing.T, _ *fixture, s *snapshot.Stream) { s.Tags[0].Declared = true }, "v1/0 v1/2"},
		{"a used tag stays", func(t *testing.T, f *fixture, _ *snapshot.Stream) { f.uses(t, "h.x/ns/app:v1") }, "v1/2"},
		{"a used digest stays", func(t *testing.T, f *fixture, _ *snapshot.Stream) { f.uses(t, "h.x/ns/app@"+id("c")) }, "v1/0"},
		{"annotations count", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("c", func(i *snapshot.Image) { i.Keep, i.Size = true, 200 })
		}, "v1/0"},
		{"another limit in another namespace", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			s.Namespace = "roomy"
			f.Snapshot.Limits["roomy"] = 200
		}, ""},
		{"no limit in another namespace", func(_ *testing.T, _ *fixture, s *snapshot.Stream) { s.Namespace = "free" }, ""},
		{"an index counts as its largest child", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("d", func(i *snapshot.Image) { i.Size = 60 })
			f.image("e", func(i *snapshot.Image) { i.Size = 70 })
			f.image("a", func(i *snapshot.Image) { i.Size, i.Children = 999, []string{id("d"), id("e")} })
		}, "v1/2"},
		{"an index with a child too large exceeds", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("d", func(i *snapshot.Image) { i.Size = 101 })
			f.image("a", func(i *snapshot.Image) { i.Size, i.Children = 1, []string{id("d"), id("e")} })
		}, "v1/0 v1/2"},
		{"an index in an index", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("d", func(i *snapshot.Image) { i.Children = []string{id("e"), id("d")} })
			f.image("a", func(i *snapshot.Image) { i.Children = []string{id("d")} })
			f.image("e", func(i *snapshot.Image) { i.Size = 99 })
		}, "v1/2"},
		{"children that nobody knows do not count", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("a", func(i *snapshot.Image) { i.Size, i.Children = 999, []string{"sha256:unknown"} })
		}, "v1/2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, s := newOverSize(), stream("a", "b", "c")
			test.change(t, f, &s)
			if got := f.removed(s); got != test.want {
				t.Errorf("removed %q, want %q", got, test.want)
			}
		})
	}
}

// Behaviour 44.
func TestOverSizeModeDeletesYoungImagesButNeverFreshOnes(t *testing.T) {
	f := newOverSize()
	f.image("a", func(i *snapshot.Image) { i.Created = now.Add(-10 * time.Minute) })
	f.image("b", func(i *snapshot.Image) { i.Created = now.Add(-time.Minute) })
	kept := map[string]bool{}
	for _, decision := range f.Images(map[string]string{id("c"): "listed"}) {
		kept[decision.Digest] = decision.Kept
	}
	if kept[id("a")] || !kept[id("b")] || !kept[id("c")] || kept[id("d")] {
		t.Errorf("kept %v, want the one within the reference grace and the listed one", kept)
	}
}

// Behaviour 45.
func TestOverSizeModeTakesSignaturesWithTheirSubject(t *testing.T) {
	f := newOverSize()
	s := stream("a")
	signature := snapshot.Tag{Name: "sha256-" + id("a")[7:] + ".sig", Revisions: []snapshot.Revision{{Digest: id("b"), Created: now.Add(-old)}}}
	s.Tags = append(s.Tags, signature)
	if got := f.removed(s); got != "v1/0 "+signature.Name+"/0" {
		t.Errorf("removed %q, want the image and its signature", got)
	}
	s.Tags[1].Revisions[0].Created = now
	if got := f.removed(s); got != "v1/0" {
		t.Errorf("removed %q, want a young signature left alone", got)
	}
}
