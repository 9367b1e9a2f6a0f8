package controllers

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
)

func TestSelection(t *testing.T) {
	for _, test := range []struct {
		selection Selection
		runs      bool
	}{
		{Selection{"*"}, true},
		{Selection{ImageTrigger}, true},
		{Selection{"*", "-" + ImageTrigger}, false},
		{Selection{QuotaStatus}, false},
		{nil, false},
	} {
		if got := test.selection.Has(ImageTrigger); got != test.runs {
			t.Errorf("%v: runs %v, want %v", test.selection, got, test.runs)
		}
		if err := test.selection.Validate(); err != nil {
			t.Errorf("%v: %v", test.selection, err)
		}
	}
	if err := (Selection{"image-triggers"}).Validate(); err == nil {
		t.Error("an unknown name was accepted")
	}
}

// worker counts how many of its kind work at the same time.
type worker struct {
	working *atomic.Int32
	most    *atomic.Int32
	started chan string
	name    string
}

func (w *worker) Name() string { return ImageImport }

func (w *worker) Run(ctx context.Context) error {
	if n := w.working.Add(1); n > w.most.Load() {
		w.most.Store(n)
	}
	defer w.working.Add(-1)
	w.started <- w.name
	<-ctx.Done()
	return nil
}

// Behaviours 47 and 63: of two replicas one works, and the other takes over when it ends in order.
func TestOneWorksAndTheNextTakesOver(t *testing.T) {
	kube := fake.NewClientset()
	var working, most atomic.Int32
	started := make(chan string, 2)
	run := func(ctx context.Context, name string) <-chan error {
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Options{
				Kube: kube, Namespace: "ns", Identity: name, LeaderElect: true,
				LeaseDuration: time.Minute, RenewDeadline: 30 * time.Second, RetryPeriod: 10 * time.Millisecond,
			}, []Controller{&worker{&working, &most, started, name}})
		}()
		return ended
	}
	firstContext, stopFirst := context.WithCancel(t.Context())
	secondContext, stopSecond := context.WithCancel(t.Context())
	defer stopSecond()
	first := run(firstContext, "first")
	if name := <-started; name != "first" {
		t.Fatalf("%s leads", name)
	}
	second := run(secondContext, "second")
	stopFirst()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	// The lease would hold for a minute if it had not been released.
	if name := <-started; name != "second" {
		t.Fatalf("%s leads", name)
	}
	stopSecond()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if most.Load() != 1 {
		t.Errorf("%d worked at the same time", most.Load())
	}
}

// leaseServer keeps one lease, and answers nothing while it hangs.
type leaseServer struct {
	mu      sync.Mutex
	stored  []byte
	hanging bool
}

func (s *leaseServer) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging = true
}

func (s *leaseServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.hanging:
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
		return
	case r.Method != http.MethodGet:
		s.stored = body
	case s.stored == nil:
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(s.stored)
}

// A leader that cannot renew its lease must have ended before the next one may begin.
func TestALostLeaseEndsTheWorkBeforeTheNextLeaderBegins(t *testing.T) {
	const leaseDuration, renewDeadline = 3 * time.Second, 2 * time.Second
	leases := &leaseServer{}
	server := httptest.NewServer(leases)
	defer server.Close()
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	var working, most atomic.Int32
	started := make(chan string, 10)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{
			Kube: kube, Namespace: "ns", Identity: "first", LeaderElect: true,
			LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: 50 * time.Millisecond,
		}, []Controller{&worker{&working, &most, started, "first"}})
	}()
	<-started
	leases.hang()
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, leaseDuration, true, func(context.Context) (bool, error) {
		return working.Load() == 0, nil
	})
	if err != nil {
		t.Errorf("still at work %s after the last answer, when others may lead", leaseDuration)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Another leader keeps what it has taken over.
func TestOnlyTheOwnLeaseIsReleased(t *testing.T) {
	for holder, want := range map[string]string{"self": "", "other": "other"} {
		kube := fake.NewClientset(&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: LeaseName},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder},
		})
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "ns", LeaseName, kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "self"})
		if err != nil {
			t.Fatal(err)
		}
		if err := giveUp(t.Context(), lock, Options{Identity: "self", RenewDeadline: time.Minute}); err != nil {
			t.Fatal(err)
		}
		lease, err := kube.CoordinationV1().Leases("ns").Get(t.Context(), LeaseName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ptr.Deref(lease.Spec.HolderIdentity, ""); got != want {
			t.Errorf("lease of %q: then held by %q, want %q", holder, got, want)
		}
	}
}
