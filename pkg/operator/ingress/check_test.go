package ingress

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// pair is a certificate for the names, valid for an hour around now, and its key.
func pair(t *testing.T, names ...string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry.example.com"}, DNSNames: names,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// Behaviour 55: every fault of a Secret is named with route, Secret and what to do, and no message holds a key.
func TestEveryFaultOfATLSSecretIsNamed(t *testing.T) {
	good, key := pair(t, "registry.example.com")
	_, otherKey := pair(t, "registry.example.com")
	other, otherHostKey := pair(t, "elsewhere.example.com")
	wild, wildKey := pair(t, "*.example.com")
	nameless, namelessKey := pair(t)
	secret := func(crt, key []byte) *corev1.Secret {
		return &corev1.Secret{Data: map[string][]byte{"tls.crt": crt, "tls.key": key}}
	}
	own := secret(other, otherHostKey)
	own.Annotations = map[string]string{registryv1.OwnedAnnotation: "true"}
	bought := Route{Name: "public", Field: "spec.routes[name=public]", Host: "registry.example.com", SecretName: "bought"}
	issued := Route{Name: "public", Field: "spec.routes[name=public]", Host: "registry.example.com", SecretName: "public-ingress-tls"}
	for name, test := range map[string]struct {
		route  Route
		secret *corev1.Secret
		at     time.Time
		want   string
	}{
		"good":                              {bought, secret(good, key), now, ""},
		"wildcard certificate":              {bought, secret(wild, wildKey), now, ""},
		"missing":                           {bought, nil, now, "does not exist in namespace ns; create it with the keys tls.crt and tls.key (spec.routes[name=public].secretName)"},
		"empty":                             {bought, &corev1.Secret{}, now, "lacks the key tls.crt"},
		"no certificate":                    {bought, secret(nil, key), now, "lacks the key tls.crt"},
		"no key":                            {bought, secret(good, nil), now, "lacks the key tls.key"},
		"not PEM":                           {bought, secret([]byte("garbage"), key), now, "no certificate with a matching private key"},
		"both exchanged":                    {bought, secret(key, good), now, "no certificate with a matching private key"},
		"key of another":                    {bought, secret(good, otherKey), now, "no certificate with a matching private key"},
		"other host":                        {bought, secret(other, otherHostKey), now, "not valid for host registry.example.com"},
		"common name alone":                 {bought, secret(nameless, namelessKey), now, "not valid for host registry.example.com"},
		"expired":                           {bought, secret(good, key), now.Add(2 * time.Hour), "expired at 2030-01-02T04:04:05Z"},
		"too early":                         {bought, secret(good, key), now.Add(-2 * time.Hour), "not valid before 2030-01-02T02:04:05Z"},
		"the operator's own":                {issued, own, now, ""},
		"the operator's own, named by user": {bought, own, now, "not valid for host"},
		"supplied under the issued name":    {issued, secret(other, otherHostKey), now, "not valid for host"},
	} {
		got := CheckSecret(test.route, "ns", test.secret, test.at)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		if got != "" && (!strings.HasPrefix(got, "route public: Secret "+test.route.SecretName) || strings.Contains(got, "PRIVATE") ||
			bytes.Contains([]byte(got), key[30:50])) {
			t.Errorf("%s: message %q", name, got)
		}
	}
	if !Pending(issued, nil) || Pending(bought, nil) || Pending(issued, own) {
		t.Error("a certificate is on its way exactly when the operator issues it and it is missing")
	}
}

func TestAMissingClassIsNamed(t *testing.T) {
	exists := func(class string) bool { return class == "there" }
	for class, want := range map[string]string{"": "", "there": "", "gone": "IngressClass gone does not exist"} {
		if got := CheckClass(Route{Name: "a", Class: class}, exists); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("class %q: %q, want %q", class, got, want)
		}
	}
}
