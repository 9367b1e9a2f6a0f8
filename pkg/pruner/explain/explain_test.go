package explain

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

const old = 100 * 24 * time.Hour

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

type anyStream struct{}

func (anyStream) Has(references.Stream) (exists, local bool) { return true, false }

func (anyStream) Digests(references.Stream) []string { return nil }

func (anyStream) HasNamespace(string) bool { return true }

// world is a planner over images a to f and the stream ns/app with the tag v1, whose revisions are a, b
// and c, all old.
type world struct {
	*plan.Planner
	t *testing.T
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, Planner: &plan.Planner{
		Settings: plan.Settings{KeepTagRevisions: 1, KeepYoungerThan: time.Hour, All: true, ReferenceGrace: 5 * time.Minute},
		Snapshot: &snapshot.Snapshot{Time: now, Images: map[string]snapshot.Image{}, Uses: references.NewIndex(anyStream{})},
		Lookup:   func(string) plan.Presence { return plan.Absent },
	}}
	w.Snapshot.Uses.RememberOrigins()
	for _, letter := range []string{"a", "b", "c", "d", "e", "f"} {
		w.image(letter, func(*snapshot.Image) {})
	}
	tag := snapshot.Tag{Name: "v1"}
	for _, letter := range []string{"a", "b", "c"} {
		tag.Revisions = append(tag.Revisions, snapshot.Revision{Digest: id(letter), Created: now.Add(-old)})
	}
	w.Snapshot.Streams = []snapshot.Stream{{Namespace: "ns", Name: "app", Created: now.Add(-old), Tags: []snapshot.Tag{tag}}}
	return w
}

func (w *world) stream() *snapshot.Stream { return &w.Snapshot.Streams[0] }

func (w *world) image(letter string, change func(*snapshot.Image)) {
	image := snapshot.Image{Digest: id(letter), Created: now.Add(-old), Managed: true, Size: 100}
	change(&image)
	w.Snapshot.Images[image.Digest] = image
}

func (w *world) add(object runtime.Object) {
	w.t.Helper()
	if err := w.Snapshot.Uses.AddObject(object, references.Ages{}); err != nil {
		w.t.Fatal(err)
	}
}

func pod(name, image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: name},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Image: image}}}}
}

func deployment(image string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "web"}, Spec: appsv1.DeploymentSpec{
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}}}}
}

// cases has one entry for each rule, named like its golden file.
var cases = []struct {
	name   string
	change func(*world)
	target string
	// rule is the first that stands in the answer, kept what it comes to.
	rule plan.Rule
	kept bool
}{
	{"old", func(*world) {}, id("c"), plan.RuleOld, false},
	{"newest", func(*world) {}, "ns/app:v1", plan.RuleNewest, true},
	{"outside-namespace", func(w *world) { w.Namespace = "other" }, "ns/app:v1", plan.RuleOutside, true},
	{"stream-annotated", func(w *world) { w.stream().Keep = true }, "ns/app@" + id("c"), plan.RuleStreamKeep, true},
	{"whitelisted", func(w *world) { w.Whitelist = []*regexp.Regexp{regexp.MustCompile("^ns/")} }, id("c"), plan.RuleWhitelist, true},
	{"mentioned", func(w *world) { w.add(pod("unclear", "h.x/ns/app:$(VERSION)")) }, id("c"), plan.RuleMentioned, true},
	{"young-stream", func(w *world) { w.stream().Created = now.Add(-time.Minute) }, id("c"), plan.RuleYoungStream, true},
	{"tag-annotated", func(w *world) { w.stream().Tags[0].Keep = true }, id("c"), plan.RuleTagKeep, true},
	{"young-revision", func(w *world) { w.stream().Tags[0].Revisions[2].Created = now.Add(-time.Minute) }, id("c"), plan.RuleYoung, true},
	{"tag-used", func(w *world) {
		w.KeepTagRevisions = 0
		w.add(deployment("h.x/ns/app:v1"))
		w.add(pod("one", "h.x/ns/app:v1"))
	}, "ns/app:v1", plan.RuleTagUsed, true},
	{"declared", func(w *world) { w.KeepTagRevisions, w.stream().Tags[0].Declared = 0, true }, "ns/app:v1", plan.RuleDeclared, true},
	{"subject-kept", func(w *world) { w.signature("a", "d") }, id("d"), plan.RuleSubjectKept, true},
	{"subject-gone", func(w *world) { w.signature("c", "d") }, id("d"), plan.RuleSubjectGone, false},
	{"newer", func(w *world) {
		delete(w.Snapshot.Images, id("c"))
		w.Lookup = func(string) plan.Presence { return plan.Present }
	}, id("c"), plan.RuleNewer, false},
	{"unsure", func(w *world) {
		delete(w.Snapshot.Images, id("c"))
		w.Lookup = func(string) plan.Presence { return plan.Unsure }
	}, id("c"), plan.RuleUnsure, false},
	{"absent", func(w *world) { delete(w.Snapshot.Images, id("c")) }, id("c"), plan.RuleAbsent, false},
	{"image-annotated", func(w *world) { w.image("c", func(i *snapshot.Image) { i.Keep = true }) }, id("c"), plan.RuleImageKeep, true},
	{"not-managed", func(w *world) {
		w.All = false
		w.image("c", func(i *snapshot.Image) { i.Managed = false })
	}, id("c"), plan.RuleUnmanaged, true},
	{"within-limits", func(w *world) { w.OverSize, w.Snapshot.Limits = true, map[string]int64{"ns": 1 << 20} }, id("c"), plan.RuleFits, true},
	{"no-limits", func(w *world) { w.OverSize = true }, id("c"), plan.RuleFits, true},
	{"exceeds", func(w *world) { w.OverSize, w.Snapshot.Limits = true, map[string]int64{"ns": 99} }, id("c"), plan.RuleExceeds, false},
	{"digest-used", func(w *world) { w.add(deployment("h.x/ns/app@" + id("c"))) }, id("c"), plan.RuleDigestUsed, true},
	{"child-used", func(w *world) {
		w.image("c", func(i *snapshot.Image) { i.Children = []string{id("d")} })
		w.add(pod("one", "h.x/ns/app@"+id("d")))
	}, id("c"), plan.RuleDigestUsed, true},
	{"index-kept", func(w *world) {
		w.image("a", func(i *snapshot.Image) { i.Children = []string{id("d")} })
	}, id("d"), plan.RuleIndexKept, true},
	{"referrer", func(w *world) { w.image("d", func(i *snapshot.Image) { i.Subject = id("a") }) }, id("d"), plan.RuleReferrer, true},
	{"referrer-of-missing-used", func(w *world) {
		w.image("d", func(i *snapshot.Image) { i.Subject = id("9") })
		w.add(pod("one", "h.x/gone/app@"+id("9")))
	}, id("d"), plan.RuleReferrer, true},
	{"referrer-of-missing-listed", func(w *world) {
		w.image("d", func(i *snapshot.Image) { i.Subject = id("9") })
		w.stream().Keep = true
		w.stream().Tags[0].Revisions[0].Digest = id("9")
	}, id("d"), plan.RuleReferrer, true},
	{"referrer-of-missing-child", func(w *world) {
		w.image("d", func(i *snapshot.Image) { i.Subject = id("9") })
		w.image("a", func(i *snapshot.Image) { i.Children = []string{id("9")} })
	}, id("d"), plan.RuleReferrer, true},
	{"referrer-of-missing", func(w *world) { w.image("d", func(i *snapshot.Image) { i.Subject = id("9") }) }, id("d"), plan.RuleUnlisted, false},
	{"incomplete", func(w *world) { w.image("d", func(i *snapshot.Image) { i.Incomplete = true }) }, id("d"), plan.RuleIncomplete, true},
	{"young-image", func(w *world) { w.image("d", func(i *snapshot.Image) { i.Created = now.Add(-time.Minute) }) }, id("d"), plan.RuleYoung, true},
	{"taken-up", func(w *world) {
		w.KeepYoungerThan = 0
		w.image("d", func(i *snapshot.Image) { i.LastReferenced = now.Add(-time.Minute) })
	}, id("d"), plan.RuleTakenUp, true},
	{"unlisted-used", func(w *world) { w.add(pod("one", "h.x/gone/app@"+id("d"))) }, id("d"), plan.RuleDigestUsed, true},
	{"unlisted", func(*world) {}, id("d"), plan.RuleUnlisted, false},
	{"no-images-in-a-namespace", func(w *world) { w.Namespace = "other" }, id("d"), plan.RuleNoImages, true},
}

// signature gives the stream a tag of a signature: the image of letter signs the one of subject.
func (w *world) signature(subject, letter string) {
	w.stream().Tags = append(w.stream().Tags, snapshot.Tag{Name: "sha256-" + strings.Repeat(subject, 64) + ".sig",
		Revisions: []snapshot.Revision{{Digest: id(letter), Created: now.Add(-old)}}})
}

// Behaviour 67.
func TestEveryRuleIsNamedWithItsReason(t *testing.T) {
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			test.change(w)
			explanation, err := Explain(w.Planner, test.target)
			if err != nil {
				t.Fatal(err)
			}
			reasons := explanation.Reasons
			if len(explanation.Revisions) > 0 {
				reasons = explanation.Revisions[0].Reasons
			}
			if len(reasons) == 0 || reasons[0].Rule != test.rule || explanation.Kept != test.kept {
				t.Errorf("kept %t, reasons %+v, want %t and first %s", explanation.Kept, reasons, test.kept, test.rule)
			}
			golden(t, test.name, explanation, "text")
		})
	}
}

// Behaviour 67.
func TestExplanationsAgreeWithThePlan(t *testing.T) {
	for _, test := range cases {
		w := newWorld(t)
		test.change(w)
		listed := map[string]string{}
		for _, stream := range w.Snapshot.Streams {
			decisions := w.Stream(stream)
			plan.Listed(decisions, listed, stream.Key())
			for i, explained := range w.ExplainStream(stream) {
				if explained.Revision != decisions[i] {
					t.Errorf("%s: explained %+v, decided %+v", test.name, explained.Revision, decisions[i])
				}
				if first := explained.Verdicts[0]; first.Keep != decisions[i].Keep {
					t.Errorf("%s: the first verdict %+v, decided %+v", test.name, first, decisions[i])
				}
			}
		}
		for _, decision := range w.Images(listed) {
			explanation, err := Explain(w.Planner, decision.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if want := decision.Kept || w.Namespace != ""; explanation.Kept != want {
				t.Errorf("%s: %s explained as kept %t, decided %t", test.name, decision.Digest, explanation.Kept, want)
			}
			for _, reason := range explanation.Reasons {
				if reason.Keeps != explanation.Kept {
					t.Errorf("%s: %s kept %t, but a reason says %+v", test.name, decision.Digest, explanation.Kept, reason)
				}
			}
			if len(explanation.Reasons) == 0 {
				t.Errorf("%s: %s has no reason", test.name, decision.Digest)
			}
		}
	}
}

func TestDocuments(t *testing.T) {
	w := newWorld(t)
	w.stream().Tags[0].Revisions[0].Created = now.Add(-time.Minute)
	w.add(deployment("h.x/ns/app:v1"))
	explanation, err := Explain(w.Planner, "ns/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "document", explanation, "json")
	golden(t, "document", explanation, "yaml")
}

func golden(t *testing.T, name string, explanation *Explanation, format string) {
	t.Helper()
	var out bytes.Buffer
	if err := explanation.Print(&out, format); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+"."+format)
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("%s: printed\n%s\nwant\n%s", file, out.String(), want)
	}
}

func TestManyUsersAreCounted(t *testing.T) {
	w := newWorld(t)
	for i := range shownUsers + 3 {
		w.add(pod("p"+string(rune('a'+i)), "h.x/ns/app:v1"))
	}
	explanation, err := Explain(w.Planner, "ns/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	if text := explanation.text(); !strings.Contains(text, "and 3 more\n") || strings.Count(text, "Pod x/") != shownUsers {
		t.Errorf("printed\n%s\nwant %d Pods and the number of the rest", text, shownUsers)
	}
	if got := len(explanation.Revisions[0].Reasons[0].Users); got != shownUsers+3 {
		t.Errorf("the document names %d users, want all", got)
	}
}

func TestUnknownTargetsSaySo(t *testing.T) {
	w := newWorld(t)
	w.stream().Tags = append(w.stream().Tags, snapshot.Tag{Name: "reference", Revisions: []snapshot.Revision{{Created: now}}})
	for target, want := range map[string]string{
		"":                      "neither a digest",
		"app":                   "neither a digest",
		"sha256:short":          "neither a digest",
		"ns/app":                "neither a digest",
		"ns/app:":               "neither a digest",
		"ns/app:-v":             "neither a digest",
		"/app:v1":               "neither a digest",
		"a/b/c:v1":              "neither a digest",
		"ns/app@sha256:x":       "neither a digest",
		"ns/app:reference":      "no image under the tag reference",
		"ns/app:v9":             "no image under the tag v9",
		"ns/other:v1":           "no ImageStream ns/other",
		"ns/app@" + id("d"):     "does not name",
		id("9"):                 "no Image",
		"ns/app:v1@" + id("a"):  "no ImageStream ns/app:v1",
		"h.x/ns/app@" + id("a"): "neither a digest",
	} {
		if _, err := Explain(w.Planner, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", target, err, want)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("ns/app:v1")
	f.Add("ns/app@sha256:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err != nil {
			return
		}
		again := target.Digest
		switch {
		case target.Tag != "":
			again = target.Stream + ":" + target.Tag
		case target.Stream != "":
			again = target.Stream + "@" + target.Digest
		}
		if again != text {
			t.Errorf("%q was read as %+v", text, target)
		}
	})
}
