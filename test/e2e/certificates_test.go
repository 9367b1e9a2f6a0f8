//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
)

const rotation = "imageregistry.operator.alauda.io/rotate-"

// served is one operand that serves with a certificate of the operator.
type served struct{ app, secret, host, port string }

var servers = []served{
	{"image-registry", "image-registry-tls", "image-registry.image-registry-system.svc", "5000"},
	{"image-api-server", "image-api-server-serving-cert", "image-api-server.image-registry-system.svc", "8443"},
}

// Behaviours operator 42 and 43: the CA and all pairs change while the API and the registry are used all the
// time, by one client that reads the published CA every time, one that read it when the next was published, and
// the container runtimes of the nodes.
func TestRotationOfTheCAUnderUse(t *testing.T) {
	const deployment = "kubectl -n image-registry-system patch deployment cluster-image-registry-operator --type=json -p "
	const settled = "kubectl -n image-registry-system rollout status deployment/cluster-image-registry-operator --timeout=180s"
	namespace := shared.namespace(t, "rotation")
	pushSample(t, namespace+"/hello:v1", shared.pusher(t, namespace))
	pullSecretToken(t, namespace, "default")
	shared.waitHealthy(t)
	before := containers(t)

	t.Cleanup(func() {
		shared.shell(t, deployment+`'[{"op":"remove","path":"/spec/template/spec/containers/0/args"}]'`)
		shared.shell(t, "kubectl annotate configs.imageregistry.operator.alauda.io cluster "+rotation+"ca- "+rotation+"serving-")
		shared.shell(t, settled)
		trustPublished(t)
		shared.waitHealthy(t)
	})
	shared.shell(t, deployment+`'[{"op":"add","path":"/spec/template/spec/containers/0/args","value":["--ca-promote-after=2m"]}]'`)
	shared.shell(t, settled)

	first, token := publishedCA(t), shared.token(t, namespace, "builder")
	var both atomic.Pointer[[]byte]
	both.Store(&first)
	things := map[string]func(context.Context) error{
		"kubectl get is": func(context.Context) error {
			out, err := shared.tryShell(t, "kubectl -n "+namespace+" get is hello")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
		"pull with the CA of now":       func(ctx context.Context) error { return pull(ctx, t, namespace, token, publishedCA(t)) },
		"pull with the CA as published": func(ctx context.Context) error { return pull(ctx, t, namespace, token, *both.Load()) },
	}
	for _, node := range nodes(t) {
		things["pull by containerd of "+node.Name] = pullOnNode(t, node.Name, internalHost+"/"+namespace+"/hello:v1", token)
	}
	use := startUse(t, things)

	leaves := map[string][]byte{}
	for _, server := range servers {
		leaves[server.secret] = leafSecret(t, server)
	}
	mark := time.Now().UTC().Format("20060102150405")
	shared.shell(t, "kubectl annotate --overwrite configs.imageregistry.operator.alauda.io cluster "+rotation+"serving="+mark)
	allServe(t, "the pair that was asked for", func(server served, leaf *x509.Certificate) error {
		if leaf.Equal(certificates(t, leaves[server.secret])[0]) {
			return errors.New("it is the pair of before")
		}
		return nil
	})

	shared.shell(t, "kubectl annotate --overwrite configs.imageregistry.operator.alauda.io cluster "+rotation+"ca="+mark)
	eventually(t, "the next CA is published", func(context.Context) error {
		if bytes.Equal(publishedCA(t), first) {
			return errors.New("the bundle has not changed")
		}
		return nil
	})
	published, next := time.Now(), publishedCA(t)
	both.Store(&next)
	eventually(t, "the API's registration follows the bundle", func(context.Context) error { return registeredCA(t, next) })
	t.Logf("the registration followed after %s", time.Since(published).Round(100*time.Millisecond))
	nodesTrust(t, next, published)
	allServe(t, "a pair of the next CA", func(_ served, leaf *x509.Certificate) error {
		if leaf.CheckSignatureFrom(certificates(t, first)[0]) == nil {
			return errors.New("it is still signed by the first CA")
		}
		return nil
	})
	t.Logf("every Pod serves a pair of the next CA %s after its publication", time.Since(published).Round(time.Second))
	for _, node := range nodes(t) {
		runPod(t, namespace, "on-"+node.Name, node.Name, internalHost+"/"+namespace+"/hello:v1")
	}
	for _, node := range nodes(t) {
		waitReady(t, namespace, "on-"+node.Name)
	}
	use.stop()
	if now := containers(t); now != before {
		t.Errorf("Pods were restarted or replaced:\nbefore %s\nafter  %s", before, now)
	}
	shared.waitHealthy(t)
}

// allServe waits until each Pod serves the pair that its Secret has, and that pair is as wanted. Pods are
// annotated, which brings the kubelet to refresh what they mount sooner than in its minute.
func allServe(t *testing.T, what string, wanted func(served, *x509.Certificate) error) {
	t.Helper()
	for _, server := range servers {
		var written []byte
		eventually(t, "Secret "+server.secret+" has "+what, func(context.Context) error {
			written = leafSecret(t, server)
			return wanted(server, certificates(t, written)[0])
		})
		shared.shell(t, fmt.Sprintf("kubectl -n image-registry-system annotate --overwrite pods -l app.kubernetes.io/name=%s test/refresh=%d", server.app, time.Now().UnixNano()))
		for _, pod := range podsOf(t, server.app) {
			eventually(t, "Pod "+pod.Name+" serves "+what, func(ctx context.Context) error {
				leaf, err := leafOf(ctx, net.JoinHostPort(pod.Status.PodIP, server.port), server.host, publishedCA(t))
				if err != nil {
					return err
				}
				if !leaf.Equal(certificates(t, written)[0]) {
					return fmt.Errorf("it serves number %s", leaf.SerialNumber)
				}
				return nil
			})
		}
	}
}

func leafSecret(t *testing.T, server served) []byte {
	t.Helper()
	secret, err := shared.kube.CoreV1().Secrets(systemNamespace).Get(t.Context(), server.secret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data[corev1.TLSCertKey]
}

// leafOf opens a connection as a client of the published CA.
func leafOf(ctx context.Context, address, host string, ca []byte) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: host}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// use does things over and over, and notes what fails.
type use struct {
	stop func()
}

func startUse(t *testing.T, things map[string]func(context.Context) error) use {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var mu sync.Mutex
	for name, do := range things {
		group.Go(func() {
			done, failed, last := 0, 0, error(nil)
			tick := time.NewTicker(700 * time.Millisecond)
			defer tick.Stop()
			for running := true; running; {
				if err := do(ctx); err != nil && ctx.Err() == nil {
					failed, last = failed+1, err
				}
				done++
				select {
				case <-ctx.Done():
					running = false
				case <-tick.C:
				}
			}
			mu.Lock()
			defer mu.Unlock()
			t.Logf("%s: %d times", name, done)
			if failed > 0 || done < 10 {
				t.Errorf("%s: %d of %d failed, the last: %v", name, failed, done, last)
			}
		})
	}
	stop := sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(stop)
	return use{stop}
}

// pull reads a manifest and its config on a connection of its own.
func pull(ctx context.Context, t *testing.T, namespace, token string, ca []byte) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	defer transport.CloseIdleConnections()
	_, err := remote.Get(shared.reference(t, namespace+"/hello:v1"), remote.WithContext(ctx), remote.WithTransport(transport), asToken(token))
	return err
}

// publishedCA is the CA that clients outside of the cluster find.
func publishedCA(t *testing.T) []byte {
	t.Helper()
	public, err := shared.kube.CoreV1().ConfigMaps(systemNamespace).Get(context.WithoutCancel(t.Context()), "image-registry-public", metav1.GetOptions{})
	if err != nil {
		t.Errorf("published CA: %v", err)
		return nil
	}
	return []byte(public.Data["ca.crt"])
}

func registeredCA(t *testing.T, want []byte) error {
	t.Helper()
	got, err := shared.tryShell(t, "kubectl get apiservice v1.image.alauda.io -o jsonpath='{.spec.caBundle}' | base64 -d")
	if err != nil || strings.TrimSpace(got) != strings.TrimSpace(string(want)) {
		return fmt.Errorf("the registration has another CA (%d bytes, want %d): %v", len(got), len(want), err)
	}
	return nil
}

// trustPublished makes the tests that follow trust the CA of now.
func trustPublished(t *testing.T) {
	t.Helper()
	file := environment("REGISTRY_CA", shared.root+"/_output/devcluster/registry-ca.crt")
	if err := os.WriteFile(file, publishedCA(t), 0o644); err != nil {
		t.Error(err)
	}
	again, err := connect()
	if err != nil {
		t.Error(err)
		return
	}
	shared.transport = again.transport
}

func certificates(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	found, err := certutil.ParseCertsPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func podsOf(t *testing.T, app string) []corev1.Pod {
	t.Helper()
	list, err := shared.kube.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("no Pods of %s: %v", app, err)
	}
	return list.Items
}

// containers is the identity and the number of restarts of every Pod that serves.
func containers(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, server := range servers {
		for _, pod := range podsOf(t, server.app) {
			restarts := int32(0)
			for _, status := range pod.Status.ContainerStatuses {
				restarts += status.RestartCount
			}
			lines = append(lines, fmt.Sprintf("%s %s %d", pod.Name, pod.UID, restarts))
		}
	}
	return strings.Join(lines, "; ")
}
