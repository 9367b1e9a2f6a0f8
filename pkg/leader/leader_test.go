package leader

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
	// Releasing first would take another 6 seconds.
	const leaseDuration, renewDeadline = 10 * time.Second, 6 * time.Second
	leases := &leaseServer{}
	server := httptest.NewServer(leases)
	defer server.Close()
	kube, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	var working atomic.Bool
	started := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Lead(ctx, Lease{
			Kube: kube, Namespace: "ns", Name: "lease", Identity: "first",
			Times: Times{Duration: leaseDuration, Renew: renewDeadline, Retry: 50 * time.Millisecond},
		}, func(ctx context.Context) {
			working.Store(true)
			defer working.Store(false)
			close(started)
			<-ctx.Done()
		})
	}()
	<-started
	leases.hang()
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, leaseDuration, true, func(context.Context) (bool, error) {
		return !working.Load(), nil
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
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "lease"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder},
		})
		lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "ns", "lease", kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "self"})
		if err != nil {
			t.Fatal(err)
		}
		if err := giveUp(t.Context(), lock, Lease{Identity: "self", Times: Times{Renew: time.Minute}}); err != nil {
			t.Fatal(err)
		}
		lease, err := kube.CoordinationV1().Leases("ns").Get(t.Context(), "lease", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ptr.Deref(lease.Spec.HolderIdentity, ""); got != want {
			t.Errorf("lease of %q: then held by %q, want %q", holder, got, want)
		}
	}
}
