//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/test/nodeimages"
	"image.alauda.io/registry/test/pulled"
	"image.alauda.io/registry/test/selfsigned"
)

const (
	exposedDomain = "apps.example.test"
	// exposedHost is the default route's, customHost has a certificate of the user.
	exposedHost = "default-route-image-registry-system." + exposedDomain
	customHost  = "registry.example.test"
	customTLS   = "e2e-public-tls"
	// largeImage is a layer as people have them, largeBlob one as they fear them.
	largeImage = 200 << 20
	largeBlob  = 1<<30 + 5<<20
)

// controller is a real ingress controller, Traefik, that trusts the registry by the published CA.
const controller = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: traefik, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAMESPACE}
rules:
- {apiGroups: [""], resources: [services, secrets, nodes], verbs: [get, list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAMESPACE}
subjects: [{kind: ServiceAccount, name: traefik, namespace: NAMESPACE}]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: NAMESPACE}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: v1
kind: Pod
metadata: {name: traefik, namespace: NAMESPACE}
spec:
  serviceAccountName: traefik
  terminationGracePeriodSeconds: 1
  containers:
  - name: traefik
    image: IMAGE
    imagePullPolicy: Never
    args:
    - --entryPoints.websecure.address=:8443
    - --entryPoints.websecure.transport.respondingTimeouts.readTimeout=0
    - --providers.kubernetesingress.ingressClass=NAMESPACE
    - --providers.kubernetesingress.nativeLBByDefault=true
    - --serversTransport.rootCAs=/registry/ca.crt
    - --global.checkNewVersion=false
    - --global.sendAnonymousUsage=false
    - --log.level=INFO
    ports: [{containerPort: 8443}]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
    volumeMounts: [{name: registry, mountPath: /registry}]
  volumes:
  - name: registry
    configMap: {name: registry-ca}
`

// Behaviours operator 54, 55, 56, 58, 59: the registry behind a real ingress controller, on a generated host
// and on one with the user's own certificate. Both sides of the controller verify TLS.
func TestExposedRegistry(t *testing.T) {
	class := shared.namespace(t, "ingress")
	address := startController(t, class)
	exposed := expose(t, class)

	namespace := shared.namespace(t, "exposed")
	token := shared.token(t, namespace, "builder")
	shared.grant(t, namespace, "system:image-pusher", "builder", namespace)

	t.Run("the hosts are known to clients, servers and pull secrets", func(t *testing.T) {
		if public := shared.shell(t, "kubectl -n image-registry-system get configmap image-registry-public -o jsonpath='{.data.externalRegistryHostnames}'"); public != exposedHost+"\n"+customHost {
			t.Errorf("image-registry-public names %q", public)
		}
		eventually(t, "pull secret with the external hosts", func(ctx context.Context) error {
			secret, err := shared.kube.CoreV1().Secrets(namespace).Get(ctx, "builder-registry-pull", metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, host := range []string{exposedHost, customHost, internalHost} {
				if !strings.Contains(string(secret.Data[".dockerconfigjson"]), `"`+host+`"`) {
					return fmt.Errorf("it lacks %s", host)
				}
			}
			return nil
		})
	})
	for host, ca := range exposed {
		t.Run(host, func(t *testing.T) { useExposed(t, through(address, host, ca), host, namespace, token) })
	}
	t.Run("a blob above a gibibyte in one request", func(t *testing.T) {
		pushLargeBlob(t, through(address, exposedHost, exposed[exposedHost]), exposedHost, namespace+"/large", token)
	})
	t.Run("without routes nothing is left", func(t *testing.T) {
		conceal(t)
		for _, object := range []string{"ingress/default-route", "ingress/public", "secret/default-route-ingress-tls"} {
			eventually(t, object+" is gone", func(context.Context) error {
				if out, err := shared.tryShell(t, "kubectl -n image-registry-system get "+object); err == nil || !strings.Contains(out, "NotFound") {
					return fmt.Errorf("%s %v", out, err)
				}
				return nil
			})
		}
		eventually(t, "the controller knows the host no more", func(ctx context.Context) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+exposedHost+"/v2/", nil)
			if err != nil {
				return err
			}
			insecure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: dialOnly(address)}
			defer insecure.CloseIdleConnections()
			response, err := insecure.RoundTrip(request)
			if err != nil {
				return err
			}
			response.Body.Close()
			if response.StatusCode != http.StatusNotFound {
				return fmt.Errorf("status %s", response.Status)
			}
			return nil
		})
		eventually(t, "no pull secret names the host", func(ctx context.Context) error {
			secret, err := shared.kube.CoreV1().Secrets(namespace).Get(ctx, "builder-registry-pull", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if strings.Contains(string(secret.Data[".dockerconfigjson"]), exposedDomain) {
				return errors.New("it names " + exposedHost)
			}
			return nil
		})
	})
}

// startController runs Traefik with an IngressClass of its own and returns its address.
func startController(t *testing.T, class string) string {
	t.Helper()
	binary := filepath.Join(shared.root, "_output", "bin", "traefik")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the ingress controller is not built, run `make _output/bin/traefik`: %v", err)
	}
	image := nodeimages.Load(t, "traefik", binary)
	t.Cleanup(func() {
		shared.shell(t, fmt.Sprintf("kubectl delete ingressclass,clusterrolebinding,clusterrole %s", class))
	})
	manifest := filepath.Join(t.TempDir(), "controller.yaml")
	text := strings.NewReplacer("NAMESPACE", class, "IMAGE", image).Replace(controller)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	shared.shell(t, fmt.Sprintf(`kubectl -n image-registry-system get configmap image-registry-public -o jsonpath='{.data.ca\.crt}' |
		kubectl -n %s create configmap registry-ca --from-file=ca.crt=/dev/stdin
		kubectl apply -f %s`, class, manifest))
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := shared.tryShell(t, fmt.Sprintf("kubectl -n %s logs traefik --tail=40; kubectl -n %s describe pod traefik | tail -20; kubectl -n image-registry-system get ingress -o yaml", class, class))
			t.Logf("the controller:\n%s", out)
		}
	})
	waitReady(t, class, "traefik")
	pod, err := shared.kube.CoreV1().Pods(class).Get(t.Context(), "traefik", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(pod.Status.PodIP, "8443")
}

// expose asks for both routes as the guide does, and returns the CA of each host.
func expose(t *testing.T, class string) map[string][]byte {
	t.Helper()
	certificate, key, err := selfsigned.IssueFor(4711, customHost)
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	for file, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(directory, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		conceal(t)
		shared.shell(t, "kubectl -n image-registry-system delete secret --ignore-not-found "+customTLS)
		shared.waitHealthy(t)
	})
	shared.shell(t, fmt.Sprintf(`kubectl -n image-registry-system create secret tls %s --cert=%s/tls.crt --key=%s/tls.key
		kubectl patch config cluster --type=merge -p '{"spec":{"defaultRoute":true,"ingress":{"className":"%s","domain":"%s"},
			"routes":[{"name":"public","hostname":"%s","secretName":"%s"}]}}'`, customTLS, directory, directory, class, exposedDomain, customHost, customTLS))
	eventually(t, "external host names", func(ctx context.Context) error {
		config, err := shared.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.Equal(config.Status.ExternalRegistryHostnames, []string{exposedHost, customHost}) {
			return fmt.Errorf("status names %q", config.Status.ExternalRegistryHostnames)
		}
		return nil
	})
	shared.waitHealthy(t)
	if host := shared.shell(t, documented(t, "docs/configure.md", "get ingress default-route")); host != exposedHost {
		t.Errorf("Ingress default-route has host %q", host)
	}
	published := shared.shell(t, `kubectl -n image-registry-system get configmap image-registry-public -o jsonpath='{.data.ca\.crt}'`)
	return map[string][]byte{exposedHost: []byte(published), customHost: certificate}
}

// conceal takes both routes back.
func conceal(t *testing.T) {
	t.Helper()
	shared.shell(t, `kubectl patch config cluster --type=merge -p '{"spec":{"defaultRoute":null,"routes":null,"ingress":null}}'`)
}

// oneHost is the way to one host through the controller: names are not looked up, and a request to any other
// host, as a wrong redirect or realm would cause it, fails.
type oneHost struct {
	host string
	next http.RoundTripper
}

func (o oneHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != o.host || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("the registry leads to %s://%s instead of https://%s", r.URL.Scheme, r.URL.Host, o.host)
	}
	return o.next.RoundTrip(r)
}

func dialOnly(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", address)
	}
}

func through(address, host string, ca []byte) oneHost {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return oneHost{host, &http.Transport{
		DialContext: dialOnly(address), ForceAttemptHTTP2: true, ResponseHeaderTimeout: 3 * time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
}

// content is cheap to make, always the same for a seed, and cannot be compressed.
func content(seed string, size int64) io.ReadCloser {
	return io.NopCloser(io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(seed))), size))
}

// useExposed logs in, pushes an image with a large layer and pulls it.
func useExposed(t *testing.T, way oneHost, host, namespace, token string) {
	eventually(t, "the challenge of "+host, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
		if err != nil {
			return err
		}
		response, err := way.RoundTrip(request) // the controller reads certificates and routes in its own time
		if err != nil {
			return err
		}
		defer response.Body.Close()
		challenge := response.Header.Get("WWW-Authenticate")
		if response.StatusCode != http.StatusUnauthorized || !strings.Contains(challenge, `realm="https://`+host+`/`) {
			return fmt.Errorf("%s with challenge %q, want a realm on the same host", response.Status, challenge)
		}
		return nil
	})
	reference, err := name.ParseReference(host + "/" + namespace + "/app:" + strings.ReplaceAll(host, ".", "-"))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return content(host, largeImage), nil }, tarball.WithCompression(compression.None))
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(way), asToken(token)}
	if err := remote.Write(reference, image, options...); err != nil {
		t.Fatalf("push: %v", err)
	}
	got, err := remote.Image(reference, options...)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	if err := pulled.Verify(got); err != nil {
		t.Fatalf("pull: %v", err)
	}
	if want := digestOf(t, image); digestOf(t, got) != want {
		t.Errorf("pulled %s, pushed %s", digestOf(t, got), want)
	}
	eventually(t, "the stream names the host of the default route", func(ctx context.Context) error {
		stream, err := shared.image.ImageV1().ImageStreams(namespace).Get(ctx, "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !strings.HasPrefix(stream.Status.PublicDockerImageRepository, exposedHost+"/") { // the kubelet brings the configuration within a minute and a half
			return fmt.Errorf("status.publicDockerImageRepository is %q", stream.Status.PublicDockerImageRepository)
		}
		return nil
	})
	anonymous, err := remote.Image(reference, remote.WithContext(t.Context()), remote.WithTransport(way), remote.WithAuth(authn.Anonymous))
	var refused *transport.Error
	if err == nil || !errors.As(err, &refused) || refused.StatusCode != http.StatusUnauthorized {
		t.Errorf("without login: %v %v, want 401", anonymous != nil, err)
	}
}

// pushLargeBlob sends all bytes in one PATCH and looks whether they have arrived.
func pushLargeBlob(t *testing.T, way oneHost, host, repository, token string) {
	repo, err := name.NewRepository(host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	authenticated, err := transport.NewWithContext(t.Context(), repo.Registry, &authn.Basic{Username: "serviceaccount", Password: token}, way,
		[]string{repo.Scope(transport.PushScope)})
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	send := func(method, location string, body io.Reader, size int64, want int) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, location, body)
		if err != nil {
			t.Fatal(err)
		}
		if body != nil {
			request.ContentLength = size
			request.Header.Set("Content-Type", "application/octet-stream")
		}
		response, err := authenticated.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		text, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		response.Body.Close()
		if err != nil || response.StatusCode != want {
			t.Fatalf("%s %s: %s %s %v, want %d", method, host, response.Status, text, err, want)
		}
		return response
	}
	started := time.Now()
	location := func(response *http.Response) string {
		t.Helper()
		where, err := response.Location() // as a client resolves it
		if err != nil || where.Host != host || where.Scheme != "https" || !strings.HasPrefix(where.Path, "/v2/"+repository+"/") {
			t.Fatalf("Location %q leads to %v (%v), want the external host", response.Header.Get("Location"), where, err)
		}
		return where.String()
	}
	upload := location(send(http.MethodPost, "https://"+host+"/v2/"+repository+"/blobs/uploads/", nil, 0, http.StatusAccepted))
	sum := sha256.New()
	upload = location(send(http.MethodPatch, upload, io.TeeReader(content("large", largeBlob), sum), largeBlob, http.StatusAccepted))
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	separator := "?"
	if strings.Contains(upload, "?") {
		separator = "&"
	}
	location(send(http.MethodPut, upload+separator+"digest="+digest.String(), nil, 0, http.StatusCreated))
	t.Logf("%d bytes pushed in %s", largeBlob, time.Since(started).Round(time.Second))
	blob := "https://" + host + "/v2/" + repository + "/blobs/" + digest.String()
	if got := send(http.MethodHead, blob, nil, 0, http.StatusOK).ContentLength; got != largeBlob {
		t.Errorf("the blob has %d bytes, want %d", got, largeBlob)
	}
	freeLargeBlob(t, digest)
}

// freeLargeBlob takes the bytes away at once: nothing uses them, and a collection would leave them for an hour.
func freeLargeBlob(t *testing.T, digest v1.Hash) {
	t.Helper()
	volumes := filepath.Join(shared.root, "_output", "devcluster", "volumes")
	if _, err := os.Stat(volumes); err == nil {
		shared.shell(t, fmt.Sprintf("find %s -path '*/blobs/sha256/%s/%s/data' -delete", volumes, digest.Hex[:2], digest.Hex))
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
