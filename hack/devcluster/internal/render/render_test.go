package render

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	layout = plan.NewLayout("/src/registry")
	node   = plan.Node{Index: 2}
)

func TestConfigurationFiles(t *testing.T) {
	for name, render := range map[string]func() ([]byte, error){
		"containerd.toml":   func() ([]byte, error) { return Containerd(layout, node) },
		"kubelet.yaml":      func() ([]byte, error) { return Kubelet(layout, node) },
		"kube-proxy.yaml":   func() ([]byte, error) { return Proxy(layout, node) },
		"cni.conflist":      func() ([]byte, error) { return Network(layout, node, "198.18.65.0/24") },
		"hosts":             func() ([]byte, error) { return Hosts(layout, node) },
		"Corefile":          func() ([]byte, error) { return Corefile(layout) },
		"manifests.yaml":    func() ([]byte, error) { return Manifests(layout) },
		"audit-policy.yaml": func() ([]byte, error) { return AuditPolicy(layout) },
		"env":               func() ([]byte, error) { return Env(layout, "127.0.0.1:5000") },
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, string(got))
		})
	}
}

func TestCommandLines(t *testing.T) {
	for name, args := range map[string][]string{
		"etcd":                    Etcd(layout),
		"kube-apiserver":          APIServer(layout),
		"kube-controller-manager": ControllerManager(layout),
		"kube-scheduler":          Scheduler(layout),
		"coredns":                 CoreDNS(layout),
		"containerd":              ContainerdCommand(layout, node),
		"kubelet":                 KubeletCommand(layout, node),
		"kube-proxy":              ProxyCommand(layout, node),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".args", strings.Join(args, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
