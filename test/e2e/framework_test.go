//go:build e2e

// Package e2e drives the product on the development cluster the way its users do: with kubectl, with
// a registry client, and with Pods that the real kubelet pulls.
//
// The suite expects what `make up` leaves behind: a running cluster, the registry Managed and
// healthy. It finds the cluster through _output/devcluster (or KUBECONFIG, REGISTRY_HOST and
// REGISTRY_CA), makes namespaces of its own, removes them again, and leaves the registry Managed.
// Waiting is always polling with a deadline; nothing asserts how long something takes.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"image.alauda.io/client-go/clientset/versioned"
)

const (
	systemNamespace = "image-registry-system"
	internalHost    = "image-registry.image-registry-system.svc:5000"
	// patience bounds every wait; it is generous because two cores run a whole cluster.
	patience = 4 * time.Minute
)

// suite is what every test needs to reach the cluster.
type suite struct {
	root, kubeconfig, bin string
	registry              string
	transport             http.RoundTripper
	kube                  kubernetes.Interface
	image                 versioned.Interface
}

var shared *suite

func TestMain(m *testing.M) {
	s, err := connect()
	if err != nil {
		fmt.Fprintf(os.Stderr, "end-to-end tests need the development cluster, run `make up`: %v\n", err)
		os.Exit(1)
	}
	shared = s
	os.Exit(m.Run())
}

func environment(key, fallback string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return fallback
}

func connect() (*suite, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	output := filepath.Join(root, "_output", "devcluster")
	s := &suite{
		root:       root,
		bin:        filepath.Join(output, "bin"),
		kubeconfig: environment("KUBECONFIG", filepath.Join(output, "kubeconfig")),
		registry:   environment("REGISTRY_HOST", "127.0.0.1:5000"),
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = -1, 0
	if s.kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if s.image, err = versioned.NewForConfig(config); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(environment("REGISTRY_CA", filepath.Join(output, "registry-ca.crt")))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	s.transport = transport
	return s, nil
}

// env is the environment of a person who has sourced the cluster's env file.
func (s *suite) env() []string {
	return append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "REGISTRY_HOST="+s.registry,
		"REGISTRY_CA="+environment("REGISTRY_CA", filepath.Join(s.root, "_output", "devcluster", "registry-ca.crt")),
		"PATH="+s.bin+":"+filepath.Join(s.root, "_output", "bin")+":"+filepath.Join(s.root, "_output", "bin", runtime.GOOS+"_"+runtime.GOARCH)+":"+os.Getenv("PATH"))
}

// shell runs a documented command literally and returns what it printed.
func (s *suite) shell(t *testing.T, command string) string {
	t.Helper()
	out, err := s.tryShell(t, command)
	if err != nil {
		t.Fatalf("$ %s\n%s\n%v", command, out, err)
	}
	return out
}

func (s *suite) tryShell(t *testing.T, command string) (string, error) {
	t.Helper()
	// not the test's own context: clean-up functions run commands as well
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir, cmd.Env = s.root, s.env()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience) // clean-up functions wait as well
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		if err := check(ctx); err == nil {
			return
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, last)
		case <-tick.C:
		}
	}
}

// namespace makes a namespace that goes away with the test.
func (s *suite) namespace(t *testing.T, prefix string) string {
	t.Helper()
	ns, err := s.kube.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.kube.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), ns.Name, metav1.DeleteOptions{})
		if err != nil && !strings.Contains(err.Error(), "not found") {
			t.Errorf("namespace %s: %v", ns.Name, err)
		}
	})
	return ns.Name
}

// token makes a ServiceAccount and returns a token of it for the API server's audience.
func (s *suite) token(t *testing.T, namespace, account string) string {
	t.Helper()
	s.shell(t, fmt.Sprintf("kubectl -n %s get serviceaccount %s >/dev/null 2>&1 || kubectl -n %s create serviceaccount %s", namespace, account, namespace, account))
	return s.shell(t, fmt.Sprintf("kubectl -n %s create token %s", namespace, account))
}

// grant binds a ClusterRole inside a namespace, as the documentation does.
func (s *suite) grant(t *testing.T, namespace, role, account, accountNamespace string) {
	t.Helper()
	s.shell(t, fmt.Sprintf("kubectl -n %s create rolebinding %s-%s --clusterrole=%s --serviceaccount=%s:%s",
		namespace, account, strings.ReplaceAll(role, ":", "-"), role, accountNamespace, account))
}

// pusher returns the credentials of a ServiceAccount that may push into namespace.
func (s *suite) pusher(t *testing.T, namespace string) remote.Option {
	t.Helper()
	token := s.token(t, namespace, "builder")
	s.grant(t, namespace, "system:image-pusher", "builder", namespace)
	return asToken(token)
}

func asToken(token string) remote.Option {
	return remote.WithAuth(&authn.Basic{Username: "serviceaccount", Password: token})
}

func (s *suite) reference(t *testing.T, repository string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s.registry + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func (s *suite) remoteOptions(t *testing.T, auth remote.Option) []remote.Option {
	return []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(s.transport), auth}
}

// waitHealthy waits for the documented healthy state of Config/cluster.
func (s *suite) waitHealthy(t *testing.T) {
	t.Helper()
	eventually(t, "Config/cluster healthy", func(ctx context.Context) error {
		config, err := s.image.ImageregistryV1().Configs().Get(ctx, "cluster", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if config.Status.ObservedGeneration < config.Generation {
			return fmt.Errorf("generation %d observed, %d wanted", config.Status.ObservedGeneration, config.Generation)
		}
		got := map[string]string{}
		var text []string
		for _, c := range config.Status.Conditions {
			got[c.Type] = string(c.Status)
			text = append(text, fmt.Sprintf("%s=%s/%s %s", c.Type, c.Status, c.Reason, c.Message))
		}
		if got["Available"] == "True" && got["Progressing"] == "False" && got["Degraded"] == "False" {
			return nil
		}
		return fmt.Errorf("conditions: %s", strings.Join(text, "; "))
	})
}
