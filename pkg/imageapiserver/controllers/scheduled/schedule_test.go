package scheduled

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const interval = 15 * time.Minute

func random() func() float64 { return rand.New(rand.NewPCG(1, 2)).Float64 }

// scheduledTag is a spec tag that is imported on schedule.
func scheduledTag(name, from string) imageapi.TagReference {
	tag := grouptest.Tag(name, "DockerImage", "", from)
	tag.ImportPolicy.Scheduled = true
	generation := int64(2)
	tag.Generation = &generation
	return tag
}

// Behaviour 47: which tags are on schedule; digests only until they have been imported once.
func TestTagsOnSchedule(t *testing.T) {
	byDigest := "registry.example/app@" + grouptest.Digest("a")
	reference := scheduledTag("reference", "registry.example/app:v1")
	reference.Reference = true
	once := scheduledTag("once", "registry.example/app:v1")
	once.ImportPolicy.Scheduled = false
	stream := grouptest.Stream("team-a", "app",
		scheduledTag("latest", "registry.example/app:latest"), scheduledTag("pinned", byDigest), reference, once,
		scheduledTag("done", byDigest), scheduledTag("changed", byDigest), scheduledTag("failed", byDigest))
	stream.Status.Tags = map[string]imageapi.TagEventList{
		"latest":  {Items: []imageapi.TagEvent{{Image: grouptest.Digest("a"), Generation: 2}}},
		"done":    {Items: []imageapi.TagEvent{{Image: grouptest.Digest("a"), Generation: 2}}},
		"changed": {Items: []imageapi.TagEvent{{Image: grouptest.Digest("a"), Generation: 1}}},
		"failed":  {Conditions: []imageapi.TagEventCondition{{Type: imageapi.ImportSuccess, Status: corev1.ConditionFalse, Generation: 2}}},
	}
	want := []string{"changed", "failed", "latest", "pinned"}
	if got := Tags(stream); !slices.Equal(got, want) {
		t.Errorf("scheduled are %v, want %v", got, want)
	}
}

func TestLastRunIsTheNewestThatTheStreamTells(t *testing.T) {
	at := func(minute int) metav1.Time { return metav1.NewTime(start.Add(time.Duration(minute) * time.Minute)) }
	tests := map[string]struct {
		check, event, condition int
		want                    time.Time
	}{
		"check":     {check: 3, event: 1, condition: 2, want: at(3).Time},
		"event":     {check: 1, event: 3, condition: 2, want: at(3).Time},
		"condition": {check: 1, event: 2, condition: 3, want: at(3).Time},
	}
	for name, test := range tests {
		stream := grouptest.Stream("team-a", "app")
		stream.Annotations = map[string]string{imagev1.DockerImageRepositoryCheckAnnotation: at(test.check).UTC().Format(time.RFC3339)}
		stream.Status.Tags = map[string]imageapi.TagEventList{
			"latest": {
				Items:      []imageapi.TagEvent{{Created: at(test.event)}},
				Conditions: []imageapi.TagEventCondition{{LastTransitionTime: at(test.condition)}},
			},
			"other": {Items: []imageapi.TagEvent{{Created: at(9)}}},
		}
		if got := LastRun(stream, []string{"latest"}); !got.Equal(test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if got := LastRun(grouptest.Stream("team-a", "app"), []string{"latest"}); !got.IsZero() {
		t.Errorf("a stream that tells nothing was imported at %s", got)
	}
}

// Behaviour 47: turns come an interval apart, give or take a tenth.
func TestTurnsAreAnIntervalApart(t *testing.T) {
	s := newSchedule(interval, random())
	key, now := cache.NewObjectName("team-a", "app"), start
	s.put(key, "1", start, now)
	distinct := map[time.Duration]bool{}
	for range 1000 {
		next := s.first().next
		gap := next.Sub(now)
		if gap < interval*9/10 || gap > interval*11/10 {
			t.Fatalf("the next turn comes after %s", gap)
		}
		distinct[gap] = true
		now = next
		s.postpone(key, now)
	}
	if len(distinct) < 500 {
		t.Errorf("of 1000 gaps %d differ: no jitter", len(distinct))
	}
}

// Behaviour 47: after a restart what is overdue is spread over the interval, and what is not waits for its turn.
func TestRestartSpreadsWhatIsOverdue(t *testing.T) {
	s := newSchedule(interval, random())
	const streams = 1500
	for i := range streams {
		s.put(cache.NewObjectName("team-a", fmt.Sprint(i)), "1", start.Add(-24*time.Hour), start)
	}
	perMinute := map[int]int{}
	for _, e := range s.entries {
		if e.next.Before(start) || !e.next.Before(start.Add(interval)) {
			t.Fatalf("a turn at %s, outside of the next interval", e.next)
		}
		perMinute[int(e.next.Sub(start)/time.Minute)]++
	}
	for minute := range 15 {
		if n := perMinute[minute]; n < streams/30 || n > streams/15*2 {
			t.Errorf("minute %d has %d of %d turns", minute, n, streams)
		}
	}
	recent := cache.NewObjectName("team-b", "recent")
	s.put(recent, "1", start.Add(-5*time.Minute), start)
	if wait := s.entries[recent].next.Sub(start); wait < interval*9/10-5*time.Minute || wait > interval*11/10-5*time.Minute {
		t.Errorf("a stream imported 5 min ago has its turn in %s", wait)
	}
	ahead := cache.NewObjectName("team-b", "ahead")
	s.put(ahead, "1", start.Add(1000*time.Hour), start)
	if wait := s.entries[ahead].next.Sub(start); wait > interval {
		t.Errorf("a stream with a time in the future waits for %s", wait)
	}
}

func TestScheduleKeepsItsOrder(t *testing.T) {
	s := newSchedule(interval, random())
	for i := range 100 {
		s.put(cache.NewObjectName("team-a", fmt.Sprint(i)), "1", start.Add(-time.Duration(i)*time.Minute), start)
	}
	for i := range 50 {
		s.remove(cache.NewObjectName("team-a", fmt.Sprint(2*i)))
	}
	s.remove(cache.NewObjectName("team-a", "unknown"))
	s.setInterval(time.Hour, start)
	var last time.Time
	for range 50 {
		first := s.first()
		if first.next.Before(last) {
			t.Fatalf("turn at %s comes after %s", first.next, last)
		}
		last = first.next
		s.remove(first.key)
	}
	if s.first() != nil || len(s.entries) != 0 {
		t.Error("streams are left over")
	}
}

func TestStreamOfTheSameNameStartsAnew(t *testing.T) {
	s := newSchedule(interval, random())
	key := cache.NewObjectName("team-a", "app")
	s.put(key, "1", start, start)
	before := s.entries[key].next
	s.put(key, "1", start.Add(-time.Hour), start)
	if !s.entries[key].next.Equal(before) {
		t.Error("an update of the stream moved its turn")
	}
	s.put(key, "2", start.Add(-time.Minute), start)
	if e := s.entries[key]; e.uid != "2" || len(s.order) != 1 {
		t.Errorf("entry is %+v of %d", e, len(s.order))
	}
}
