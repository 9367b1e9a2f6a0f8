package tags

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("a", 32) + strings.Repeat("b", 32)
	digestC = "sha256:" + strings.Repeat("c", 64)
)

func at(minute int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC))
}

func event(minute int, ref, image string, generation int64) imagev1.TagEvent {
	return imagev1.TagEvent{Created: at(minute), DockerImageReference: ref, Image: image, Generation: generation}
}

func TestAddEvent(t *testing.T) {
	failed := []imagev1.TagEventCondition{{Type: imagev1.ImportSuccess, Status: corev1.ConditionFalse, Generation: 9}}
	for _, tc := range []struct {
		name    string
		items   []imagev1.TagEvent
		add     imagev1.TagEvent
		want    []imagev1.TagEvent
		changed bool
	}{
		{"to an empty history", nil, event(1, "r1", "a", 1), []imagev1.TagEvent{event(1, "r1", "a", 1)}, true},
		{
			"the same again changes nothing", []imagev1.TagEvent{event(1, "r1", "a", 1)},
			event(2, "r1", "a", 1), []imagev1.TagEvent{event(1, "r1", "a", 1)}, false,
		},
		{
			"a new generation alone moves only that", []imagev1.TagEvent{event(1, "r1", "a", 1)},
			event(2, "r1", "a", 2), []imagev1.TagEvent{event(1, "r1", "a", 2)}, true,
		},
		{
			"a moving reference replaces the image", []imagev1.TagEvent{event(1, "r1", "a", 1)},
			event(2, "r1", "b", 1), []imagev1.TagEvent{event(1, "r1", "b", 1)}, true,
		},
		{
			"the same image elsewhere replaces the reference", []imagev1.TagEvent{event(1, "r1", "a", 1)},
			event(2, "r2", "a", 2), []imagev1.TagEvent{event(1, "r2", "a", 2)}, true,
		},
		{
			"another image by another reference goes first", []imagev1.TagEvent{event(1, "r1", "a", 1)},
			event(2, "r2", "b", 1), []imagev1.TagEvent{event(2, "r2", "b", 1), event(1, "r1", "a", 1)}, true,
		},
		{
			"an image from deeper in the history goes first again",
			[]imagev1.TagEvent{event(2, "r2", "b", 1), event(1, "r1", "a", 1)},
			event(3, "r1", "a", 1),
			[]imagev1.TagEvent{event(3, "r1", "a", 1), event(2, "r2", "b", 1), event(1, "r1", "a", 1)}, true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := &imagev1.ImageStreamStatus{Tags: []imagev1.NamedTagEventList{
				{Tag: "other"}, {Tag: "t", Items: slices.Clone(tc.items), Conditions: failed},
			}}
			if changed := AddEvent(status, "t", tc.add); changed != tc.changed {
				t.Errorf("changed = %v, want %v", changed, tc.changed)
			}
			if got := status.Tags[1].Items; !reflect.DeepEqual(got, tc.want) {
				t.Errorf("history = %v, want %v", got, tc.want)
			}
			if cleared := status.Tags[1].Conditions == nil; cleared != tc.changed {
				t.Errorf("conditions cleared = %v, want %v", cleared, tc.changed)
			}
		})
	}
	t.Run("to a tag without a list", func(t *testing.T) {
		var status imagev1.ImageStreamStatus
		if !AddEvent(&status, "t", event(1, "r", "a", 1)) || len(status.Tags) != 1 || status.Tags[0].Tag != "t" {
			t.Errorf("status = %+v, want one tag t", status)
		}
	})
}

func TestAddEventLeavesASharedListAlone(t *testing.T) {
	backing := make([]imagev1.TagEvent, 1, 8)
	backing[0] = event(1, "r1", "a", 1)
	status := &imagev1.ImageStreamStatus{Tags: []imagev1.NamedTagEventList{{Tag: "t", Items: backing}}}
	AddEvent(status, "t", event(2, "r2", "b", 1))
	if backing[0] != event(1, "r1", "a", 1) {
		t.Errorf("prepending wrote into the old list: %v", backing[0])
	}
}

func TestTruncateKeepsTheNewest(t *testing.T) {
	list := imagev1.NamedTagEventList{Items: []imagev1.TagEvent{event(3, "c", "c", 1), event(2, "b", "b", 1), event(1, "a", "a", 1)}}
	if Truncate(&list, 0) || Truncate(&list, 3) {
		t.Error("a limit that is not exceeded dropped events")
	}
	if !Truncate(&list, 2) || len(list.Items) != 2 || list.Items[0].Image != "c" {
		t.Errorf("history = %v, want the two newest", list.Items)
	}
}

func TestNeedsImport(t *testing.T) {
	generation := func(n int64) *int64 { return &n }
	from := func(kind string) *corev1.ObjectReference { return &corev1.ObjectReference{Kind: kind, Name: "x"} }
	seen := &imagev1.NamedTagEventList{
		Items:      []imagev1.TagEvent{event(1, "r", "a", 2)},
		Conditions: []imagev1.TagEventCondition{{Type: imagev1.ImportSuccess, Generation: 4}},
	}
	for _, tc := range []struct {
		name string
		tag  *imagev1.TagReference
		list *imagev1.NamedTagEventList
		want bool
	}{
		{"no spec tag", nil, nil, false},
		{"never seen", &imagev1.TagReference{From: from("DockerImage"), Generation: generation(1)}, nil, true},
		{"failed at this generation", &imagev1.TagReference{From: from("DockerImage"), Generation: generation(4)}, seen, false},
		{"changed since", &imagev1.TagReference{From: from("DockerImage"), Generation: generation(5)}, seen, true},
		{"generation unset", &imagev1.TagReference{From: from("DockerImage")}, nil, false},
		{"reference only", &imagev1.TagReference{From: from("DockerImage"), Reference: true, Generation: generation(5)}, seen, false},
		{"another tag", &imagev1.TagReference{From: from("ImageStreamTag"), Generation: generation(5)}, seen, false},
	} {
		if got := NeedsImport(tc.tag, tc.list); got != tc.want {
			t.Errorf("%s: NeedsImport = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func stream() *imagev1.ImageStream {
	s := &imagev1.ImageStream{}
	s.Spec.Tags = []imagev1.TagReference{
		{Name: "local", ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.LocalTagReferencePolicy}},
		{Name: "pending"},
		{Name: "ref", ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.LocalTagReferencePolicy}},
		{Name: "source", ReferencePolicy: imagev1.TagReferencePolicy{Type: imagev1.SourceTagReferencePolicy}},
	}
	s.Status.DockerImageRepository = "registry:5000/ns/app"
	s.Status.Tags = []imagev1.NamedTagEventList{
		{Tag: "empty"},
		{Tag: "latest", Items: []imagev1.TagEvent{event(5, "registry:5000/ns/app@"+digestC, digestC, 1)}},
		{Tag: "local", Items: []imagev1.TagEvent{event(7, "example.com/a@"+digestA, digestA, 1), event(1, "example.com/a@"+digestB, digestB, 1)}},
		{Tag: "ref", Items: []imagev1.TagEvent{event(7, "example.com/r:1", "", 1)}},
		{Tag: "source", Items: []imagev1.TagEvent{event(9, "example.com/s@"+digestA, digestA, 1)}},
	}
	return s
}

func TestPullSpecFollowsTheReferencePolicy(t *testing.T) {
	s := stream()
	for tag, want := range map[string]string{
		"local":   "registry:5000/ns/app@" + digestA,
		"ref":     "example.com/r:1",
		"source":  "example.com/s@" + digestA,
		"latest":  "registry:5000/ns/app@" + digestC,
		"":        "registry:5000/ns/app@" + digestC,
		"pending": "",
		"empty":   "",
		"absent":  "",
	} {
		got, ok := PullSpec(s, tag)
		if got != want || ok != (want != "") {
			t.Errorf("PullSpec(%q) = %q, %v, want %q", tag, got, ok, want)
		}
	}
	s.Status.DockerImageRepository = ""
	if got, _ := PullSpec(s, "local"); got != "example.com/a@"+digestA {
		t.Errorf("without a registry the pull spec is %q, want that of the source", got)
	}
}

func TestLookups(t *testing.T) {
	s := stream()
	for tag, want := range map[string]bool{"pending": true, "latest": true, "empty": false, "absent": false} {
		if got := HasTag(s, tag); got != want {
			t.Errorf("HasTag(%q) = %v, want %v", tag, got, want)
		}
	}
	if got, want := Names(s), []string{"latest", "local", "pending", "ref", "source"}; !slices.Equal(got, want) {
		t.Errorf("Names = %v, want %v", got, want)
	}
	if got, want := NewestFirst(s), []string{"source", "local", "ref", "latest"}; !slices.Equal(got, want) {
		t.Errorf("NewestFirst = %v, want %v", got, want)
	}
	if got, want := Digests(s), []string{digestA, digestB, digestC}; !slices.Equal(got, want) {
		t.Errorf("Digests = %v, want %v", got, want)
	}
}

func TestEventForImage(t *testing.T) {
	s := stream()
	got, err := EventForImage(s, digestA)
	if err != nil || got == nil || got.Created != at(9) {
		t.Errorf("EventForImage(A) = %v, %v, want the newest event", got, err)
	}
	if got, err := EventForImage(s, "cccc"); err != nil || got == nil || got.Image != digestC {
		t.Errorf("EventForImage(cccc) = %v, %v, want C", got, err)
	}
	if got, err := EventForImage(s, "ffff"); err != nil || got != nil {
		t.Errorf("EventForImage(ffff) = %v, %v, want nothing", got, err)
	}
	var ambiguous *reference.AmbiguousIDError
	if _, err := EventForImage(s, "aaaa"); !errors.As(err, &ambiguous) || len(ambiguous.Candidates) != 2 {
		t.Errorf("EventForImage(aaaa): %v, want two candidates", err)
	}
}
