package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/app"

	"github.com/opencontainers/go-digest"
)

// node is one replica of a rollout, with the server that the program runs.
type node struct {
	*env
	address string
	end     context.CancelFunc
	ended   chan error
}

// startNode starts another replica on the storage and the image API of e.
func (e *env) startNode(settings ...string) *node {
	e.t.Helper()
	n := &node{ended: make(chan error, 1)}
	n.env = startWith(e.t, e.driver, func(deps *app.Dependencies) { deps.API = e.api }, settings...)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	n.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	go func() { n.ended <- n.registry.Server.Run(ctx, listener) }()
	return n
}

// service leads requests to replicas that are ready, as the Service of a cluster does: it asks them
// now and then and learns late that one is going.
type service struct {
	mu    sync.Mutex
	nodes []*node
	ready []*node
	turn  int
}

func (s *service) set(nodes ...*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = nodes
}

// look asks every replica for its readiness.
func (s *service) look(client *http.Client) {
	s.mu.Lock()
	nodes := s.nodes
	s.mu.Unlock()
	var ready []*node
	for _, n := range nodes {
		answer, err := client.Get("https://" + n.address + "/readyz")
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			ready = append(ready, n)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
}

func (s *service) includes(n *node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ready := range s.ready {
		if ready == n {
			return true
		}
	}
	return false
}

func (s *service) next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	return "https://" + s.ready[s.turn%len(s.ready)].address
}

func rolloutRequest(ctx context.Context, client *http.Client, method, url string, body []byte, want int) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	answer, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s: status %d, want %d: %s", method, url, answer.StatusCode, want, raw)
	}
	return answer, raw, err
}

// slowReader reads a response at leisure, so that its request is under way when its server is told to end.
type slowReader struct {
	body io.Reader
	step func()
}

func (s slowReader) Read(p []byte) (int, error) {
	s.step()
	return s.body.Read(p[:min(len(p), 32<<10)])
}

// Behaviour 91: replicas are replaced one after the other while clients pull and one uploads in chunks. No pull fails, not even a slow one that began before its server was told
// to end, and the upload goes on from replica to replica.
func TestReplacingReplicasBreaksNoPullAndNoUpload(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	certificate, key, roots := certificateFiles(t)
	settings := []string{"ALAUDA=, http: {shutdowndelay: 300ms}", "HTTP=, draintimeout: 20s, tls: {certificate: " + certificate + ", key: " + key + "}"}
	e := start(t)
	blob := make([]byte, 4<<20)
	_, _ = rand.Read(blob) // never fails
	d := e.pushBlob("team/app", blob)

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8}}
	t.Cleanup(client.CloseIdleConnections)
	balancer := &service{}
	replicas := []*node{e.startNode(settings...), e.startNode(settings...)}
	balancer.set(replicas...)
	balancer.look(client)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	clients.Go(func() {
		for ctx.Err() == nil {
			balancer.look(client)
			time.Sleep(10 * time.Millisecond) // the pace at which endpoints are updated
		}
	})
	failures := make(chan error, 16)
	var pulls, chunks atomic.Int64
	for range 3 {
		clients.Go(func() {
			for ctx.Err() == nil {
				_, raw, err := rolloutRequest(context.Background(), client, http.MethodGet, balancer.next()+"/v2/team/app/blobs/"+d, nil, http.StatusOK)
				if err == nil && !bytes.Equal(raw, blob) {
					err = errors.New("a pull got other bytes")
				}
				if err != nil {
					failures <- err
					return
				}
				pulls.Add(1)
			}
		})
	}
	content := &bytes.Buffer{}
	location := make(chan string, 1)
	clients.Go(func() {
		answer, _, err := rolloutRequest(context.Background(), client, http.MethodPost, balancer.next()+"/v2/team/app/blobs/uploads/", nil, http.StatusAccepted)
		for part := 0; err == nil && ctx.Err() == nil; part++ {
			chunk := []byte(strings.Repeat(fmt.Sprintf("chunk %d ", part), 500))
			answer, _, err = rolloutRequest(context.Background(), client, http.MethodPatch, balancer.next()+pathOf(answer), chunk, http.StatusAccepted)
			content.Write(chunk)
			chunks.Add(1)
		}
		if err != nil {
			failures <- err
			location <- ""
			return
		}
		location <- pathOf(answer)
	})

	for i, old := range replicas {
		before := pulls.Load() + chunks.Load()
		slow := e.slowPull(client, old, d, blob)
		serial := fmt.Sprint("replica ", i)
		replacement := e.startNode(settings...)
		balancer.set(replicas[(i+1)%2], old, replacement)
		e.eventually("the new replica gets requests instead of "+serial, func() bool { return balancer.includes(replacement) })
		replicas[i] = replacement
		old.end()
		slow.goOn()
		if err := <-slow.result; err != nil {
			t.Errorf("the pull that was under way on %s: %v", serial, err)
		}
		if err := <-old.ended; err != nil {
			t.Errorf("%s ended with %v", serial, err)
		}
		balancer.set(replicas...)
		e.eventually("clients go on without "+serial, func() bool { return len(failures) > 0 || pulls.Load()+chunks.Load() > before+10 })
	}
	stop()
	clients.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if path := <-location; path != "" {
		want := digest.FromBytes(content.Bytes()).String()
		_, _, err := rolloutRequest(t.Context(), client, http.MethodPut, balancer.next()+path+"&digest="+want, nil, http.StatusCreated)
		if err != nil {
			t.Error(err)
		}
		_, raw, err := rolloutRequest(t.Context(), client, http.MethodGet, balancer.next()+"/v2/team/app/blobs/"+want, nil, http.StatusOK)
		if err != nil || !bytes.Equal(raw, content.Bytes()) {
			t.Errorf("the upload of %d chunks has %d bytes, want %d: %v", chunks.Load(), len(raw), content.Len(), err)
		}
	}
	t.Logf("%d pulls and %d chunks", pulls.Load(), chunks.Load())
	for _, n := range replicas {
		n.end()
		if err := <-n.ended; err != nil {
			t.Error(err)
		}
	}
}

// pathOf is the Location of an answer without its host: the next replica is another one.
func pathOf(answer *http.Response) string {
	location := answer.Header.Get("Location")
	if _, rest, found := strings.Cut(location, "://"); found {
		return rest[strings.Index(rest, "/"):]
	}
	return location
}

// slowPull is a download that stands still after its first bytes until it may go on.
type slowPull struct {
	result chan error
	gate   chan struct{}
}

func (s *slowPull) goOn() { close(s.gate) }

func (e *env) slowPull(client *http.Client, from *node, d string, want []byte) *slowPull {
	e.t.Helper()
	s := &slowPull{result: make(chan error, 1), gate: make(chan struct{})}
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, "https://"+from.address+"/v2/team/app/blobs/"+d, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	answer, err := client.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	go func() {
		defer answer.Body.Close() //nolint:errcheck // everything was read
		<-s.gate
		raw, err := io.ReadAll(slowReader{answer.Body, func() { time.Sleep(5 * time.Millisecond) }})
		if err == nil && !bytes.Equal(raw, want) {
			err = errors.New("other bytes")
		}
		s.result <- err
	}()
	return s
}
