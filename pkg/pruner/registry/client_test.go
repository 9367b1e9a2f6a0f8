package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

const layer = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// patientClock never makes a test wait and notes how long it would have.
type patientClock struct {
	*clocktesting.FakeClock

	mu    sync.Mutex
	waits []time.Duration
}

func newClock() *patientClock {
	return &patientClock{FakeClock: clocktesting.NewFakeClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))}
}

// After implements clock.Clock.
func (c *patientClock) After(wait time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, wait)
	c.Step(wait)
	ready := make(chan time.Time, 1)
	ready <- c.Now()
	return ready
}

func (c *patientClock) waited() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waits
}

// tokens counts how often a fresh one was asked for.
type tokens struct {
	mu    sync.Mutex
	value int
	err   error
}

// Token implements TokenSource.
func (s *tokens) Token(_ context.Context, fresh bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.value++
	}
	return fmt.Sprintf("token-%d", s.value), s.err
}

// fake is a registry that answers as it is told, and remembers what it was asked.
type fake struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)

	mu       sync.Mutex
	requests []string
	headers  []http.Header
	bodies   []string
}

func newFake(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *fake {
	t.Helper()
	f := &fake{answer: answer}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP implements http.Handler.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	f.headers = append(f.headers, r.Header.Clone())
	f.bodies = append(f.bodies, string(body))
	f.mu.Unlock()
	f.answer(w, r)
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.requests...)
}

func newClient(t *testing.T, address string, change func(*Options)) *Client {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Address: parsed, Tokens: &tokens{}, UserAgent: "alauda-image-pruner/v1", Connections: 2, Clock: newClock()}
	if change != nil {
		change(&options)
	}
	client, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

// Behaviour 40: every answer to a deletion, how often it is asked for, and whether anything is asked for
// afterwards.
func TestAnswersToDeletions(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		message  string
		want     Outcome
		requests int
		stops    bool
		text     string
	}{
		{"accepted", 202, "", Done, 1, false, ""},
		{"gone before", 404, "unknown", Done, 1, false, ""},
		{"in use", 405, "manifest is referenced by image stream", Skipped, 1, false, "referenced by image stream"},
		{"read-only", 405, "the registry is in read-only mode", Failed, 1, true, "the registry is read-only"},
		{"credentials", 401, "no", Failed, 2, true, "401"},
		{"rights", 403, "no right", Failed, 1, true, "no right"},
		{"bad request", 400, "odd", Failed, 1, false, "400 CODE: odd"},
		{"timeout", 408, "slow", Failed, 4, false, "408"},
		{"locked", 423, "locked", Failed, 4, false, "423"},
		{"too many", 429, "busy", Failed, 4, false, "429"},
		{"internal", 500, "broken", Failed, 4, false, "500 CODE: broken"},
		{"unavailable", 503, "later", Failed, 4, false, "503"},
		{"unexpected success", 200, "", Failed, 1, false, "200"},
		{"redirect", 307, "", Failed, 1, false, "redirects are not followed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				if test.status == 307 {
					w.Header().Set("Location", "https://user:secret@elsewhere.example.test/v2/?token=x")
				}
				refuse(w, test.status, "CODE", test.message)
			})
			client := newClient(t, registry.URL, nil)
			for name, send := range map[string]func(context.Context, string, string) (Outcome, error){"manifests": client.DeleteManifest, "blobs": client.DeleteBlob} {
				if client.Stopped() != nil {
					continue
				}
				before := len(registry.seen())
				outcome, err := send(t.Context(), "team-a/demo", layer)
				seen := registry.seen()[before:]
				if outcome != test.want || len(seen) != test.requests || (err != nil) != (test.want != Done) {
					t.Fatalf("%s: outcome %d, error %v, requests %v; want %d and %d requests", name, outcome, err, seen, test.want, test.requests)
				}
				for _, got := range seen {
					if got != "DELETE /v2/team-a/demo/"+name+"/"+layer+"?onlyunreferenced=true" {
						t.Errorf("request %s", got)
					}
				}
				if err != nil && (!strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "token")) {
					t.Errorf("error %q, want one with %q and without secrets", err, test.text)
				}
			}
			if stopped := client.Stopped() != nil; stopped != test.stops {
				t.Errorf("stopped: %t (%v), want %t", stopped, client.Stopped(), test.stops)
			}
			if !test.stops {
				return
			}
			before := len(registry.seen())
			var stopped *StoppedError
			if outcome, err := client.DeleteBlob(t.Context(), "team-a/demo", layer); outcome != Failed || !errors.As(err, &stopped) || len(registry.seen()) != before {
				t.Errorf("afterwards: outcome %d, error %v, requests %v", outcome, err, registry.seen()[before:])
			}
		})
	}
}

// Behaviours 40 and 59: a token that is refused is fetched anew once, and every request has the token of
// its moment.
func TestTokenOfTheMoment(t *testing.T) {
	valid := "Bearer token-0"
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != valid {
			refuse(w, 401, "UNAUTHORIZED", "who are you")
			return
		}
		w.WriteHeader(202)
	})
	client := newClient(t, registry.URL, nil)
	for i, next := range []string{"Bearer token-0", "Bearer token-1", "Bearer token-1"} {
		valid = next
		if outcome, err := client.DeleteBlob(t.Context(), "a/b", layer); outcome != Done {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if got := len(registry.seen()); got != 4 {
		t.Errorf("%d requests, want one repeated", got)
	}
	for _, header := range registry.headers {
		if header.Get("User-Agent") != "alauda-image-pruner/v1" {
			t.Errorf("User-Agent %q", header.Get("User-Agent"))
		}
	}
	broken := newClient(t, registry.URL, func(o *Options) { o.Tokens = &tokens{err: errors.New("the file is gone")} })
	before := len(registry.seen())
	if _, err := broken.DeleteBlob(t.Context(), "a/b", layer); err == nil || broken.Stopped() == nil || len(registry.seen()) != before {
		t.Errorf("without a token: error %v, requests %v", err, registry.seen()[before:])
	}
}

// Behaviour 40: waits double, follow Retry-After and are bounded whatever the registry asks for.
func TestWaits(t *testing.T) {
	tests := map[string]struct {
		header   string
		min, max time.Duration
	}{
		"none":     {"", 250 * time.Millisecond, 500 * time.Millisecond},
		"seconds":  {"7", 7 * time.Second, 7 * time.Second},
		"date":     {"Wed, 02 Jan 2030 03:04:14 GMT", 9 * time.Second, 9 * time.Second},
		"past":     {"Wed, 02 Jan 2020 03:04:14 GMT", 250 * time.Millisecond, 500 * time.Millisecond},
		"huge":     {"999999999999", maxWait, maxWait},
		"overflow": {"99999999999999999999999999", 250 * time.Millisecond, 500 * time.Millisecond},
		"negative": {"-5", 250 * time.Millisecond, 500 * time.Millisecond},
		"far date": {"Wed, 02 Jan 2099 03:04:14 GMT", maxWait, maxWait},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			calls := 0
			registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				if calls++; calls > 1 {
					w.WriteHeader(202)
					return
				}
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				refuse(w, 429, "TOOMANYREQUESTS", "busy")
			})
			clock := newClock()
			client := newClient(t, registry.URL, func(o *Options) { o.Clock = clock })
			if outcome, err := client.DeleteBlob(t.Context(), "a/b", layer); outcome != Done {
				t.Fatal(err)
			}
			if waits := clock.waited(); len(waits) != 1 || waits[0] < test.min || waits[0] > test.max {
				t.Errorf("waited %v, want between %s and %s", waits, test.min, test.max)
			}
		})
	}
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	clock := newClock()
	client := newClient(t, registry.URL, func(o *Options) { o.Clock = clock })
	_, _ = client.DeleteBlob(t.Context(), "a/b", layer)
	waits := clock.waited()
	for i, full := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
		if len(waits) != 3 || waits[i] < full/2 || waits[i] > full {
			t.Fatalf("waited %v, want up to 0.5, 1 and 2 s", waits)
		}
	}
}

// Behaviour 40: after twenty failures in a row nothing more is sent; answers in between that are none count
// as life.
func TestCircuitBreaker(t *testing.T) {
	status := 500
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	client := newClient(t, registry.URL, nil)
	for i := range 19 {
		if _, err := client.DeleteBlob(t.Context(), "a/b", layer); err == nil || client.Stopped() != nil {
			t.Fatalf("failure %d: error %v, stopped %v", i+1, err, client.Stopped())
		}
	}
	status = 405
	_, _ = client.DeleteBlob(t.Context(), "a/b", layer)
	status = 500
	for range 20 {
		if client.Stopped() != nil {
			t.Fatal("stopped too early: an answer in between begins the count anew")
		}
		_, _ = client.DeleteBlob(t.Context(), "a/b", layer)
	}
	before := len(registry.seen())
	if _, err := client.DeleteBlob(t.Context(), "a/b", layer); err == nil || !strings.Contains(err.Error(), "20 requests in a row failed") || len(registry.seen()) != before {
		t.Errorf("error %v, %d requests more", err, len(registry.seen())-before)
	}
}

// Behaviour 40: a registry that never answers, closes the connection or is not there.
func TestTroubleOfTheNetwork(t *testing.T) {
	registry := newFake(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	client := newClient(t, registry.URL, nil)
	if outcome, err := client.DeleteBlob(t.Context(), "a/b", layer); outcome != Failed || err == nil || len(registry.seen()) < 4 {
		t.Errorf("outcome %d, error %v, %d requests", outcome, err, len(registry.seen()))
	}
	registry.Close()
	if outcome, err := client.DeleteBlob(t.Context(), "a/b", layer); outcome != Failed || err == nil {
		t.Errorf("outcome %d, error %v", outcome, err)
	}
}

// An interrupted run lets the request in flight end and sends no other.
func TestInterruptionLetsARequestEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		w.WriteHeader(202)
	})
	client := newClient(t, registry.URL, nil)
	if outcome, err := client.DeleteBlob(ctx, "a/b", layer); outcome != Done {
		t.Errorf("outcome %d, error %v", outcome, err)
	}
}

// No answer is read without end, and what stands in it stays one short line without control characters.
func TestHostileAnswers(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	status := 400
	registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		chunk := []byte(strings.Repeat(" ", 32<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			default:
			}
		}
	})
	client := newClient(t, registry.URL, nil)
	if outcome, err := client.DeleteBlob(t.Context(), "a/b", layer); outcome != Failed || !strings.Contains(err.Error(), "400") {
		t.Errorf("endless error: outcome %d, %v", outcome, err)
	}
	status = 200
	before := len(registry.seen())
	if _, err := client.Collection(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), "larger than") || len(registry.seen()) != before+1 {
		t.Errorf("endless report: %v, %d requests", err, len(registry.seen())-before)
	}
	odd := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 400, "A\nB", "line\x1b[31m\r\nanother "+strings.Repeat("é", 1000))
	})
	_, err := newClient(t, odd.URL, nil).DeleteBlob(t.Context(), "a/b", layer)
	if text := err.Error(); strings.ContainsAny(text, "\r\n\x1b") || len(text) > 700 || !strings.Contains(text, "400 A B: line [31m another") {
		t.Errorf("error %q", text)
	}
}

// A redirect to another host gets no token, whatever its status.
func TestTokenStaysWithTheHost(t *testing.T) {
	other := newFake(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		registry := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		})
		client := newClient(t, registry.URL, nil)
		if err := client.Preflight(t.Context()); err == nil || !strings.Contains(err.Error(), other.URL) {
			t.Errorf("%d: preflight %v", status, err)
		}
		if _, err := client.StartCollection(t.Context(), Task{}); err == nil {
			t.Errorf("%d: a collection was started", status)
		}
	}
	if seen := other.seen(); len(seen) != 0 {
		t.Errorf("the other host got %v", seen)
	}
}
