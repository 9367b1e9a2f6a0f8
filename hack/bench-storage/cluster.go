package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
)

// startPatience bounds how long the server may take until it is ready, the layer index included.
const startPatience = 5 * time.Minute

// prepare installs the record kinds and the namespace of the streams.
func prepare(ctx context.Context, cp *controlplane.ControlPlane) error {
	definitions := apiextensionsclient.NewForConfigOrDie(cp.Config).ApiextensionsV1().CustomResourceDefinitions()
	for _, file := range []string{"crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		data, err := manifests.Operand(manifests.ImageAPIServer, file)
		if err != nil {
			return err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, definition); err != nil {
			return err
		}
		if _, err := definitions.Create(ctx, definition, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	kube := kubernetes.NewForConfigOrDie(cp.Config)
	for _, name := range []string{streamNamespace, "image-registry-system"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// server is a running image-api-server, reached as the aggregator reaches it.
type server struct {
	command *exec.Cmd
	url     string
	client  *http.Client
	started time.Duration
}

func startServer(ctx context.Context, cp *controlplane.ControlPlane, storageFlags []string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(cp.Dir, "image-api-server.yaml")
	if err := os.WriteFile(config, []byte("apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\n"), 0o600); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cp.FrontProxyCertFile, cp.FrontProxyKeyFile)
	if err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("https://127.0.0.1:%d", port), client: &http.Client{Transport: &http.Transport{
		// The server makes its certificate itself, on loopback.
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
	}}}
	s.command = exec.CommandContext(ctx, self, slices.Concat([]string{
		serveArgument, "--config=" + config, "--kubeconfig=" + cp.Kubeconfig(), "-v=0", "--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port), "--tls-cert-file=", "--tls-private-key-file=", "--cert-dir=" + cp.Dir,
		"--shutdown-delay-duration=0s", "--controllers=-image-import", "--webhook-port=0",
	}, storageFlags)...)
	s.command.Cancel = func() error { return s.command.Process.Signal(syscall.SIGTERM) }
	log, err := os.Create(filepath.Join(cp.Dir, "image-api-server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command.Stdout, s.command.Stderr = log, log
	begin := time.Now()
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startPatience, true, func(ctx context.Context) (bool, error) {
		_, err := s.get(ctx, "/readyz", io.Discard)
		return err == nil, nil
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		s.stop()
		return nil, fmt.Errorf("the server did not become ready: %w: %s", err, text[max(0, len(text)-2000):])
	}
	s.started = time.Since(begin)
	return s, nil
}

func (s *server) stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	_ = s.command.Wait()                          // ended by a signal is no failure here
}

// request sends a request as an administrator.
func (s *server) request(ctx context.Context, method, path string, body io.Reader, out io.Writer) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-Remote-User", "admin")
	r.Header.Set("X-Remote-Group", "system:masters")
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		return 0, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return io.Copy(out, answer.Body)
}

func (s *server) get(ctx context.Context, path string, out io.Writer) (int64, error) {
	return s.request(ctx, http.MethodGet, path, nil, out)
}

// memory of a process in MiB: now, and the peak since resetPeak.
type memory struct{ now, peak int }

func memoryOf(pid int) (memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			m.now = kilobytes >> 10
		case "VmHWM:":
			m.peak = kilobytes >> 10
		}
	}
	return m, nil
}

func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// child returns the process of a name that this program started.
func child(name string) (int, error) {
	directories, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, directory := range directories {
		data, err := os.ReadFile(directory + "/stat")
		if err != nil {
			continue // it has ended
		}
		open, end := strings.IndexByte(string(data), '('), strings.LastIndexByte(string(data), ')')
		fields := strings.Fields(string(data[end+1:]))
		if strings.HasPrefix(name, string(data[open+1:end])) && fields[1] == strconv.Itoa(os.Getpid()) {
			return strconv.Atoi(filepath.Base(directory))
		}
	}
	return 0, errors.New(name + " does not run")
}
