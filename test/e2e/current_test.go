//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

// bridgeAddress is where the nodes of the development cluster reach this machine.
const bridgeAddress = "198.18.0.1"

// TestInstallOnTheClusterOfTheKubeconfig installs as on anybody's cluster: the images come from a
// registry that the nodes trust, over TLS.
//
// Behaviour operator 12.
func TestInstallOnTheClusterOfTheKubeconfig(t *testing.T) {
	host, ca := serveImages(t)
	for _, node := range nodes(t) {
		dir := "/etc/containerd/certs.d/" + host
		shared.shell(t, fmt.Sprintf("devcluster exec %s -- sh -c 'mkdir -p %s && cp %s %s/ca.crt'", node.Name, dir, ca, dir))
		t.Cleanup(func() { shared.shell(t, fmt.Sprintf("devcluster exec %s -- rm -r %s", node.Name, dir)) })
	}
	t.Cleanup(func() { shared.shell(t, "make up") })

	out := shared.shell(t, fmt.Sprintf("export SSL_CERT_FILE=%s PLATFORMS=linux/%s\n", ca, runtime.GOARCH)+
		documented(t, "README.md", "CLUSTER=current", "registry.example.com", host))
	t.Log(out)
	pods, err := shared.kube.CoreV1().Pods(systemNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		image := pod.Spec.Containers[0].Image
		if pod.DeletionTimestamp == nil && !strings.HasPrefix(image, host+"/infra/") {
			t.Errorf("Pod %s runs %s", pod.Name, image)
		}
	}
	shared.waitHealthy(t)
}

// serveImages runs a registry that speaks TLS on the nodes' network; it returns its address and a
// file with its certificate and those that the machine trusts anyway.
func serveImages(t *testing.T) (host, caFile string) {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey(bridgeAddress, []net.IP{net.ParseIP(bridgeAddress)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(dir, "ca.crt")
	for file, content := range map[string][]byte{caFile: append(certificate, system...), filepath.Join(dir, "tls.crt"): certificate, filepath.Join(dir, "tls.key"): key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", bridgeAddress+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(listener, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")) }()
	return listener.Addr().String(), caFile
}
