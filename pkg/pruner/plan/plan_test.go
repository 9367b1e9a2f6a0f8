package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const old = 100 * 24 * time.Hour

// id makes a digest from a letter.
func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

type anyStream struct{}

func (anyStream) Has(references.Stream) (exists, local bool) { return true, false }

func (anyStream) Digests(references.Stream) []string { return nil }

func (anyStream) HasNamespace(string) bool { return true }

type fixture struct {
	*Planner
	asked []string
}

// newFixture knows old, managed images a to f.
func newFixture() *fixture {
	f := &fixture{Planner: &Planner{
		Settings: Settings{KeepTagRevisions: 1, KeepYoungerThan: time.Hour, All: true, ReferenceGrace: 5 * time.Minute},
		Snapshot: &snapshot.Snapshot{Time: now, Images: map[string]snapshot.Image{}, Uses: references.NewIndex(anyStream{})},
	}}
	for _, letter := range []string{"a", "b", "c", "d", "e", "f"} {
		f.image(letter, func(*snapshot.Image) {})
	}
	f.Lookup = func(digest string) Presence { f.asked = append(f.asked, digest); return Absent }
	return f
}

func (f *fixture) image(letter string, change func(*snapshot.Image)) {
	image := snapshot.Image{Digest: id(letter), Created: now.Add(-old), Managed: true}
	change(&image)
	f.Snapshot.Images[image.Digest] = image
}

func (f *fixture) uses(t *testing.T, image string) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "user"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}
	if err := f.Snapshot.Uses.AddObject(pod, references.Ages{}); err != nil {
		t.Fatal(err)
	}
}

// stream has one tag v1 with old revisions of the images, newest first.
func stream(letters ...string) snapshot.Stream {
	tag := snapshot.Tag{Name: "v1"}
	for _, letter := range letters {
		tag.Revisions = append(tag.Revisions, snapshot.Revision{Digest: id(letter), Created: now.Add(-old)})
	}
	return snapshot.Stream{Namespace: "ns", Name: "app", Created: now.Add(-old), Tags: []snapshot.Tag{tag}}
}

// removed renders the removed revisions as tag and index.
func (f *fixture) removed(s snapshot.Stream) string {
	var out []string
	for _, decision := range f.Stream(s) {
		if !decision.Keep {
			out = append(out, fmt.Sprintf("%s/%d", decision.Tag, decision.Index))
		}
	}
	return strings.Join(out, " ")
}

// Behaviours 24, 26, 27, 28, 33 and 34.
func TestRulesOfTheHistory(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *fixture, *snapshot.Stream)
		want   string
	}{
		{"old and unused", func(*testing.T, *fixture, *snapshot.Stream) {}, "v1/1 v1/2"},
		{"rule 1: stream kept", func(_ *testing.T, _ *fixture, s *snapshot.Stream) { s.Keep = true }, ""},
		{"rule 1: tag kept", func(_ *testing.T, _ *fixture, s *snapshot.Stream) { s.Tags[0].Keep = true }, ""},
		{"rule 1: whitelisted", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.Whitelist = []*regexp.Regexp{regexp.MustCompile("^ns/")}
		}, ""},
		{"rule 1: mentioned in a placeholder", func(t *testing.T, f *fixture, _ *snapshot.Stream) { f.uses(t, "h.x/ns/app:$(V)") }, ""},
		{"rule 2: young stream", func(_ *testing.T, _ *fixture, s *snapshot.Stream) { s.Created = now.Add(-time.Minute) }, ""},
		{"rule 3: young revision", func(_ *testing.T, _ *fixture, s *snapshot.Stream) {
			s.Tags[0].Revisions[1].Created = now.Add(-time.Minute)
		}, "v1/2"},
		{"rule 3 before 7", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			delete(f.Snapshot.Images, id("b"))
			s.Tags[0].Revisions[1].Created = now.Add(-time.Minute)
			f.Lookup = func(string) Presence { panic("asked about a young revision") }
		}, "v1/2"},
		{"rule 4: used tag", func(t *testing.T, f *fixture, _ *snapshot.Stream) {
			f.KeepTagRevisions = 0
			f.uses(t, "h.x/ns/app:v1")
		}, "v1/1 v1/2"},
		{"rule 5: declared tag", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			f.KeepTagRevisions = 0
			s.Tags[0].Declared = true
		}, "v1/1 v1/2"},
		{"rule 7: an entry without an image is nobody's to look up", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			s.Tags[0].Revisions[0].Digest, s.Tags[0].Revisions[2].Digest = "", ""
			f.Lookup = func(digest string) Presence { panic("asked about " + digest) }
		}, "v1/1 v1/2"},
		{"rule 7: newer than the snapshot", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			delete(f.Snapshot.Images, id("b"))
			f.Lookup = func(string) Presence { return Present }
		}, "v1/2"},
		{"rule 7: absent, even among the newest", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			delete(f.Snapshot.Images, id("a"))
		}, "v1/0 v1/1 v1/2"},
		{"rule 8: image kept", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("c", func(i *snapshot.Image) { i.Keep = true })
		}, "v1/1"},
		{"rule 9: not managed", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.All = false
			f.image("b", func(i *snapshot.Image) { i.Managed = false })
		}, "v1/2"},
		{"rule 9: not managed, but all", func(_ *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("b", func(i *snapshot.Image) { i.Managed = false })
		}, "v1/1 v1/2"},
		{"rule 11: none", func(_ *testing.T, f *fixture, _ *snapshot.Stream) { f.KeepTagRevisions = 0 }, "v1/0 v1/1 v1/2"},
		{"rule 11: all", func(_ *testing.T, f *fixture, _ *snapshot.Stream) { f.KeepTagRevisions = 3 }, ""},
		{"rule 11: duplicates count each", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			f.KeepTagRevisions = 2
			s.Tags[0].Revisions[1].Digest = id("a")
		}, "v1/2"},
		{"rule 11: young ones use up places", func(_ *testing.T, f *fixture, s *snapshot.Stream) {
			f.KeepTagRevisions = 2
			s.Tags[0].Revisions[0].Created = now
		}, "v1/2"},
		{"rule 12: digest in use", func(t *testing.T, f *fixture, _ *snapshot.Stream) { f.uses(t, "h.x/ns/app@"+id("c")) }, "v1/1"},
		{"rule 12: child of an index in use", func(t *testing.T, f *fixture, _ *snapshot.Stream) {
			f.image("c", func(i *snapshot.Image) { i.Children = []string{id("d")} })
			f.uses(t, "h.x/ns/app@"+id("d"))
		}, "v1/1"},
		{"digest in use in another stream", func(t *testing.T, f *fixture, _ *snapshot.Stream) { f.uses(t, "h.x/ns/else@"+id("c")) }, "v1/1 v1/2"},
		{"other namespace", func(_ *testing.T, f *fixture, _ *snapshot.Stream) { f.Namespace = "other" }, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, s := newFixture(), stream("a", "b", "c")
			test.change(t, f, &s)
			if got := f.removed(s); got != test.want {
				t.Errorf("removed %q, want %q", got, test.want)
			}
		})
	}
}

// Behaviour 25.
func TestFailedLookupKeepsAndCounts(t *testing.T) {
	f, s := newFixture(), stream("a", "b")
	delete(f.Snapshot.Images, id("b"))
	f.Lookup = func(string) Presence { return Unsure }
	decision := f.Stream(s)[1]
	if !decision.Keep || !decision.Unsure {
		t.Errorf("decision %+v, want kept and unsure", decision)
	}
}

// Behaviour 45.
func TestSignatureTagsGoWithTheirSubject(t *testing.T) {
	signed := func(subject string) snapshot.Stream {
		s := stream("a", "b", "c")
		tag := snapshot.Tag{Name: "sha256-" + strings.Repeat(subject, 64) + ".sig"}
		for _, letter := range []string{"d", "e"} {
			tag.Revisions = append(tag.Revisions, snapshot.Revision{Digest: id(letter), Created: now.Add(-old)})
		}
		s.Tags = append([]snapshot.Tag{tag}, s.Tags...)
		return s
	}
	f := newFixture()
	if got := f.removed(signed("a")); strings.Contains(got, ".sig/0") || !strings.Contains(got, ".sig/1") {
		t.Errorf("subject kept: removed %q", got)
	}
	if got := f.removed(signed("b")); !strings.Contains(got, ".sig/0") || !strings.Contains(got, ".sig/1") {
		t.Errorf("subject removed: removed %q", got)
	}
	f.image("a", func(i *snapshot.Image) { i.Children = []string{id("f")} })
	if got := f.removed(signed("f")); strings.Contains(got, ".sig/0") {
		t.Errorf("subject in a kept index: removed %q", got)
	}
	f.uses(t, "h.x/ns/app@"+id("d"))
	if got := f.removed(signed("b")); strings.Contains(got, ".sig/0") {
		t.Errorf("signature in use: removed %q", got)
	}
	young := signed("b")
	young.Tags[0].Revisions[0].Created = now
	if got := newFixture().removed(young); strings.Contains(got, ".sig/0") {
		t.Errorf("young signature: removed %q", got)
	}
}

// deleted renders the letters of the images to delete.
func (f *fixture) deleted(listed ...string) string {
	names := map[string]string{}
	for _, letter := range listed {
		names[id(letter)] = "listed"
	}
	var out []string
	for _, decision := range f.Images(names) {
		if !decision.Kept {
			out = append(out, decision.Digest[7:8])
		}
	}
	return strings.Join(out, "")
}

// Behaviours 33, 36, 37, 45 and 46.
func TestRulesOfImages(t *testing.T) {
	tests := []struct {
		name   string
		change func(*testing.T, *fixture)
		listed string
		want   string
	}{
		{"in no stream", func(*testing.T, *fixture) {}, "", "abcdef"},
		{"listed", func(*testing.T, *fixture) {}, "ab", "cdef"},
		{"used by digest, in no stream", func(t *testing.T, f *fixture) { f.uses(t, "h.x/gone/app@"+id("c")) }, "", "abdef"},
		{"running digest", func(t *testing.T, f *fixture) { f.uses(t, id("c")) }, "", "abdef"},
		{"kept", func(_ *testing.T, f *fixture) { f.image("a", func(i *snapshot.Image) { i.Keep = true }) }, "", "bcdef"},
		{"not managed", func(_ *testing.T, f *fixture) {
			f.All = false
			f.image("a", func(i *snapshot.Image) { i.Managed = false })
		}, "", "bcdef"},
		{"incomplete", func(_ *testing.T, f *fixture) { f.image("a", func(i *snapshot.Image) { i.Incomplete = true }) }, "", "bcdef"},
		{"young", func(_ *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.Created = now.Add(-time.Minute) })
		}, "", "bcdef"},
		{"taken up again", func(_ *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.LastReferenced = now.Add(-time.Minute) })
		}, "", "bcdef"},
		{"grace even without an age", func(_ *testing.T, f *fixture) {
			f.KeepYoungerThan = 0
			f.image("a", func(i *snapshot.Image) { i.LastReferenced = now.Add(-4 * time.Minute) })
			f.image("b", func(i *snapshot.Image) { i.LastReferenced = now.Add(-6 * time.Minute) })
		}, "", "bcdef"},
		{"children of a kept index", func(_ *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.Children = []string{id("b"), id("c")} })
		}, "a", "def"},
		{"child used, index not", func(t *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.Children = []string{id("b"), id("c")} })
			f.uses(t, "h.x/ns/app@"+id("b"))
		}, "", "acdef"},
		{"referrer with its subject", func(_ *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.Subject = id("b") })
			f.image("c", func(i *snapshot.Image) { i.Subject = id("a") })
		}, "b", "def"},
		{"dangling referrer", func(_ *testing.T, f *fixture) {
			f.image("a", func(i *snapshot.Image) { i.Subject = id("0") })
		}, "b", "acdef"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture()
			test.change(t, f)
			if got := f.deleted(strings.Split(test.listed, "")...); got != test.want {
				t.Errorf("deleted %q, want %q", got, test.want)
			}
		})
	}
}

// Behaviour 7.
func TestDecisionsAreOrdered(t *testing.T) {
	f := newFixture()
	decisions := f.Images(nil)
	if !slices.IsSortedFunc(decisions, func(a, b Image) int { return strings.Compare(a.Digest, b.Digest) }) {
		t.Error("images are not sorted by digest")
	}
}

// The execution looks at subjects in use, too; what it would skip is no part of the plan.
func TestReferrersOfAMissingSubjectInUseStay(t *testing.T) {
	f := newFixture()
	subject := id("9")
	f.image("a", func(i *snapshot.Image) { i.Subject = subject })
	f.image("b", func(i *snapshot.Image) { i.Subject = id("8") })
	f.uses(t, "h.x/ns/app@"+subject)
	for _, decision := range f.Images(nil) {
		if want := decision.Digest == id("a"); decision.Kept != want {
			t.Errorf("image %s kept %v, want %v", decision.Digest, decision.Kept, want)
		}
	}
}

// A signature stays while its subject runs, under whichever name the node knows that, although no tag names it.
func TestSignaturesOfWhatRunsStay(t *testing.T) {
	for name, test := range map[string]struct {
		uses string
		want string
	}{
		"nobody":                         {"h.x/other/app:v1", "sig/0"},
		"by its digest":                  {"h.x/ns/app@" + id("a"), ""},
		"by that of its configuration":   {id("9"), ""},
		"by the configuration of others": {id("8"), "sig/0"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.image("a", func(i *snapshot.Image) { i.Config = id("9") })
			f.image("b", func(i *snapshot.Image) { i.Config = id("7") })
			f.uses(t, test.uses)
			signature := "sha256-" + id("a")[7:] + ".sig"
			removed := f.removed(snapshot.Stream{Namespace: "ns", Name: "app", Tags: []snapshot.Tag{
				{Name: signature, Revisions: []snapshot.Revision{{Digest: id("b"), Created: now.Add(-old)}}},
			}})
			if got := strings.ReplaceAll(removed, signature, "sig"); got != test.want {
				t.Errorf("removed %q, want %q", got, test.want)
			}
		})
	}
}
