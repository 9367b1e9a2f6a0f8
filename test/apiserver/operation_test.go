//go:build component

package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
)

// inEtcd are the flags of a server that keeps its objects apart from those of other tests.
func inEtcd(t *testing.T, flags ...string) []string {
	return append([]string{
		"--image-storage=etcd", "--etcd-servers=" + shared.Get(t).EtcdEndpoint, "--etcd-prefix=/test/" + t.Name(),
	}, flags...)
}

// mountedPair is a serving pair as kubelet mounts a Secret: files that are links through a folder
// which is exchanged in one step.
type mountedPair struct {
	dir     string
	current string
}

func (m *mountedPair) file(name string) string { return filepath.Join(m.dir, name) }

// mount exchanges the pair for a new one.
func (m *mountedPair) mount(t *testing.T, e *environment) {
	t.Helper()
	certFile, keyFile, _ := e.cp.ServingCert(t, "localhost", "127.0.0.1")
	next, err := os.MkdirTemp(m.dir, "..")
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"tls.crt": certFile, "tls.key": keyFile} {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(next, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), m.file(name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Base(next), m.file("..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(m.file("..new"), m.file("..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.current); err != nil {
		t.Fatal(err)
	}
	m.current = next
}

// serial is the serial number of the mounted certificate.
func (m *mountedPair) serial(t *testing.T) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(m.file("tls.crt"), m.file("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.String()
}

// servedSerial is the serial number of the certificate that new connections get.
func servedSerial(ctx context.Context, config *rest.Config, port int) (string, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CAData)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// Behaviour 64, the serving certificate: a new pair is served within patience, which is the minute
// that is promised, while requests on old and new connections go on.
func TestServingPairIsReloaded(t *testing.T) {
	e := prepare(t)
	pair := &mountedPair{dir: t.TempDir()}
	pair.mount(t, e)
	r := e.serve(t, inEtcd(t, "--tls-cert-file="+pair.file("tls.crt"), "--tls-private-key-file="+pair.file("tls.key"))...)
	api := imageclient.NewForConfigOrDie(r.config).ImageV1()
	for _, round := range []string{"first", "renewed", "renewed again"} {
		if round != "first" {
			pair.mount(t, e)
		}
		want := pair.serial(t)
		e.eventually(t, round+" pair is served", func(ctx context.Context) error {
			if _, err := api.Images().List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
				t.Errorf("request while the pair changes: %v", err)
			}
			got, err := servedSerial(ctx, r.config, r.port)
			if err == nil && got != want {
				err = fmt.Errorf("certificate %s is served, want %s", got, want)
			}
			return err
		})
	}
	select {
	case <-r.ended:
		t.Error("the server has ended")
	default:
	}
}

// load sends requests to a replica without retries and counts the answers.
type load struct {
	client *http.Client
	host   string
	group  sync.WaitGroup
	// stopped ends the load.
	stopped atomic.Bool
	served  atomic.Int64
}

func startLoad(t *testing.T, r *replica, namespace string) *load {
	t.Helper()
	client, err := rest.HTTPClientFor(r.config)
	if err != nil {
		t.Fatal(err)
	}
	l := &load{client: client, host: r.config.Host}
	streams := "/apis/image.alauda.io/v1/namespaces/" + namespace + "/imagestreams"
	for worker := range 4 {
		l.group.Go(func() {
			for n := 0; !l.stopped.Load(); n++ {
				if err := l.do(http.MethodGet, streams, nil, http.StatusOK); err != nil {
					t.Errorf("request %d of worker %d: %v", n, worker, err)
					return
				}
				body, err := json.Marshal(stream(fmt.Sprintf("app-%d-%d", worker, n)))
				if err == nil {
					err = l.do(http.MethodPost, streams, body, http.StatusCreated)
				}
				if err != nil {
					t.Errorf("write %d of worker %d: %v", n, worker, err)
					return
				}
				l.served.Add(2)
			}
		})
	}
	return l
}

func (l *load) do(method, path string, body []byte, want int) error {
	request, err := http.NewRequest(method, l.host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != want {
		err = fmt.Errorf("%s %s: status %d, want %d: %s", method, path, answer.StatusCode, want, text)
	}
	return err
}

// slowCreate begins to create a stream and returns how to send the rest, and the result.
func (l *load) slowCreate(namespace string) (finish func(), result <-chan error) {
	body, send := io.Pipe()
	done := make(chan error, 1)
	go func() {
		request, err := http.NewRequest(http.MethodPost, l.host+"/apis/image.alauda.io/v1/namespaces/"+namespace+"/imagestreams", body)
		if err != nil {
			done <- err
			return
		}
		request.Header.Set("Content-Type", "application/json")
		answer, err := l.client.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusCreated {
				err = fmt.Errorf("status %d, want 201", answer.StatusCode)
			}
		}
		done <- err
	}()
	// A write that fails has its reason in the result.
	write := func(text string) { _, _ = io.WriteString(send, text) }
	write(`{"apiVersion":"image.alauda.io/v1","kind":"ImageStream",`)
	return func() {
		write(`"metadata":{"name":"slow"}}`)
		send.Close()
	}, done
}

// Behaviour 63, one replica of a rolling update: it is not ready at once, serves until traffic has
// gone elsewhere, finishes what it has begun, and ends in order.
func TestShutdownFailsNoRequest(t *testing.T) {
	const delay = 4 * time.Second
	e := prepare(t)
	namespace := e.newNamespace(t)
	r := e.serve(t, inEtcd(t, fmt.Sprintf("--shutdown-delay-duration=%s", delay))...)
	streams := imageclient.NewForConfigOrDie(r.config).ImageV1().ImageStreams(namespace)
	events, err := streams.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	go func() {
		for event := range events.ResultChan() {
			if _, ok := event.Object.(*imagev1.ImageStream); !ok {
				t.Errorf("the watch sent %s %#v", event.Type, event.Object)
			}
		}
	}()

	l := startLoad(t, r, namespace)
	e.eventually(t, "the load is served", func(context.Context) error { return l.servedMoreThan(20) })
	finish, slow := l.slowCreate(namespace)

	asked := time.Now()
	r.stop()
	e.eventually(t, "the replica is not ready", func(context.Context) error {
		if l.do(http.MethodGet, "/readyz", nil, http.StatusOK) == nil {
			return errors.New("/readyz says ok")
		}
		return nil
	})
	if took := time.Since(asked); took > delay/4 {
		t.Errorf("the replica was ready for %s after it was asked to stop", took)
	}
	if err := l.do(http.MethodGet, "/livez", nil, http.StatusOK); err != nil {
		t.Errorf("liveness during the delay: %v", err)
	}
	before := l.served.Load()
	e.eventually(t, "the load is served during the delay", func(context.Context) error {
		if time.Since(asked) < delay/2 {
			return errors.New("less than half of the delay is over")
		}
		return l.servedMoreThan(before)
	})
	l.stopped.Store(true)
	l.group.Wait()

	// As long as something is in flight, what comes late is asked to come back, to another replica.
	e.eventually(t, "new requests are sent away", func(context.Context) error {
		return l.do(http.MethodGet, "/apis/image.alauda.io/v1/images", nil, http.StatusTooManyRequests)
	})
	if took := time.Since(asked); took < delay {
		t.Errorf("requests were sent away after %s, before the delay of %s was over", took, delay)
	}
	finish()
	if err := <-slow; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	e.eventually(t, "the replica has ended", func(context.Context) error {
		select {
		case <-r.ended:
			return nil
		default:
			return errors.New("it runs")
		}
	})
}

func (l *load) servedMoreThan(count int64) error {
	if served := l.served.Load(); served <= count {
		return fmt.Errorf("%d requests were served, want more than %d", served, count)
	}
	return nil
}
