package server

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
)

// sent is a connection that notes what is written to it, and fails when told so.
type sent struct {
	net.Conn

	mu     sync.Mutex
	writes [][]byte
	room   int // how much is taken before the failure, -1 for everything
}

var errBroken = errors.New("connection reset")

func (s *sent) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, bytes.Clone(p))
	if s.room < 0 {
		return len(p), nil
	}
	n := min(s.room, len(p))
	return n, errBroken
}

func TestRecordsAreGathered(t *testing.T) {
	record := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, n) }
	for name, test := range map[string]struct {
		room    int
		records []int
		want    []int // what is written by itself
		left    int   // what is written when the buffer is given back
	}{
		"together":              {100, []int{30, 30, 30}, []int{90}, 0},
		"until one has no room": {100, []int{40, 40, 40, 40}, []int{80, 80}, 0},
		"the rest at the end":   {100, []int{30, 30}, nil, 60},
		"too large for waiting": {100, []int{30, 200}, []int{30, 200}, 0},
		"a small one at first":  {100, []int{10, 60, 45}, []int{70}, 45},
	} {
		t.Run(name, func(t *testing.T) {
			connection := &sent{room: -1}
			g := &gatherer{Conn: connection}
			var all []byte
			g.lend(make([]byte, test.room))
			for _, n := range test.records {
				if written, err := g.Write(record(n)); written != n || err != nil {
					t.Errorf("wrote %d of %d: %v", written, n, err)
				}
				all = append(all, record(n)...)
			}
			var sizes []int
			for _, p := range connection.writes {
				sizes = append(sizes, len(p))
			}
			if !slices.Equal(sizes, test.want) {
				t.Errorf("wrote %v, want %v", sizes, test.want)
			}
			if lost, err := g.giveBack(); lost != 0 || err != nil {
				t.Errorf("lost %d: %v", lost, err)
			}
			if got := bytes.Join(connection.writes, nil); !bytes.Equal(got, all) {
				t.Error("other bytes, or in another order")
			}
			if left := len(all) - sum(test.want); left != test.left {
				t.Errorf("%d at the end, want %d", left, test.left)
			}
			before := len(connection.writes)
			if _, err := g.Write(record(5)); err != nil || len(connection.writes) != before+1 {
				t.Errorf("a record waits without a buffer: %v", err)
			}
		})
	}
}

func sum(values []int) (total int) {
	for _, v := range values {
		total += v
	}
	return total
}

func TestFailedRecordsAreNotSentAgain(t *testing.T) {
	connection := &sent{room: 15}
	g := &gatherer{Conn: connection}
	g.lend(make([]byte, 100))
	if _, err := g.Write(make([]byte, 40)); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Write(make([]byte, 40)); n != 0 || !errors.Is(err, errBroken) {
		t.Errorf("%d, %v", n, err)
	}
	if lost, err := g.giveBack(); lost != 65 || !errors.Is(err, errBroken) {
		t.Errorf("lost %d, %v", lost, err)
	}
	if len(connection.writes) != 1 {
		t.Errorf("%d writes after half a record was sent", len(connection.writes))
	}
}

// gathering serves with the registry's response over TLS and counts the writes to the network.
func gathering(t *testing.T, serve func(*response)) (client *http.Client, address string, writes func() int) {
	t.Helper()
	var mu sync.Mutex
	count := 0
	handler := func(w http.ResponseWriter, r *http.Request) {
		out := newResponse(w, r, newWatch(w, r, 0))
		if (out.gatherer != nil) != (r.ProtoMajor == 1) {
			t.Errorf("%s: gathered: %t", r.Proto, out.gatherer != nil)
		}
		serve(out)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true}
	server.Config.ConnContext = connectionContext
	server.Listener = gatheringListener{countingListener{server.Listener, func() {
		mu.Lock()
		defer mu.Unlock()
		count++
	}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Client(), server.URL, func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

type countingListener struct {
	net.Listener
	wrote func()
}

func (l countingListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	return countingConnection{connection, l.wrote}, err
}

type countingConnection struct {
	net.Conn
	wrote func()
}

func (c countingConnection) Write(p []byte) (int, error) {
	c.wrote()
	return c.Conn.Write(p)
}

// A download of 1 MiB is 64 records. They go out by threes, whatever TLS version and protocol, and complete.
func TestDownloadNeedsFewWrites(t *testing.T) {
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	for name, test := range map[string]struct {
		source      func(io.Reader) io.Reader
		http2       bool
		least, most int
	}{
		"from a disk":     {func(r io.Reader) io.Reader { return r }, false, 20, 40},
		"in small pieces": {iotest.HalfReader, false, 100, 300},
		"with its end":    {iotest.DataErrReader, false, 100, 300},
		"over HTTP/2":     {func(r io.Reader) io.Reader { return r }, true, 20, 10000},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+" "+tls.VersionName(version), func(t *testing.T) {
				client, address, writes := gathering(t, func(out *response) {
					out.Header().Set("Content-Type", "application/octet-stream")
					n, err := out.ReadFrom(test.source(bytes.NewReader(content)))
					if n != int64(len(content)) || err != nil || out.bytes != n || out.failed {
						t.Errorf("sent %d, counted %d, %v", n, out.bytes, err)
					}
				})
				transport := client.Transport.(*http.Transport)
				transport.ForceAttemptHTTP2 = test.http2
				transport.TLSClientConfig.MaxVersion = version
				if !test.http2 {
					transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
				}
				answer, err := client.Get(address)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close() //nolint:errcheck // everything was read
				got, err := io.ReadAll(answer.Body)
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes, equal: %t, %v", len(got), bytes.Equal(got, content), err)
				}
				if n := writes(); n < test.least || n > test.most {
					t.Errorf("%d writes, want %d to %d", n, test.least, test.most)
				}
			})
		}
	}
}

// What a slow storage has given reaches the client while the storage is waited for.
func TestSlowStorageDoesNotHoldBackWhatIsThere(t *testing.T) {
	source, storage := io.Pipe()
	client, address, _ := gathering(t, func(out *response) {
		if _, err := out.ReadFrom(source); err != nil {
			t.Error(err)
		}
	})
	transport := client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = false
	transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	part := make([]byte, 10<<10)
	go storage.Write(part) //nolint:errcheck // the client sees it
	answer, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // everything was read
	// The rest comes only after the client has seen nearly all that is there; the server's own buffer keeps some.
	if _, err := io.ReadFull(answer.Body, make([]byte, len(part)-4<<10)); err != nil {
		t.Fatal(err)
	}
	if err := storage.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(answer.Body); len(rest) != 4<<10 || err != nil {
		t.Errorf("%d bytes at the end, %v", len(rest), err)
	}
}
