package hostcerts

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func certificate(t testing.TB, name string, notAfter time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Behaviour 3.
func TestNormaliseRewritesToCertificatesOnly(t *testing.T) {
	a, b := certificate(t, "a", now.Add(time.Hour)), certificate(t, "b", now.Add(2*time.Hour))
	expired := certificate(t, "old", now.Add(-time.Hour))
	future := certificate(t, "future", now.Add(72*time.Hour))
	unparsable := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no certificate")})
	request := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")})

	for name, test := range map[string]struct{ in, want []byte }{
		"one":                        {a, a},
		"order is kept":              {join(b, a), join(b, a)},
		"duplicates are dropped":     {join(a, b, a), join(a, b)},
		"CRLF":                       {bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n")), a},
		"no final newline":           {bytes.TrimRight(a, "\n"), a},
		"text between blocks":        {join([]byte("# our CA\n"), a, []byte("\nsubject=b\n"), b, []byte("end")), join(a, b)},
		"other blocks are dropped":   {join(request, a), a},
		"unparsable among valid":     {join(unparsable, a), a},
		"expired among valid":        {join(expired, a), a},
		"not yet valid certificates": {future, future},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Normalise(test.in, now)
			if err != nil {
				t.Fatalf("got error %v", err)
			}
			if !bytes.Equal(got.PEM, test.want) {
				t.Errorf("got\n%s\nwant\n%s", got.PEM, test.want)
			}
			if got.Expired {
				t.Error("reported as expired")
			}
			again, err := Normalise(got.PEM, now)
			if err != nil || !bytes.Equal(again.PEM, got.PEM) {
				t.Errorf("normalising twice is not the same: %v", err)
			}
		})
	}
}

// Behaviour 3.
func TestNormaliseKeepsExpiredCertificatesWhenNothingElseIsLeft(t *testing.T) {
	old, older := certificate(t, "old", now.Add(-time.Hour)), certificate(t, "older", now.Add(-2*time.Hour))
	got, err := Normalise(join(old, older), now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Expired || !bytes.Equal(got.PEM, join(old, older)) || !got.NotAfter.Equal(now.Add(-2*time.Hour)) {
		t.Errorf("got expired=%v notAfter=%v and %d certificates", got.Expired, got.NotAfter, len(got.Certificates))
	}
}

// Behaviour 3.
func TestNormaliseRefusesWhatMustNotBecomeATrustBundle(t *testing.T) {
	a := certificate(t, "a", now.Add(time.Hour))
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("secret-bytes")})
	for name, in := range map[string][]byte{
		"empty":               nil,
		"garbage":             []byte("garbage"),
		"private key":         join(a, key),
		"damaged private key": join(a, []byte("-----BEGIN PRIVATE KEY-----\nabc")),
		"only unparsable":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		"more than 256 KiB":   join(a, bytes.Repeat([]byte("#"), MaxBundleBytes)),
		"more than 200":       bytes.Repeat(a, MaxBundleCertificates+1)[:min(MaxBundleBytes, len(a)*(MaxBundleCertificates+1))],
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Normalise(in, now)
			if !errors.Is(err, ErrInvalidPEM) {
				t.Fatalf("got %v, want ErrInvalidPEM", err)
			}
			if strings.Contains(err.Error(), "secret-bytes") || strings.Contains(err.Error(), "BEGIN") {
				t.Errorf("the error repeats the value: %v", err)
			}
		})
	}
}

func TestSameCertificatesIgnoresOrderAndText(t *testing.T) {
	a, b := certificate(t, "a", now), certificate(t, "b", now)
	for name, test := range map[string]struct {
		left, right []byte
		want        bool
	}{
		"same":       {a, a, true},
		"order":      {join(a, b), join([]byte("text\n"), b, a), true},
		"subset":     {join(a, b), a, false},
		"different":  {a, b, false},
		"both empty": {nil, nil, false},
	} {
		if got := SameCertificates(test.left, test.right); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// Behaviour 4.
func FuzzNormalise(f *testing.F) {
	a := certificate(f, "a", now.Add(time.Hour))
	f.Add(a)
	f.Add(append(append([]byte("x\n"), a...), a[:40]...))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Normalise(data, now)
		if err != nil {
			return
		}
		if len(got.Certificates) == 0 || !bytes.HasSuffix(got.PEM, []byte("-----END CERTIFICATE-----\n")) {
			t.Fatalf("accepted without a certificate: %q", got.PEM)
		}
		again, err := Normalise(got.PEM, now)
		if err != nil || !bytes.Equal(again.PEM, got.PEM) {
			t.Fatalf("normalising twice is not the same: %v", err)
		}
	})
}
