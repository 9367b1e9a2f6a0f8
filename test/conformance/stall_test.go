package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"image.alauda.io/registry/test/selfsigned"
)

// pause is the longest pause of a transfer in these tests: a busy machine may stop a client
// that means to be quick for a good part of it.
const pause = 800 * time.Millisecond

// long is how much longer than the longest pause a transfer lasts that stands for an hour.
const long = 4 * pause

// served is a registry behind its own server, as the program runs it.
type served struct {
	*env
	// patient is a registry on the same storage with ordinary limits, for what only prepares.
	patient *env
	address string
	// roots is nil without TLS.
	roots *x509.CertPool
	// protocol is what clients use.
	protocol string
}

// serve runs the registry's own server; over TLS clients get HTTP/2, unless the protocol is changed.
func serve(t *testing.T, overTLS bool) *served {
	t.Helper()
	settings := []string{"ALAUDA=, http: {iotimeout: " + pause.String() + ", shutdowndelay: 0s}, requests: {read: {maxrunning: 1}, write: {maxrunning: 1}}"}
	s := &served{protocol: "HTTP/1.1"}
	if overTLS {
		s.protocol = "HTTP/2.0"
		certificate, key, roots := certificateFiles(t)
		s.roots = roots
		settings = append(settings, "HTTP=, draintimeout: 1s, tls: {certificate: "+certificate+", key: "+key+"}")
	}
	storage := inmemory.New()
	s.env, s.patient = startOn(t, storage, settings...), startOn(t, storage)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.registry.Server.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// certificateFiles are those of a test server of the standard library, which are valid for 127.0.0.1.
func certificateFiles(t *testing.T) (certificate, key string, roots *x509.CertPool) {
	t.Helper()
	certificate, key, err := selfsigned.Write(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certificatePEM)
	return certificate, key, roots
}

// client has a connection of its own with a small window, so that its pace is what the server sees.
func (s *served) client() *http.Client {
	transport := &http.Transport{
		DisableCompression: true, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err == nil {
				err = connection.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			return connection, err
		},
	}
	if s.roots != nil {
		transport.ForceAttemptHTTP2 = s.protocol == "HTTP/2.0"
		transport.TLSClientConfig = &tls.Config{RootCAs: s.roots}
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (s *served) request(method, path string, body io.Reader) *http.Request {
	s.t.Helper()
	scheme := "http://"
	if s.roots != nil {
		scheme = "https://"
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, scheme+s.address+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	return r
}

// serving counts the goroutines that answer requests.
func serving() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "server.(*Server).ServeHTTP(")
}

func overAll(t *testing.T, test func(t *testing.T, s *served)) {
	for name, overTLS := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { test(t, serve(t, overTLS)) })
	}
	t.Run("HTTP/1.1 over TLS", func(t *testing.T) { // where the records of an answer are gathered
		s := serve(t, true)
		s.protocol = "HTTP/1.1"
		test(t, s)
	})
}

// Behaviour 94: who stops reading is cut off, and the only slot and the goroutine are free for the next.
func TestStalledDownloadIsCutOff(t *testing.T) {
	overAll(t, func(t *testing.T, s *served) {
		path := "/v2/team/app/blobs/" + s.patient.pushBlob(repo, make([]byte, 48<<20))
		answer, err := s.client().Do(s.request(http.MethodGet, path, http.NoBody))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // the server ends it
		if answer.Proto != s.protocol {
			t.Fatalf("protocol %s", answer.Proto)
		}
		eventually(t, "no goroutine is left", func() bool { return serving() == 0 })
		s.head(path).want(200) // there is one slot
		if n, err := io.Copy(io.Discard, answer.Body); err == nil {
			t.Errorf("the download ended without an error after %d bytes", n)
		}
	})
}

// Behaviour 94: what moves is never cut off, however long it takes.
func TestSlowDownloadIsNotCutOff(t *testing.T) {
	overAll(t, func(t *testing.T, s *served) {
		const size = 24 << 20
		path := "/v2/team/app/blobs/" + s.patient.pushBlob(repo, make([]byte, size))
		answer, err := s.client().Do(s.request(http.MethodGet, path, http.NoBody))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close() //nolint:errcheck // it was read
		received := 0
		for part, started := make([]byte, 32<<10), time.Now(); time.Since(started) < long; {
			n, err := io.ReadFull(answer.Body, part)
			received += n
			if err != nil {
				t.Fatalf("cut off after %d bytes: %v", received, err)
			}
			<-time.After(pause / 10)
		}
		if received >= size/2 {
			t.Fatal("the blob is too small for this test")
		}
		rest, err := io.Copy(io.Discard, answer.Body)
		if err != nil || received+int(rest) != size {
			t.Errorf("got %d of %d bytes: %v", received+int(rest), size, err)
		}
	})
}

// Behaviour 94: the same for uploads. What arrived before is kept, so the upload can go on.
func TestStalledUploadIsCutOffAndSlowOneIsNot(t *testing.T) {
	overAll(t, func(t *testing.T, s *served) {
		stalled := s.startUpload()
		result, source := s.upload(stalled)
		send(t, source, "stalled")
		plain, _, _ := strings.Cut(stalled, "?")
		eventually(t, "the upload is under way", func() bool { return serving() > 0 })
		eventually(t, "no goroutine is left", func() bool { return serving() == 0 })
		s.remove(plain).want(404, "BLOB_UPLOAD_INVALID") // there is one slot for writes, too
		s.get(plain).want(204).header("Range", "0-6")
		_ = source.CloseWithError(io.ErrUnexpectedEOF)
		if status := <-result; status >= 200 && status < 300 {
			t.Errorf("status %d for a stalled upload", status)
		}

		result, source = s.upload(s.startUpload())
		for started := time.Now(); time.Since(started) < long; <-time.After(pause / 10) {
			send(t, source, "x")
		}
		_ = source.Close()
		if status := <-result; status != http.StatusAccepted {
			t.Errorf("status %d for a slow upload", status)
		}
	})
}

func send(t *testing.T, to io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(to, text); err != nil {
		t.Fatal(err)
	}
}

// upload sends what is written to the pipe; the status of the answer comes later, 0 when there is none.
func (s *served) upload(location string) (<-chan int, *io.PipeWriter) {
	body, source := io.Pipe()
	s.t.Cleanup(func() { _ = source.Close() })
	r, client, result := s.request(http.MethodPatch, location, body), s.client(), make(chan int, 1)
	go func() {
		answer, err := client.Do(r)
		if err != nil {
			result <- 0
			return
		}
		_ = answer.Body.Close()
		result <- answer.StatusCode
	}()
	return result, source
}
