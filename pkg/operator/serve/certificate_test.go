package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// pair draws a self-signed certificate with a serial number.
func pair(t *testing.T, serial int64) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// Behaviour 42, the operator's own listener: it serves a new pair without a restart, and the last good one while
// there is no usable one.
func TestListenerTakesUpNewPairs(t *testing.T) {
	var mu sync.Mutex
	var certificate, key []byte
	var failure error
	set := func(c, k []byte, err error) {
		mu.Lock()
		defer mu.Unlock()
		certificate, key, failure = c, k, err
	}
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, address, http.NotFoundHandler(), Reloading(func() (c, k []byte, err error) {
			mu.Lock()
			defer mu.Unlock()
			return certificate, key, failure
		}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	serial := func() (int64, error) {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}}).DialContext(ctx, "tcp", address)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState()
		if state.NegotiatedProtocol != "http/1.1" || state.Version < tls.VersionTLS12 {
			t.Errorf("protocol %q, TLS version %x", state.NegotiatedProtocol, state.Version)
		}
		return state.PeerCertificates[0].SerialNumber.Int64(), nil
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if number, err := serial(); err == nil {
		t.Errorf("without a certificate %d was served", number)
	}
	firstCert, firstKey := pair(t, 1)
	secondCert, secondKey := pair(t, 2)
	for _, step := range []struct {
		name             string
		certificate, key []byte
		err              error
		want             int64
	}{
		{"the first pair", firstCert, firstKey, nil, 1},
		{"a key of another", secondCert, firstKey, nil, 1},
		{"no PEM", []byte("x"), []byte("y"), nil, 1},
		{"the Secret is gone", nil, nil, nil, 1},
		{"it cannot be read", nil, nil, io.ErrUnexpectedEOF, 1},
		{"the second pair", secondCert, secondKey, nil, 2},
	} {
		set(step.certificate, step.key, step.err)
		got, err := serial()
		if err != nil || got != step.want {
			t.Errorf("%s: number %d, error %v, want number %d", step.name, got, err, step.want)
		}
	}
}

func TestWithoutAPairTheCauseIsTold(t *testing.T) {
	cause := errors.New("not issued")
	if _, err := Reloading(func() ([]byte, []byte, error) { return nil, nil, cause })(); !errors.Is(err, cause) {
		t.Errorf("error %v, want it to wrap %v", err, cause)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
