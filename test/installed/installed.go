// Package installed drives an installation of the product on the development cluster for tests that replace
// it: by another version, or by one that a lifecycle manager installs.
//
// In go KUBECONFIG, REGISTRY_HOST and REGISTRY_CA, or what `make up` left below _output/devcluster. Out come
// commands run as the documentation has them, waiting for the healthy state, images of other names on the
// nodes, and a load of pushes and pulls with a count of what failed.
// The package decides nothing about results; it never removes anything but what it made.
package installed

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Namespace is that of the product.
const Namespace = "image-registry-system"

const (
	// Patience bounds every wait; two cores run a whole cluster.
	Patience = 5 * time.Minute
	interval = 500 * time.Millisecond
	config   = "configs.imageregistry.operator.alauda.io cluster"
)

// Cluster is the development cluster with the product on it.
type Cluster struct {
	// Root is the checkout.
	Root     string
	output   string
	registry string
	caFile   string
}

// Connect finds the cluster from the folder of a test, two levels below the root of the checkout.
func Connect(t *testing.T) *Cluster {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(root, "_output", "devcluster")
	c := &Cluster{Root: root, output: output, registry: environment("REGISTRY_HOST", "127.0.0.1:5000"),
		caFile: environment("REGISTRY_CA", filepath.Join(output, "registry-ca.crt"))}
	if out, err := c.TryShell("kubectl get nodes -o name"); err != nil {
		t.Fatalf("the development cluster does not answer, run make up: %v\n%s", err, out)
	}
	return c
}

func environment(key, fallback string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return fallback
}

// Shell runs a command line and returns what it printed; a failure ends the test.
func (c *Cluster) Shell(t *testing.T, command string) string {
	t.Helper()
	out, err := c.TryShell(command)
	if err != nil {
		t.Fatalf("$ %s\n%s\n%v", command, out, err)
	}
	return out
}

// TryShell is Shell for commands that may fail.
func (c *Cluster) TryShell(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	bin := filepath.Join(c.Root, "_output", "bin")
	cmd.Dir = c.Root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+environment("KUBECONFIG", filepath.Join(c.output, "kubeconfig")),
		"PATH="+filepath.Join(c.output, "bin")+":"+bin+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// Apply gives objects to kubectl apply.
func (c *Cluster) Apply(t *testing.T, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Shell(t, "kubectl apply -f "+file)
}

// Eventually repeats check until it returns nil.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

// Patch merges into Config/cluster.
func (c *Cluster) Patch(t *testing.T, patch string) {
	t.Helper()
	c.Shell(t, fmt.Sprintf("kubectl patch %s --type=merge -p '%s'", config, patch))
}

// Conditions returns the status of each condition of the present generation of Config/cluster.
func (c *Cluster) Conditions() (map[string]string, error) {
	out, err := c.TryShell("kubectl get " + config + " -o json")
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var object struct {
		Metadata struct{ Generation int64 }
		Status   struct {
			ObservedGeneration int64
			Conditions         []struct{ Type, Status, Reason, Message string }
		}
	}
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		return nil, err
	}
	if object.Status.ObservedGeneration < object.Metadata.Generation {
		return nil, fmt.Errorf("generation %d is not observed yet", object.Metadata.Generation)
	}
	conditions := map[string]string{}
	for _, condition := range object.Status.Conditions {
		conditions[condition.Type] = condition.Status
		conditions[condition.Type+" "] = condition.Reason + " " + condition.Message
	}
	return conditions, nil
}

// Expect waits until conditions have the given values.
func (c *Cluster) Expect(t *testing.T, want map[string]string) {
	t.Helper()
	Eventually(t, "Config/cluster", func() error {
		got, err := c.Conditions()
		if err != nil {
			return err
		}
		for name, value := range want {
			if got[name] != value {
				return fmt.Errorf("%s is %q, want %q: %s", name, got[name], value, got[name+" "])
			}
		}
		return nil
	})
}

// Healthy waits for the documented healthy state.
func (c *Cluster) Healthy(t *testing.T) {
	t.Helper()
	c.Expect(t, map[string]string{"Available": "True", "Progressing": "False", "Degraded": "False"})
}

// Runs waits until workloads of the product (deployment/x, daemonset/y) have an image and are rolled out.
func (c *Cluster) Runs(t *testing.T, images map[string]string) {
	t.Helper()
	for workload, image := range images {
		Eventually(t, workload, func() error {
			got, err := c.TryShell("kubectl -n " + Namespace + " get " + workload + " -o jsonpath='{.spec.template.spec.containers[0].image}'")
			if err != nil || got != image {
				return fmt.Errorf("image %s, want %s (%v)", got, image, err)
			}
			return nil
		})
		c.Shell(t, "kubectl -n "+Namespace+" rollout status "+workload+" --timeout=300s")
	}
}

// trust is a transport that trusts the CA that the registry publishes now. A transport of its own for each
// pull makes each pull begin with a new connection, as a node does.
func (c *Cluster) trust() (*http.Transport, error) {
	out, err := c.TryShell(`kubectl -n ` + Namespace + ` get configmap image-registry-public -o jsonpath='{.data.ca\.crt}'`)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(out)) {
		return nil, fmt.Errorf("the published CA has no certificate")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}

// TrustPublished writes the CA where clients on this machine look for it.
func (c *Cluster) TrustPublished(t *testing.T) {
	t.Helper()
	ca := c.Shell(t, `kubectl -n `+Namespace+` get configmap image-registry-public -o jsonpath='{.data.ca\.crt}'`)
	if err := os.WriteFile(c.caFile, []byte(ca+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Platform is what images are built for here.
func Platform() string { return "linux/" + runtime.GOARCH }
