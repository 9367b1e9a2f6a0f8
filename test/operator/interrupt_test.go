//go:build component

package operator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// errKilled is what a process that is dead gets for every request.
var errKilled = errors.New("the process was killed by the test")

// counted says whether a request is a step: everything that leaves something behind, but neither events nor the
// lease, which nothing depends on. A token leaves nothing behind, so a process that always dies of the first one
// would never come further.
func counted(r *http.Request) bool {
	nothing := []string{"/events", "/token", "/tokenreviews", "/subjectaccessreviews"}
	return r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/leases") &&
		!slices.ContainsFunc(nothing, func(end string) bool { return strings.HasSuffix(r.URL.Path, end) })
}

// killer ends a process after one of its steps: the API server has done it, and the process never learns that.
// Nothing of it gets through from then on, as from a machine that lost its power.
type killer struct {
	mu   sync.Mutex
	left int
	dead chan struct{}
	last string
}

// newKiller kills after the given number of steps; zero never kills.
func newKiller(after int) *killer { return &killer{left: after, dead: make(chan struct{})} }

func (k *killer) killed() bool {
	select {
	case <-k.dead:
		return true
	default:
		return false
	}
}

func (k *killer) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if k.killed() {
			return nil, errKilled
		}
		response, err := next.RoundTrip(r)
		if counted(r) {
			k.step(r)
		}
		if k.killed() {
			if err == nil {
				_ = response.Body.Close()
			}
			return nil, errKilled
		}
		return response, err
	})
}

func (k *killer) step(r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left == 0 {
		return
	}
	if k.left--; k.left == 0 {
		k.last = r.Method + " " + r.URL.Path
		close(k.dead)
	}
}

// process is an operator that a killer may end.
type process struct {
	*killer
	done <-chan error
	stop context.CancelFunc
}

// launch starts an operator that dies after some steps, or never if that is zero.
func (c *cluster) launch(after int, wraps ...func(http.RoundTripper) http.RoundTripper) *process {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{killer: newKiller(after), stop: cancel}
	go func() {
		select {
		case <-p.dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	p.done = c.run(ctx, c.options(), append(wraps, p.wrap)...)
	return p
}

// end stops the process and waits for its end.
func (p *process) end() {
	p.stop()
	<-p.done
}

// trouble answers some steps of a process wrongly: the API server has done them, and says something else.
type trouble struct {
	mu sync.Mutex
	// every n-th step, beginning with the one of number first, gets the answer; zero means none.
	every, first, seen int
	answer             func(*http.Request) (*http.Response, error)
	given              int
}

func (f *trouble) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil || !counted(r) || !f.due() {
			return response, err
		}
		_ = response.Body.Close()
		return f.answer(r)
	})
}

func (f *trouble) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen++
	if f.every == 0 || f.seen%f.every != f.first%f.every {
		return false
	}
	f.given++
	return true
}

// answers of an API server in trouble.
var answers = map[string]func(*http.Request) (*http.Response, error){
	"500": func(r *http.Request) (*http.Response, error) { return refusal(r, 500, "InternalError", nil), nil },
	"409": func(r *http.Request) (*http.Response, error) { return refusal(r, 409, "Conflict", nil), nil },
	"time-out": func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "read", Err: context.DeadlineExceeded}
	},
}

// refusal is the answer of an API server that does not do what it is asked for.
func refusal(r *http.Request, code int, reason string, header http.Header) *http.Response {
	body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + reason + `","message":"made by the test"}`
	out := http.Header{"Content-Type": {"application/json"}}
	for key, values := range header {
		out[key] = values
	}
	return &http.Response{
		StatusCode: code, Request: r, Proto: r.Proto, ProtoMajor: 1, ProtoMinor: 1,
		Header: out, Body: io.NopCloser(strings.NewReader(body)),
	}
}
