package explain

import (
	"testing"

	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Histories of one tag that stand apart are no reason to fail.
func TestTagThatStandsTwice(t *testing.T) {
	w := newWorld(t)
	stream := w.stream()
	stream.Tags = append(stream.Tags, snapshot.Tag{Name: "v1", Revisions: []snapshot.Revision{{Digest: id("d"), Created: now.Add(-2 * old)}}})
	for letter, created := range map[string]snapshot.Revision{"c": stream.Tags[0].Revisions[2], "d": stream.Tags[1].Revisions[0]} {
		explanation, err := Explain(w.Planner, id(letter))
		if err != nil {
			t.Fatal(err)
		}
		if len(explanation.Revisions) != 1 || !explanation.Revisions[0].Created.Time.Equal(created.Created) {
			t.Errorf("%s: %+v", letter, explanation.Revisions)
		}
	}
}
