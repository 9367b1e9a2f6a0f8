package quota_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

const (
	streamsName = "alauda.io/imagestreams"
	imagesName  = "alauda.io/images"
	tagsName    = "alauda.io/image-tags"
	countName   = "count/imagestreams.image.alauda.io"
)

// stream has one tag for each digest.
func stream(name string, digests ...string) *imageapi.ImageStream {
	made := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	made.Status.Tags = map[string]imageapi.TagEventList{}
	for _, digest := range digests {
		made.Status.Tags["tag-of-"+digest] = imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: digest}}}
	}
	return made
}

var none = &imageapi.ImageStream{}

// pass lets one request pass and ends it.
func pass(t *testing.T, gate *replica, next, old *imageapi.ImageStream, outcome quota.Outcome) error {
	t.Helper()
	request := gate.Begin(false)
	err := request.Pass(t.Context(), next, old)
	if err != nil {
		outcome = quota.NotStored
	}
	request.End(t.Context(), outcome)
	return err
}

// Behaviour 53.
func TestEachNameIsReservedAndRefused(t *testing.T) {
	for name, want := range map[string]string{
		streamsName: "exceeded quota: q, requested: alauda.io/imagestreams=1, used: alauda.io/imagestreams=1, limited: alauda.io/imagestreams=1",
		imagesName:  "exceeded quota: q, requested: alauda.io/images=2, used: alauda.io/images=2, limited: alauda.io/images=3",
		tagsName:    "exceeded quota: q, requested: alauda.io/image-tags=2, used: alauda.io/image-tags=2, limited: alauda.io/image-tags=3",
		countName:   "exceeded quota: q, requested: count/imagestreams.image.alauda.io=1, used: count/imagestreams.image.alauda.io=1, limited: count/imagestreams.image.alauda.io=1",
	} {
		t.Run(strings.ReplaceAll(name, "/", " "), func(t *testing.T) {
			limit := "3"
			if name == streamsName || name == countName {
				limit = "1500m" // rounded down
			}
			c := newCluster(t, hard("q", name, limit, "pods", "1"))
			gate := c.replica()
			if err := pass(t, gate, stream("app", "1", "2"), none, quota.Stored); err != nil {
				t.Fatal(err)
			}
			err := pass(t, gate, stream("second", "3", "4"), none, quota.Stored)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			current, _ := c.client.CoreV1().ResourceQuotas(ns).Get(t.Context(), "q", metav1.GetOptions{})
			if len(current.Status.Used) != 1 || len(current.Status.Hard) != 1 {
				t.Errorf("status is %+v, want one name", current.Status)
			}
		})
	}
}

func TestSeveralResourcesAreNamedTogether(t *testing.T) {
	gate := newCluster(t, hard("q", imagesName, "1", tagsName, "1")).replica()
	err := pass(t, gate, stream("app", "1", "2"), none, quota.Stored)
	want := "exceeded quota: q, requested: alauda.io/image-tags=2,alauda.io/images=2, used: alauda.io/image-tags=0,alauda.io/images=0, limited: alauda.io/image-tags=1,alauda.io/images=1"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Behaviour 53: usage that no quota has published yet is counted at once.
func TestMissingUsageIsCounted(t *testing.T) {
	c := newCluster(t, hard("q", imagesName, "3"))
	old := stream("app", "1", "2")
	gate := c.replica(old)
	if err := pass(t, gate, stream("app", "1", "2", "3"), old, quota.Stored); err != nil {
		t.Fatal(err)
	}
	if used := c.used("q", imagesName); used != 3 {
		t.Errorf("used is %d, want 3", used)
	}
	if err := pass(t, gate, stream("b", "4"), none, quota.Stored); err == nil {
		t.Error("a fourth image passed")
	}
}

func TestOnlyGrowthIsEnforced(t *testing.T) {
	over := hard("q", imagesName, "1", tagsName, "1")
	over.Status.Used = list(imagesName, "9", tagsName, "9")
	c := newCluster(t, over)
	old := stream("app", "1", "2")
	shared := stream("b", "3")
	gate := c.replica(old, shared)
	labelled := old.DeepCopy()
	labelled.Labels = map[string]string{"a": "b"}
	renamed := stream("app", "2")
	renamed.Status.Tags["other"] = imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: "3"}}}
	for what, next := range map[string]*imageapi.ImageStream{
		"a label": labelled, "fewer images": stream("app", "1"),
		"an image that the namespace has, in place of another": renamed,
	} {
		if err := pass(t, gate, next, old, quota.Stored); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if writes := c.quotas.Writes(); writes != 0 {
		t.Errorf("%d writes, want none", writes)
	}
	if err := pass(t, gate, stream("app", "1", "2", "4"), old, quota.Stored); err == nil {
		t.Error("growth passed")
	}
}

func TestScopedQuotasSayNothingAboutImages(t *testing.T) {
	scoped := hard("scoped", streamsName, "0")
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	selected := hard("selected", streamsName, "0")
	selected.Spec.ScopeSelector = &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{
		{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpExists}}}
	gate := newCluster(t, scoped, selected, hard("pods", "pods", "0")).replica()
	if err := pass(t, gate, stream("app"), none, quota.Stored); err != nil {
		t.Error(err)
	}
}

func TestDryRunChecksAndWritesNothing(t *testing.T) {
	c := newCluster(t, hard("q", streamsName, "1"))
	gate := c.replica()
	request := gate.Begin(true)
	if err := request.Pass(t.Context(), stream("app"), none); err != nil {
		t.Fatal(err)
	}
	request.End(t.Context(), quota.Stored)
	if writes := c.quotas.Writes(); writes != 0 || len(gate.Pending(ns)) != 0 {
		t.Errorf("%d writes, %v pending, want none", writes, gate.Pending(ns))
	}
	c = newCluster(t, hard("q", streamsName, "0"))
	if err := c.replica().Begin(true).Pass(t.Context(), stream("app"), none); err == nil {
		t.Error("a dry run passed a full quota")
	}
}

// Behaviour 55.
func TestFailedWriteGivesBack(t *testing.T) {
	for outcome, want := range map[quota.Outcome]int64{quota.Stored: 1, quota.NotStored: 0, quota.Unknown: 1} {
		c := newCluster(t, hard("a", streamsName, "5"), hard("b", streamsName, "5"))
		gate := c.replica()
		request := gate.Begin(false)
		if err := request.Pass(t.Context(), stream("app"), none); err != nil {
			t.Fatal(err)
		}
		if pending := gate.Pending(ns)[streamsName]; pending != 1 {
			t.Errorf("%d pending, want 1", pending)
		}
		request.End(t.Context(), outcome)
		if a, b := c.used("a", streamsName), c.used("b", streamsName); a != want || b != want {
			t.Errorf("after outcome %d the quotas say %d and %d, want %d", outcome, a, b, want)
		}
		if pending := gate.Pending(ns)[streamsName]; pending != 0 {
			t.Errorf("%d still pending", pending)
		}
	}
}

// Behaviour 55: what a request leaves behind is counted again, though no quota and no stream changes any more.
func TestReservationsInDoubtAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		outcome  quota.Outcome
		conflict bool
		want     int
	}{
		"stored":               {quota.Stored, false, 0},
		"given back":           {quota.NotStored, false, 0},
		"perhaps stored":       {quota.Unknown, false, 1},
		"cannot be given back": {quota.NotStored, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, hard("q", streamsName, "5"))
			gate := c.replica()
			var doubts []string
			gate.OnDoubt(func(namespace string) { doubts = append(doubts, namespace) })
			request := gate.Begin(false)
			if err := request.Pass(t.Context(), stream("app"), none); err != nil {
				t.Fatal(err)
			}
			if test.conflict {
				c.quotas.Before = func() {
					if err := c.quotas.Touch(ns, "q"); err != nil {
						t.Error(err)
					}
				}
			}
			request.End(t.Context(), test.outcome)
			if len(doubts) != test.want || test.want > 0 && doubts[0] != ns {
				t.Errorf("told of %q, want %d times of %s", doubts, test.want, ns)
			}
		})
	}
}

// A sum above the largest number must not look like room.
func TestHugeUsageIsFull(t *testing.T) {
	full := hard("q", streamsName, "9223372036854775807")
	full.Status.Used = list(streamsName, "9223372036854775807")
	var exceeded *quota.ExceededError
	if err := pass(t, newCluster(t, full).replica(), stream("app"), none, quota.Stored); !errors.As(err, &exceeded) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestLaterQuotaThatRefusesReleasesEarlierOnes(t *testing.T) {
	c := newCluster(t, hard("a", streamsName, "5"), hard("b", streamsName, "0"), hard("c", streamsName, "5"))
	err := pass(t, c.replica(), stream("app"), none, quota.Stored)
	var exceeded *quota.ExceededError
	if !errors.As(err, &exceeded) || exceeded.Quota != "b" {
		t.Fatalf("got %v, want a refusal by b", err)
	}
	if a, last := c.used("a", streamsName), c.used("c", streamsName); a != 0 || last != 0 {
		t.Errorf("a says %d and c %d, want nothing", a, last)
	}
}

// A retry of the storage counts what it will store, and nothing twice.
func TestRetryAdjustsTheReservation(t *testing.T) {
	c := newCluster(t, hard("q", tagsName, "3"))
	gate := c.replica()
	old := stream("app")
	request := gate.Begin(false)
	for _, step := range []struct {
		next *imageapi.ImageStream
		want int64
	}{
		{stream("app", "1", "2"), 2},
		{stream("app", "1", "2"), 2},
		{stream("app", "1", "2", "3"), 3},
		{stream("app", "1"), 1},
		{stream("app"), 0},
		{stream("app", "1"), 1},
	} {
		if err := request.Pass(t.Context(), step.next, old); err != nil {
			t.Fatal(err)
		}
		if used := c.used("q", tagsName); used != step.want {
			t.Errorf("with %d tags used is %d, want %d", len(step.next.Status.Tags), used, step.want)
		}
	}
	if err := request.Pass(t.Context(), stream("app", "1", "2", "3", "4"), old); err == nil {
		t.Error("a fourth tag passed")
	}
	if used := c.used("q", tagsName); used != 0 {
		t.Errorf("a refused request still holds %d", used)
	}
	request.End(t.Context(), quota.NotStored)
}

func TestManyConflictsAskToTryAgain(t *testing.T) {
	c := newCluster(t, hard("q", streamsName, "5"))
	gate := c.replica()
	c.quotas.Before = func() {
		if err := c.quotas.Touch(ns, "q"); err != nil {
			t.Error(err)
		}
	}
	if err := pass(t, gate, stream("app"), none, quota.Stored); !errors.Is(err, quota.ErrTryAgain) {
		t.Errorf("got %v, want %v", err, quota.ErrTryAgain)
	}
	if conflicts := c.quotas.Conflicts(); conflicts != 6 {
		t.Errorf("%d attempts, want 6", conflicts)
	}
}

func TestLimitsOfTheStream(t *testing.T) {
	limitRange := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "l"}}
	limitRange.Spec.Limits = []corev1.LimitRangeItem{{Type: "alauda.io/ImageStream", Max: list(tagsName, "1")}}
	gate := newCluster(t, limitRange).replica()
	var exceeded *limits.ExceededError
	if err := pass(t, gate, stream("app", "1", "2"), none, quota.Stored); !errors.As(err, &exceeded) {
		t.Errorf("got %v, want a limit", err)
	}
}

// Behaviour 54: replicas together never exceed a limit, and use all of it.
func TestReplicasShareAQuota(t *testing.T) {
	const limit, requests = 20, 100
	c := newCluster(t, hard("q", streamsName, fmt.Sprint(limit), tagsName, fmt.Sprint(3*limit)))
	replicas := []*replica{c.replica(), c.replica()}
	var passed, refused atomic.Int32
	var all sync.WaitGroup
	for i := range requests {
		all.Go(func() {
			for {
				err := pass(t, replicas[i%2], stream(fmt.Sprint("app", i), "1", "2", "3"), none, quota.Stored)
				var exceeded *quota.ExceededError
				switch {
				case err == nil:
					passed.Add(1)
				case errors.As(err, &exceeded):
					refused.Add(1)
				case errors.Is(err, quota.ErrTryAgain):
					continue // as clients do
				default:
					t.Error(err)
				}
				return
			}
		})
	}
	all.Wait()
	if passed.Load() != limit || refused.Load() != requests-limit {
		t.Errorf("%d passed and %d were refused, want %d and %d", passed.Load(), refused.Load(), limit, requests-limit)
	}
	if used := c.used("q", streamsName); used != limit {
		t.Errorf("used is %d, want %d", used, limit)
	}
}

func TestWaitingForTheTurnEndsWithTheRequest(t *testing.T) {
	c := newCluster(t, hard("q", streamsName, "5"))
	gate := c.replica()
	inside, leave := make(chan struct{}), make(chan struct{})
	c.quotas.Before = func() { close(inside); <-leave }
	ended := make(chan error)
	go func() { ended <- pass(t, gate, stream("first"), none, quota.Stored) }()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request := gate.Begin(false)
	if err := request.Pass(ctx, stream("second"), none); !errors.Is(err, quota.ErrTryAgain) {
		t.Errorf("got %v, want %v", err, quota.ErrTryAgain)
	}
	request.End(ctx, quota.NotStored)
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
