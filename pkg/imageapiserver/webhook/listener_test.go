package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"testing"

	"image.alauda.io/registry/test/selfsigned"
)

// pair is a certificate that a test can change.
type pair struct {
	mu        sync.Mutex
	cert, key []byte
}

func (p *pair) CurrentCertKeyContent() ([]byte, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cert, p.key
}

func (p *pair) set(cert, key []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cert, p.key = cert, key
}

func issue(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	cert, key, err := selfsigned.Issue(serial)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func served(t *testing.T, address net.Addr) int64 {
	t.Helper()
	connection, err := tls.Dial("tcp", address.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestANewCertificateIsServedWithTheNextConnection(t *testing.T) {
	source := &pair{}
	source.set(issue(t, 1))
	server, err := Listen("127.0.0.1:0", source, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	if serial := served(t, server.Address()); serial != 1 {
		t.Errorf("certificate %d is served, want 1", serial)
	}
	source.set(issue(t, 2))
	if serial := served(t, server.Address()); serial != 2 {
		t.Errorf("certificate %d is served, want 2", serial)
	}
	_, otherKey := issue(t, 3)
	source.set(source.cert, otherKey)
	if serial := served(t, server.Address()); serial != 2 {
		t.Errorf("certificate %d is served while the pair is half written, want 2", serial)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A request that is being answered when the server ends gets its answer.
func TestRequestsInFlightAreAnswered(t *testing.T) {
	source := &pair{}
	source.set(issue(t, 1))
	arrived, proceed := make(chan struct{}), make(chan struct{})
	server, err := Listen("127.0.0.1:0", source, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-proceed
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	answered := make(chan error, 1)
	go func() {
		response, err := client.Post("https://"+server.Address().String(), "application/json", bytes.NewReader(nil))
		if err == nil {
			err = response.Body.Close()
		}
		answered <- err
	}()
	<-arrived
	stop()
	close(proceed)
	if err := <-answered; err != nil {
		t.Errorf("the request was not answered: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestATakenPortIsAnError(t *testing.T) {
	first, err := Listen("127.0.0.1:0", &pair{}, http.NotFoundHandler())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Listen(first.Address().String(), &pair{}, http.NotFoundHandler()); err == nil {
		t.Error("two servers on one port")
	}
}
