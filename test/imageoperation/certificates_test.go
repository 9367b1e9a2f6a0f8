//go:build component

package imageoperation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// servingNames are those in the serving certificate.
var servingNames = []string{"image-api-server." + imageapi.SystemNamespace + ".svc", "localhost", "127.0.0.1"}

// Behaviour 64, the serving certificate: its pair and then its authority change in the order in which the
// operator changes them, under requests that are never tried again.
func TestServingAuthorityRotatesWithoutFailedRequest(t *testing.T) {
	s := imageapi.Prepare(t, shared.Get(t))
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	firstCert, firstKey, firstCA := s.CP.ServingCert(t, servingNames...)
	replace(t, map[string][]byte{certFile: read(t, firstCert), keyFile: read(t, firstKey)})
	replica := s.Replica(t, "--tls-cert-file="+certFile, "--tls-private-key-file="+keyFile)
	balancer := newBalancer(t)
	balancer.mu.Lock()
	balancer.ready = []*imageapi.Replica{replica} // its own probe would stop trusting the certificate
	balancer.mu.Unlock()
	s.Register(t, balancer.port())
	namespace := newNamespace(t, s)
	load := startLoad(t, s, namespace)

	second := controlplane.NewAuthority(t, "serving-ca-2")
	trustServing(t, s, append(append([]byte{}, firstCA...), second.PEM...), balancer, load)
	cert, key := second.Serving(t, servingNames...)
	replace(t, map[string][]byte{certFile: cert, keyFile: key})
	imageapi.Eventually(t, "the pair of the new authority is served", func(ctx context.Context) error {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(second.PEM)
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
		conn, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", replica.Port))
		if err != nil {
			return err
		}
		return conn.Close()
	})
	trustServing(t, s, second.PEM, balancer, load)
	progress := load.more(20)
	imageapi.Eventually(t, "the load goes on", func(context.Context) error { return progress() })
	load.stop()
}

// trustServing changes the bundle of the APIService, and waits until kube-apiserver has made a new connection
// with it and requests go on.
func trustServing(t *testing.T, s *imageapi.Server, bundle []byte, b *balancer, load *load) {
	t.Helper()
	connections, progress := b.accepted.Load(), load.more(20)
	apis := aggregatorclient.NewForConfigOrDie(s.CP.Config).ApiregistrationV1().APIServices()
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		api, err := apis.Get(t.Context(), apiServiceName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		api.Spec.CABundle = bundle
		_, err = apis.Update(t.Context(), api, metav1.UpdateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	imageapi.Eventually(t, "kube-apiserver trusts the new bundle", func(context.Context) error {
		if b.accepted.Load() == connections {
			return errors.New("no connection since the bundle changed")
		}
		return progress()
	})
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// proxied sends a request as kube-apiserver does for an administrator, with a client certificate of its own,
// on a new connection.
func proxied(ctx context.Context, replica *imageapi.Replica, cert, key []byte) (int, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return 0, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(replica.Config.CAData)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, replica.Config.Host+group+"/images?limit=1", http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("X-Remote-User", "admin")
	request.Header.Set("X-Remote-Group", "system:masters")
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// Behaviour 64, the other side: the authority of the certificate by which kube-apiserver vouches for users is
// replaced. The server follows ConfigMap extension-apiserver-authentication, no request fails, and the old
// certificate is worth nothing in the end.
func TestFrontProxyAuthorityRotatesWithoutFailedRequest(t *testing.T) {
	cp := controlplane.Start(t, controlplane.WithAPIServerFlags("-v=2"))
	s := imageapi.Prepare(t, cp)
	replica := s.Replica(t)
	s.Register(t, replica.Port)
	namespace := newNamespace(t, s)
	load := startLoad(t, s, namespace)

	oldCA, oldCert, oldKey := read(t, cp.FrontProxyCAFile), read(t, cp.FrontProxyCertFile), read(t, cp.FrontProxyKeyFile)
	next := controlplane.NewAuthority(t, "front-proxy-ca-2")
	cert, key := next.Client(t, controlplane.FrontProxyName)
	answers := func(cert, key []byte, want int) func(context.Context) error {
		return func(ctx context.Context) error {
			code, err := proxied(ctx, replica, cert, key)
			if err == nil && code != want {
				err = fmt.Errorf("status %d, want %d", code, want)
			}
			return err
		}
	}
	if err := answers(oldCert, oldKey, http.StatusOK)(t.Context()); err != nil {
		t.Fatalf("the first certificate: %v", err)
	}
	// Whoever nobody vouches for is anonymous, and has no rights.
	if err := answers(cert, key, http.StatusForbidden)(t.Context()); err != nil {
		t.Fatalf("a certificate of an unknown authority: %v", err)
	}

	replace(t, map[string][]byte{cp.FrontProxyCAFile: append(append([]byte{}, oldCA...), next.PEM...)})
	imageapi.Eventually(t, "the server accepts the new certificate", answers(cert, key, http.StatusOK))

	const loaded = `"Loaded a new cert/key pair" name="aggregator-proxy-cert`
	before := strings.Count(cp.Log(t, "kube-apiserver"), loaded)
	replace(t, map[string][]byte{cp.FrontProxyCertFile: cert, cp.FrontProxyKeyFile: key})
	imageapi.Eventually(t, "kube-apiserver uses the new certificate", func(context.Context) error {
		if strings.Count(cp.Log(t, "kube-apiserver"), loaded) == before {
			return errors.New("it has loaded no new pair")
		}
		return nil
	})
	progress := load.more(50)
	imageapi.Eventually(t, "the load goes on", func(context.Context) error { return progress() })

	replace(t, map[string][]byte{cp.FrontProxyCAFile: next.PEM})
	imageapi.Eventually(t, "the old authority is gone from the ConfigMap", func(ctx context.Context) error {
		// Kube-apiserver only ever adds to it; an administrator takes the old one out.
		maps := s.Kube.CoreV1().ConfigMaps(metav1.NamespaceSystem)
		current, err := maps.Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !strings.Contains(current.Data["requestheader-client-ca-file"], strings.TrimSpace(string(oldCA))) {
			return nil
		}
		current.Data["requestheader-client-ca-file"] = string(next.PEM)
		if _, err := maps.Update(ctx, current, metav1.UpdateOptions{}); err != nil {
			return err
		}
		return errors.New("it was taken out, kube-apiserver may not have seen its new file yet")
	})
	imageapi.Eventually(t, "the old certificate is refused", answers(oldCert, oldKey, http.StatusForbidden))
	if err := answers(cert, key, http.StatusOK)(t.Context()); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
	progress = load.more(50)
	imageapi.Eventually(t, "the load goes on without the old authority", func(context.Context) error { return progress() })
	load.stop()
}
