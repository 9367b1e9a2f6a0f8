package limits

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
)

// source is a Source that counts.
type source struct {
	mu     sync.Mutex
	calls  map[string]int
	ranges []corev1.LimitRange
	quotas []corev1.ResourceQuota
	err    error
	hold   chan struct{}
}

func (s *source) begin(ctx context.Context, call string) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[call]++
	hold, err := s.hold, s.err
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *source) LimitRanges(ctx context.Context, namespace string) ([]corev1.LimitRange, error) {
	err := s.begin(ctx, "ranges")
	return s.ranges, err
}

func (s *source) ResourceQuotas(ctx context.Context, namespace string) ([]corev1.ResourceQuota, error) {
	err := s.begin(ctx, "quotas")
	return s.quotas, err
}

func limitRange(name string, kind corev1.LimitType, storage string) corev1.LimitRange {
	return corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
		{Type: kind, Max: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(storage)}},
	}}}
}

func quota(name string, hard, used int64) corev1.ResourceQuota {
	list := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{imagev1.ResourceImages: *resource.NewQuantity(n, resource.DecimalSI)}
	}
	q := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: list(hard)}}
	if used >= 0 {
		q.Status.Used = list(used)
	}
	return q
}

func refusalOf(t *testing.T, err error) *apierror.Error {
	t.Helper()
	var refusal *apierror.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v is no refusal", err)
	}
	return refusal
}

// Behaviour 37.
func TestTheSmallestLimitRangeHolds(t *testing.T) {
	size := smallest([]corev1.LimitRange{
		limitRange("pods", corev1.LimitTypePod, "1"), limitRange("wide", imagev1.LimitTypeImage, "2Gi"),
		limitRange("z", imagev1.LimitTypeImage, "1Gi"), limitRange("a", imagev1.LimitTypeImage, "1Gi"),
		{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: imagev1.LimitTypeImage}}}},
	})
	if err := size.Check(1 << 30); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	refusal := refusalOf(t, size.Check(1025<<20))
	want := "requested usage of storage exceeds the maximum limit per alauda.io/Image (1025Mi > 1Gi), LimitRange a"
	if refusal.Status != 403 || refusal.Entries[0].Code != apierror.CodeDenied || refusal.Entries[0].Message != want {
		t.Errorf("got %v, want 403 DENIED %q", refusal, want)
	}
	if size.Room(1<<30-5) != 5 || size.Room(2<<30) != 0 {
		t.Errorf("room is %d and %d, want 5 and 0", size.Room(1<<30-5), size.Room(2<<30))
	}
	none := smallest([]corev1.LimitRange{limitRange("pods", corev1.LimitTypePod, "1")})
	if none.Limited() || none.Check(1<<62) != nil || none.Room(7) <= 1<<62 {
		t.Errorf("a LimitRange of Pods limits images: %+v", none)
	}
}

// Behaviour 36.
func TestQuotasOfImages(t *testing.T) {
	scoped := quota("scoped", 0, 0)
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	for name, test := range map[string]struct {
		quotas []corev1.ResourceQuota
		status int
		text   string
	}{
		"none":        {nil, 0, ""},
		"room":        {[]corev1.ResourceQuota{quota("q", 10, 9)}, 0, ""},
		"full":        {[]corev1.ResourceQuota{quota("wide", 100, 1), quota("q", 10, 10)}, 403, "exceeded quota: q, requested: alauda.io/images=1, used: alauda.io/images=10, limited: alauda.io/images=10"},
		"over":        {[]corev1.ResourceQuota{quota("q", 10, 12)}, 403, "used: alauda.io/images=12"},
		"nothing":     {[]corev1.ResourceQuota{quota("q", 0, -1)}, 403, "limited: alauda.io/images=0"},
		"not counted": {[]corev1.ResourceQuota{quota("q", 10, -1)}, 503, "status unknown for quota: q"},
		"scoped":      {[]corev1.ResourceQuota{scoped}, 0, ""},
		"others":      {[]corev1.ResourceQuota{{Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}}}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := New(&source{quotas: test.quotas}, Options{Now: time.Now}).AnotherImage(t.Context(), "team")
			if test.status == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if refusal := refusalOf(t, err); refusal.Status != test.status || !strings.Contains(refusal.Entries[0].Message, test.text) {
				t.Errorf("got %v, want %d with %q", refusal, test.status, test.text)
			}
		})
	}
}

func TestWarningsAboveNinetyPercent(t *testing.T) {
	s := &source{quotas: []corev1.ResourceQuota{quota("z", 100, 91), quota("a", 100, 90), quota("b", 10, 10), quota("c", 10, -1)}}
	checker := New(s, Options{Now: time.Now})
	got := fmt.Sprint(checker.Warnings(t.Context(), "team"))
	if want := "[quota b: 10 of 10 alauda.io/images are used quota z: 91 of 100 alauda.io/images are used]"; got != want {
		t.Errorf("warnings %s, want %s", got, want)
	}
	s.err = errors.New("away")
	if got := checker.Warnings(t.Context(), "team"); got != nil {
		t.Errorf("warnings out of a failed list: %v", got)
	}
}

// Behaviour 37.
func TestListsAreKeptForTheirTime(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	s := &source{ranges: []corev1.LimitRange{limitRange("a", imagev1.LimitTypeImage, "1Ki")}}
	checker := New(s, Options{TTL: time.Minute, Now: clock.Now})
	ask := func(namespace string) {
		t.Helper()
		size, err := checker.ImageSize(t.Context(), namespace)
		if err != nil || size.Check(2048) == nil {
			t.Fatalf("size %+v, error %v", size, err)
		}
	}
	ask("team")
	ask("team")
	ask("other")
	clock.Step(59 * time.Second)
	ask("team")
	if s.calls["ranges"] != 2 {
		t.Errorf("%d lists for two namespaces within the minute", s.calls["ranges"])
	}
	clock.Step(time.Second)
	ask("team")
	if s.calls["ranges"] != 3 {
		t.Errorf("%d lists after a minute, want 3", s.calls["ranges"])
	}
	uncached := New(s, Options{Now: clock.Now})
	for range 3 {
		if _, err := uncached.ImageSize(t.Context(), "team"); err != nil {
			t.Fatal(err)
		}
	}
	if s.calls["ranges"] != 6 || len(uncached.ranges.known) != 0 {
		t.Errorf("%d lists and %d remembered without a cache", s.calls["ranges"], len(uncached.ranges.known))
	}
}

// Behaviour 37.
func TestLimitsThatCannotBeReadAre503AndNotKept(t *testing.T) {
	s := &source{err: errors.New("API server away")}
	checker := New(s, Options{TTL: time.Minute, Now: time.Now})
	for range 2 {
		_, err := checker.ImageSize(t.Context(), "team")
		if refusal := refusalOf(t, err); refusal.Status != 503 || strings.Contains(refusal.Entries[0].Message, "away") {
			t.Errorf("got %v", refusal)
		}
	}
	if refusal := refusalOf(t, checker.AnotherImage(t.Context(), "team")); refusal.Status != 503 {
		t.Errorf("got %v", refusal)
	}
	if s.calls["ranges"] != 2 {
		t.Errorf("%d lists, want one for each request", s.calls["ranges"])
	}
}

func TestWaitingRequestsShareOneListAndOneThatLeavesEndsItForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{hold: make(chan struct{})}
		checker := New(s, Options{TTL: time.Minute, Now: time.Now})
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := checker.ImageSize(first, "team"); left <- err }()
		synctest.Wait()
		answers := make(chan error, 50)
		for range cap(answers) {
			go func() { _, err := checker.ImageSize(t.Context(), "team"); answers <- err }()
		}
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		close(s.hold)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if s.calls["ranges"] != 1 {
			t.Errorf("%d lists for 51 requests", s.calls["ranges"])
		}
	})
}

func TestMemoryOfNamespacesIsBounded(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Now())
	checker := New(&source{}, Options{TTL: time.Minute, Now: clock.Now})
	for i := range 3 * maxNamespaces {
		if i == maxNamespaces {
			clock.Step(2 * time.Minute)
		}
		if _, err := checker.ImageSize(t.Context(), fmt.Sprint("ns", i)); err != nil {
			t.Fatal(err)
		}
		if n := len(checker.ranges.known); n > maxNamespaces {
			t.Fatalf("%d namespaces are remembered", n)
		}
	}
}

func TestNoChecker(t *testing.T) {
	var off *Checker
	size, err := off.ImageSize(t.Context(), "team")
	if err != nil || size.Limited() || off.AnotherImage(t.Context(), "team") != nil || off.Warnings(t.Context(), "team") != nil {
		t.Errorf("switched off, but size %+v, error %v", size, err)
	}
}

// Whoever writes a LimitRange may name any quantity. More than can be counted must not turn
// into nothing, which would refuse every push.
func TestQuantitiesBeyondAnyImageAreNoLimit(t *testing.T) {
	for storage, limit := range map[string]int64{
		"9e30": 1 << 62, "10E": 1 << 62, "9223372036854775808": 1 << 62, "16Ei": 1 << 62, "1e100": 1 << 62, "8Ei": 1 << 62,
		"-1": 0, "-9e30": 0, "0": 0, "100m": 1, "1500m": 2, "1Ki": 1024,
	} {
		size := smallest([]corev1.LimitRange{limitRange("odd", imagev1.LimitTypeImage, storage)})
		if err := size.Check(limit); err != nil {
			t.Errorf("%s refuses %d: %v", storage, limit, err)
		}
		if limit < 1<<62 && size.Check(limit+1) == nil {
			t.Errorf("%s allows %d", storage, limit+1)
		}
	}
	huge := quota("huge", 1, 5)
	huge.Spec.Hard[imagev1.ResourceImages] = resource.MustParse("9e30")
	checker := New(&source{quotas: []corev1.ResourceQuota{huge}}, Options{Now: time.Now})
	if err := checker.AnotherImage(t.Context(), "team"); err != nil {
		t.Error(err)
	}
	if warnings := checker.Warnings(t.Context(), "team"); warnings != nil {
		t.Errorf("5 of 9e30 are nearly everything: %v", warnings)
	}
}

// panics is a Source that does.
type panics struct{ source }

func (*panics) LimitRanges(context.Context, string) ([]corev1.LimitRange, error) {
	panic("no such thing")
}

// A panic in the goroutine that requests share would end the registry.
func TestPanicWhileReadingIsAnError(t *testing.T) {
	_, err := New(&panics{}, Options{Now: time.Now}).ImageSize(t.Context(), "team")
	if refusal := refusalOf(t, err); refusal.Status != 503 || strings.Contains(refusal.Entries[0].Message, "such") {
		t.Errorf("got %v", refusal)
	}
}
