package snapshot

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

// waits is a clock that never waits and notes for how long it was to.
type waits struct {
	*clocktesting.FakeClock
	mu  sync.Mutex
	all []time.Duration
}

func newWaits() *waits { return &waits{FakeClock: clocktesting.NewFakeClock(time.Unix(2e9, 0))} }

func (w *waits) After(d time.Duration) <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
	ready := make(chan time.Time, 1)
	ready <- w.Now()
	return ready
}

func (w *waits) list() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// answer is what a fake API server says to one request.
type answer struct {
	code       int
	retryAfter string
	body       string
}

func podPage(next string, names ...string) answer {
	var items []string
	for _, name := range names {
		items = append(items, fmt.Sprintf(`{"metadata":{"name":%q}}`, name))
	}
	return answer{code: 200, body: fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))}
}

func refusal(code int, reason metav1.StatusReason, retryAfter string) answer {
	return answer{code: code, retryAfter: retryAfter, body: fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"refused"}`, reason, code)}
}

// readPods lists Pods of a server that gives the answers one after the other, and then the last one again.
func readPods(t *testing.T, answers ...answer) (names []string, requests []string, waited []time.Duration, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		next := answers[min(len(requests), len(answers)-1)]
		requests = append(requests, request.URL.Query().Get("continue"))
		w.Header().Set("Content-Type", "application/json")
		if next.retryAfter != "" {
			w.Header().Set("Retry-After", next.retryAfter)
		}
		w.WriteHeader(next.code)
		fmt.Fprint(w, next.body)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL, QPS: -1}
	config.Wrap(TakeAdvice)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	clock := newWaits()
	err = pager{clock: clock, chunkSize: 2}.each(t.Context(), "pods", of(client.CoreV1().Pods("").List), func() { names = nil },
		func(object runtime.Object) error {
			names = append(names, object.(*corev1.Pod).Name)
			return nil
		})
	return names, requests, clock.list(), err
}

// Behaviour 62.
func TestPagesThatFailAreRetried(t *testing.T) {
	busy := refusal(503, metav1.StatusReasonServiceUnavailable, "")
	const half = 500 * time.Millisecond
	tests := []struct {
		name    string
		answers []answer
		names   []string
		// requests are the continue tokens that were sent.
		requests []string
		waited   []time.Duration
		fails    func(error) bool
	}{
		{name: "whole", answers: []answer{podPage("x", "a", "b"), podPage("", "c")}, names: []string{"a", "b", "c"}, requests: []string{"", "x"}},
		{name: "busy in the middle", answers: []answer{podPage("x", "a", "b"), busy, busy, podPage("", "c")},
			names: []string{"a", "b", "c"}, requests: []string{"", "x", "x", "x"}, waited: []time.Duration{half, 2 * half}},
		{name: "asked to wait", answers: []answer{podPage("x", "a", "b"), refusal(503, metav1.StatusReasonServiceUnavailable, "7"), podPage("", "c")},
			names: []string{"a", "b", "c"}, requests: []string{"", "x", "x"}, waited: []time.Duration{7 * time.Second}},
		{name: "asked to wait a moment", answers: []answer{refusal(429, metav1.StatusReasonTooManyRequests, "1"), refusal(429, metav1.StatusReasonTooManyRequests, "1"), refusal(429, metav1.StatusReasonTooManyRequests, "1"), podPage("", "c")},
			names: []string{"c"}, requests: []string{"", "", "", ""}, waited: []time.Duration{time.Second, time.Second, 2 * time.Second}},
		{name: "asked to wait for ever", answers: []answer{refusal(503, metav1.StatusReasonServiceUnavailable, "999999"), podPage("", "c")},
			names: []string{"c"}, requests: []string{"", ""}, waited: []time.Duration{maxAdvice}},
		{name: "busy without end", answers: []answer{podPage("x", "a", "b"), refusal(503, metav1.StatusReasonServiceUnavailable, "1")},
			requests: []string{"", "x", "x", "x", "x", "x", "x"}, fails: apierrors.IsServiceUnavailable,
			waited: []time.Duration{2 * half, 2 * half, 4 * half, 8 * half, 16 * half}},
		{name: "expired in the middle", answers: []answer{podPage("x", "a", "b"), refusal(410, metav1.StatusReasonExpired, ""), podPage("y", "b", "c"), podPage("", "d")},
			names: []string{"b", "c", "d"}, requests: []string{"", "x", "", "y"}},
		{name: "always expired", answers: []answer{refusal(410, metav1.StatusReasonExpired, "")}, requests: []string{"", "", "", "", "", ""}, fails: apierrors.IsResourceExpired},
		{name: "forbidden", answers: []answer{refusal(403, metav1.StatusReasonForbidden, "")}, requests: []string{""}, fails: apierrors.IsForbidden},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names, requests, waited, err := readPods(t, test.answers...)
			if !slices.Equal(requests, test.requests) || !slices.Equal(waited, test.waited) {
				t.Errorf("requests %q, want %q; waited %v, want %v", requests, test.requests, waited, test.waited)
			}
			if test.fails != nil {
				if err == nil || !test.fails(err) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || !slices.Equal(names, test.names) {
				t.Errorf("read %q, %v, want %q", names, err, test.names)
			}
		})
	}
}

// Other requests keep what their client does by itself.
func TestAdviceIsTakenFromPagesOnly(t *testing.T) {
	transport := TakeAdvice(dateReader(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"3"}}}, nil
	}))
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil || response.Header.Get("Retry-After") != "3" {
		t.Errorf("%v, %v", response, err)
	}
}
