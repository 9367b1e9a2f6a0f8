package logging

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2/textlogger"
	clocktesting "k8s.io/utils/clock/testing"
)

// slowServer answers a request when it is told to.
type slowServer chan error

func (s slowServer) RoundTrip(*http.Request) (*http.Response, error) {
	if err := <-s; err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK}, nil
}

func TestRequestsWithoutAnAnswerAreToldOfOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		waits    time.Duration
		requests int
		fails    error
		want     []string
	}{
		"answered in time":       {9 * time.Second, 3, nil, nil},
		"answered late":          {40 * time.Second, 1, nil, []string{"does not answer", "answers again"}},
		"many at the same time":  {40 * time.Second, 5, nil, []string{"does not answer", "answers again"}},
		"given up":               {45 * time.Second, 2, errors.New("connection lost"), []string{"does not answer"}},
		"failed before the time": {time.Second, 1, errors.New("connection lost"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var written strings.Builder
			log := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&written)))
			fake := clocktesting.NewFakeClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
			server := make(slowServer)
			transport := Hanging(log, fake, 10*time.Second)(server)
			done := make(chan error, tc.requests)
			for range tc.requests {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, "https://api/apis/x?secret=1", strings.NewReader("secret"))
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_, err := transport.RoundTrip(request)
					done <- err
				}()
			}
			for deadline := time.Now().Add(time.Minute); fake.Waiters() < tc.requests; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d of %d requests are under way", fake.Waiters(), tc.requests)
				}
			}
			fake.Step(tc.waits)
			for range tc.requests {
				server <- tc.fails
			}
			for range tc.requests {
				if err := <-done; !errors.Is(err, tc.fails) {
					t.Errorf("the request ended with %v", err)
				}
			}
			lines := strings.Split(strings.TrimSpace(written.String()), "\n")
			if written.Len() == 0 {
				lines = nil
			}
			if len(lines) != len(tc.want) {
				t.Fatalf("logged %q, want lines with %q", lines, tc.want)
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) || strings.Contains(lines[i], "secret") {
					t.Errorf("logged %s, want %q in it and nothing of the request's content", lines[i], want)
				}
			}
		})
	}
}

// Clients of a server that hangs for long give up and try again: that is one event, and so is its end.
func TestASilenceIsToldOfOnceHoweverOftenRequestsAreGivenUp(t *testing.T) {
	var written strings.Builder
	fake := clocktesting.NewFakeClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	server := make(slowServer)
	transport := Hanging(textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&written))), fake, 10*time.Second)(server)
	request := func(waits time.Duration, fails error) {
		t.Helper()
		done := make(chan error, 1)
		go func() {
			_, err := transport.RoundTrip(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/api"}})
			done <- err
		}()
		for deadline := time.Now().Add(time.Minute); !fake.HasWaiters(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the request is not under way")
			}
		}
		fake.Step(waits)
		server <- fails
		if err := <-done; !errors.Is(err, fails) {
			t.Fatalf("the request ended with %v", err)
		}
	}
	tellsOf := func(want ...string) {
		t.Helper()
		lines := strings.Split(strings.TrimSuffix(written.String(), "\n"), "\n")
		if len(lines) != len(want) {
			t.Fatalf("logged %q, want lines with %q", lines, want)
		}
		for i, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("logged %s, want %q in it", lines[i], part)
			}
		}
	}
	gone := errors.New("given up")
	for range 20 {
		request(15*time.Second, gone)
	}
	request(time.Second, gone)
	tellsOf("does not answer")
	request(time.Second, nil)
	request(time.Second, nil)
	tellsOf("does not answer", `silent="5m2s"`)
	request(20*time.Second, nil)
	tellsOf("does not answer", "answers again", "does not answer", `silent="20s"`)
}
