//go:build component

package datapath

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"testing"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/imageapi"
	"image.alauda.io/registry/test/ociconformance"
)

// fewest is how many checks the program makes at least in each profile: a run that ends early is no success.
var fewest = map[string]int{ociconformance.Stable: 650, ociconformance.Development: 750}

// Behaviour 98: over TLS with a certificate of a private authority, and with the token of a ServiceAccount that has
// no more than the roles for users.
func TestConformanceProgram(t *testing.T) {
	e, authority := startTLS(t)
	namespace := e.namespace(t)
	user, err := e.user(t, namespace, "tester", pusher, puller, deleter).Authorization()
	must(t, err)
	for _, profile := range []string{ociconformance.Stable, ociconformance.Development} {
		t.Run(profile, func(t *testing.T) {
			results := ociconformance.Run(t, ociconformance.Target{
				Host: e.host, CA: authority, Username: user.Username, Password: user.Password,
				Repositories: [2]string{namespace + "/one", namespace + "/two"},
			}, profile)
			for _, failure := range results.Failed {
				t.Error(failure)
			}
			if results.Passed < fewest[profile] {
				t.Errorf("%d checks passed, %d skipped, %d failed; want at least %d that pass", results.Passed, results.Skipped, len(results.Failed), fewest[profile])
			}
			t.Logf("%d checks passed, %d skipped, %d failed", results.Passed, results.Skipped, len(results.Failed))
		})
	}
}

// startTLS is start with a certificate. It returns that of the authority, too.
func startTLS(t *testing.T) (*environment, []byte) {
	t.Helper()
	e := &environment{Server: imageapi.Start(t, shared.Get(t), "--config="+apiConfig(t)), storage: t.TempDir()}
	imageapi.Apply(t, e.CP.Config, "image-registry", "rbac.yaml")
	imageapi.Apply(t, e.CP.Config, manifests.Shared, "user-roles.yaml")
	certificate, key, authority := e.CP.ServingCert(t, "127.0.0.1")
	e.host = freeAddress(t)
	config := e.registryConfig(t, nil, fmt.Sprintf(", tls: {certificate: %q, key: %q}", certificate, key), "")
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		t.Fatal("the authority of the test has no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	e.serveAt(t, config, "https://"+e.host, &http.Client{Transport: transport})
	return e, authority
}
