package logging

import (
	"errors"
	"net/http"
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
		"given up":               {45 * time.Second, 2, errors.New("connection lost"), []string{"does not answer", "ended without an answer"}},
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
