package quotastatus

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/client-go/util/workqueue"
	testingclock "k8s.io/utils/clock/testing"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

const (
	ns          = "team-a"
	streamsName = "alauda.io/imagestreams"
	imagesName  = "alauda.io/images"
)

func list(pairs ...string) corev1.ResourceList {
	made := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		made[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return made
}

func hard(name string, pairs ...string) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: list(pairs...)}}
}

// Behaviours 53 and 55.
func TestCorrected(t *testing.T) {
	q := hard("q", streamsName, "5", imagesName, "9", "pods", "3", "count/imagestreams.image.alauda.io", "7")
	q.Status.Hard = list("pods", "3", streamsName, "4")
	q.Status.Used = list("pods", "2", "count/imagestreams.image.alauda.io", "6", streamsName, "1", "alauda.io/image-tags", "8")
	next, differs := corrected(q, counted{used: quota.Amounts{streamsName: 2, imagesName: 3, "alauda.io/image-tags": 4}, pending: quota.Amounts{imagesName: 1}, calm: true})
	if !differs {
		t.Fatal("nothing differs")
	}
	expect := func(what string, got, want corev1.ResourceList) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
		for name, amount := range want {
			if have := got[name]; have.Cmp(amount) != 0 {
				t.Errorf("%s of %s is %s, want %s", what, name, have.String(), amount.String())
			}
		}
	}
	// Names that are not counted here, or not limited, stay as they are.
	expect("used", next.Status.Used, list("pods", "2", "count/imagestreams.image.alauda.io", "6", streamsName, "2", imagesName, "4", "alauda.io/image-tags", "8"))
	expect("hard", next.Status.Hard, list("pods", "3", streamsName, "4", imagesName, "9"))
	if _, differs := corrected(next, counted{used: quota.Amounts{streamsName: 2, imagesName: 4}, calm: true}); differs {
		t.Error("a second look still finds a difference")
	}
}

// Behaviour 54: streams of reservations that go on in other replicas are not there yet when a busy namespace is
// counted. Believing the count would let as many through as are on their way.
func TestBusyNamespaceFallsByWhatWasFreedOnly(t *testing.T) {
	for name, test := range map[string]struct {
		published, used, pending, freed, wanted int64
	}{
		"nothing was freed":           {published: 7, used: 5, wanted: 7},
		"also where it refuses":       {published: 9, used: 5, wanted: 9},
		"something was freed":         {published: 7, used: 4, freed: 1, wanted: 6},
		"never below what is counted": {published: 7, used: 4, pending: 2, freed: 5, wanted: 6},
		"what is stored counts":       {published: 5, used: 7, pending: 1, wanted: 7},
		"what is pending is reserved": {published: 7, used: 7, pending: 1, wanted: 7},
	} {
		q := hard("q", streamsName, "9")
		q.Status.Used, q.Status.Hard = list(streamsName, fmt.Sprint(test.published)), list(streamsName, "9")
		next, differs := corrected(q, counted{
			used: quota.Amounts{streamsName: test.used}, pending: quota.Amounts{streamsName: test.pending}, freed: quota.Amounts{streamsName: test.freed},
		})
		if used := next.Status.Used[streamsName]; used.Value() != test.wanted || differs != (test.wanted != test.published) {
			t.Errorf("%s: used is %s, differs %t, want %d", name, used.String(), differs, test.wanted)
		}
	}
}

func TestCountsOnlyWhatLimitsImages(t *testing.T) {
	scoped := hard("q", streamsName, "1")
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	for _, test := range []struct {
		quota *corev1.ResourceQuota
		want  bool
	}{
		{hard("q", streamsName, "1"), true},
		{hard("q", "count/imagestreams.image.alauda.io", "1"), false},
		{hard("q", "pods", "1"), false},
		{scoped, false},
	} {
		if got := counts(test.quota); got != test.want {
			t.Errorf("%v counts: %v, want %v", test.quota.Spec, got, test.want)
		}
	}
}

func TestNamespaceBecomesCalm(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(after time.Duration) time.Time { return now.Add(after) }
	var a activities
	a.reset(now)
	if _, left := a.take(ns, at(time.Second)); left != calm-time.Second {
		t.Errorf("what happened before is not known, and only %s are left", left)
	}
	if _, left := a.take(ns, at(calm)); left != 0 {
		t.Errorf("nobody reserved, and %s are left", left)
	}
	a.busy(ns, at(time.Hour))
	a.free(ns, quota.Amounts{streamsName: 1})
	a.free(ns, quota.Amounts{streamsName: 2})
	if freed, left := a.take(ns, at(time.Hour+time.Second)); left != calm-time.Second || freed[streamsName] != 3 {
		t.Errorf("%s are left, %v freed, want %s and 3", left, freed, calm-time.Second)
	}
	if freed, left := a.take(ns, at(time.Hour+calm)); left != 0 || hasAny(freed) {
		t.Errorf("%s are left, %v freed, want nothing", left, freed)
	}
}

type listThenWatch struct {
	*cachetesting.FakeControllerSource
}

// IsWatchListSemanticsUnSupported is asked by client-go.
func (listThenWatch) IsWatchListSemanticsUnSupported() bool { return true }

func stream(name string, digests ...string) *imageapi.ImageStream {
	made := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	made.Status.Tags = map[string]imageapi.TagEventList{}
	for _, digest := range digests {
		made.Status.Tags[digest] = imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: digest}}}
	}
	return made
}

// Behaviour 53: a quota gets its usage, follows deletions, and is not written when it is right.
func TestControllerFollowsStreamsAndQuotas(t *testing.T) {
	client := fake.NewClientset(hard("early", imagesName, "9"))
	factory := informers.NewSharedInformerFactory(client, 0)
	index, streams := quota.NewIndex(), cachetesting.NewFakeControllerSource()
	streams.Add(stream("app", "1", "2"))
	controller, err := New(Options{
		Index: index, Pending: func(string) quota.Amounts { return nil },
		Quotas: factory.Core().V1().ResourceQuotas(), Client: client.CoreV1(),
	})
	if err != nil {
		t.Fatal(err)
	}
	informer := cache.NewSharedIndexInformer(listThenWatch{streams}, &imageapi.ImageStream{}, 0, cache.Indexers{})
	if err := index.Feed(informer); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	factory.Start(ctx.Done())
	go informer.RunWithContext(ctx)
	ended := make(chan error)
	go func() { ended <- controller.Run(ctx) }()

	expect := func(name string, want int64) {
		t.Helper()
		var used resource.Quantity
		if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
			current, err := client.CoreV1().ResourceQuotas(ns).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			published, found := current.Status.Used[imagesName]
			used = published
			return found && published.Value() == want, nil
		}); err != nil {
			t.Fatalf("quota %s says %s, want %d", name, used.String(), want)
		}
	}
	expect("early", 2)
	streams.Add(stream("second", "3"))
	expect("early", 3)
	if _, err := client.CoreV1().ResourceQuotas(ns).Create(t.Context(), hard("late", imagesName, "1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("late", 3)
	streams.Delete(stream("app"))
	expect("early", 1)
	expect("late", 1)

	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	client.ClearActions()
	if err := controller.reconcile(t.Context(), ns, nil, false); err != nil {
		t.Error(err)
	}
	for _, action := range client.Actions() {
		if action.GetVerb() == "update" {
			t.Error("a quota that was right was written")
		}
	}
}

// idle makes a controller that knows one quota and does not run, with its queue.
func idle(t *testing.T, pending quota.Amounts) (*Controller, workqueue.TypedRateLimitingInterface[string], *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(hard("q", streamsName, "9"))
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := New(Options{
		Index: quota.NewIndex(), Pending: func(string) quota.Amounts { return pending },
		Quotas: factory.Core().V1().ResourceQuotas(), Client: client.CoreV1(),
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	client.ClearActions()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	t.Cleanup(queue.ShutDown)
	controller.use(queue)
	return controller, queue, client
}

// Behaviour 55: a reservation whose write ended without an answer is counted again, although neither quota nor
// streams change.
func TestNamespaceInDoubtIsCountedAgain(t *testing.T) {
	controller, queue, _ := idle(t, nil)
	controller.onDoubt(ns)
	if namespace, _ := queue.Get(); namespace != ns {
		t.Errorf("%q is looked at, want %s", namespace, ns)
	}
	if _, left := controller.activities.take(ns, controller.Clock.Now()); left == 0 {
		t.Error("the write in doubt gets no time to appear")
	}
}

// Behaviour 54: what requests of this process have reserved stays reserved, however calm it is otherwise.
func TestPendingReservationsStay(t *testing.T) {
	controller, queue, client := idle(t, quota.Amounts{streamsName: 1})
	clock := testingclock.NewFakeClock(time.Now().Add(time.Hour))
	controller.Clock = clock
	queue.Add(ns)
	controller.next(t.Context(), queue)
	written, err := client.CoreV1().ResourceQuotas(ns).Get(t.Context(), "q", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if used := written.Status.Used[streamsName]; used.Value() != 1 {
		t.Errorf("used is %s, want what is pending", used.String())
	}
}

func TestOptionsNameWhatIsMissing(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("a controller without anything was made")
	}
}
