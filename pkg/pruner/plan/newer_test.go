package plan

import (
	"testing"
	"time"

	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// An index that was pushed during the run may contain what an old signature was made of.
func TestSignatureBesideAnIndexThatIsNewerThanTheRun(t *testing.T) {
	for presence, kept := range map[Presence]bool{Present: true, Unsure: true, Absent: false} {
		f := newFixture()
		f.Lookup = func(string) Presence { return presence }
		old := now.Add(-old)
		decisions := f.Stream(snapshot.Stream{Namespace: "ns", Name: "app", Created: old, Tags: []snapshot.Tag{
			{Name: "v1", Revisions: []snapshot.Revision{{Digest: id("9"), Created: now.Add(time.Second)}}},
			{Name: "sha256-" + id("a")[7:] + ".sig", Revisions: []snapshot.Revision{{Digest: id("b"), Created: old}}},
		}})
		if decisions[1].Keep != kept {
			t.Errorf("presence %d: kept %t, %s", presence, decisions[1].Keep, decisions[1].Reason)
		}
	}
}
