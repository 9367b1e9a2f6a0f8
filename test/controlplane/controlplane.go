// Package controlplane starts a real Kubernetes API for component tests: etcd and kube-apiserver as
// child processes on free loopback ports, with their own certificates, RBAC, service account tokens
// and the aggregation layer switched on. On request kube-controller-manager runs too, so that
// namespaces finish being deleted, garbage is collected and ClusterRoles are aggregated.
//
// In: the binaries kube-apiserver, etcd and kube-controller-manager from _output/devcluster/bin, or
// from the folder that DEVCLUSTER_BIN names. Out: client configurations for an administrator and for
// any other user, the etcd endpoint, and the certificates of the front proxy.
//
// Aggregator routing is off, so an APIService may point at a Service of type ExternalName and reach a
// server inside the test process. There are no nodes: Pods stay Pending. Everything ends with the
// test, and with the test process even if that is killed. Nothing is skipped when a binary is
// missing: the test fails and says how to build it.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// startTimeout bounds how long one process may take until it is ready.
const startTimeout = 90 * time.Second

// ControlPlane is a running Kubernetes API.
type ControlPlane struct {
	// Config is the client configuration of a cluster administrator, without client-side throttling.
	Config *rest.Config
	// Dir holds certificates, logs and data. It disappears with the control plane.
	Dir string
	// EtcdEndpoint is the client URL of etcd, plain HTTP on loopback.
	EtcdEndpoint string
	// FrontProxyCAFile verifies the aggregator's client certificate.
	FrontProxyCAFile string
	// FrontProxyCertFile and FrontProxyKeyFile are the aggregator's client certificate, with the
	// common name FrontProxyName.
	FrontProxyCertFile, FrontProxyKeyFile string

	binDir    string
	opts      options
	clientCA  *authority
	servingCA *authority
	processes []*process
}

// FrontProxyName is the common name under which kube-apiserver calls aggregated servers.
const FrontProxyName = "front-proxy-client"

// Option changes how a control plane is started.
type Option func(*options)

type options struct {
	controllerManager bool
	controllers       []string
	apiServerFlags    []string
}

// defaultControllers are the ones that make the API behave as on a cluster without nodes.
var defaultControllers = []string{
	"namespace-controller", "garbage-collector-controller", "serviceaccount-controller",
	"serviceaccount-token-controller", "clusterrole-aggregation-controller",
	"resourcequota-controller", "root-ca-certificate-publisher-controller",
}

// WithControllerManager also starts kube-controller-manager with the named controllers, or with those
// for namespaces, garbage, service accounts, aggregated roles and quotas when none is named.
func WithControllerManager(controllers ...string) Option {
	return func(o *options) {
		o.controllerManager = true
		o.controllers = defaultControllers
		if len(controllers) > 0 {
			o.controllers = controllers
		}
	}
}

// WithAPIServerFlags appends flags to kube-apiserver's command line.
func WithAPIServerFlags(flags ...string) Option {
	return func(o *options) { o.apiServerFlags = append(o.apiServerFlags, flags...) }
}

// Start runs a control plane until the test ends. It fails the test when the API is not ready in time.
func Start(tb testing.TB, opts ...Option) *ControlPlane {
	tb.Helper()
	cp, err := New(opts...)
	if err != nil {
		tb.Fatalf("starting a control plane: %v", err)
	}
	tb.Cleanup(cp.Stop)
	return cp
}

// New runs a control plane until Stop is called. Tests use Start or Shared instead.
func New(opts ...Option) (*ControlPlane, error) {
	cp := &ControlPlane{}
	for _, opt := range opts {
		opt(&cp.opts)
	}
	var err error
	if cp.binDir, err = findBinaries(cp.opts.controllerManager); err != nil {
		return nil, err
	}
	if cp.Dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
		return nil, err
	}
	if err := cp.start(); err != nil {
		cp.Stop()
		return nil, err
	}
	return cp, nil
}

// Stop ends the processes, newest first, and removes their files.
func (cp *ControlPlane) Stop() {
	for i := len(cp.processes) - 1; i >= 0; i-- {
		cp.processes[i].stop()
	}
	cp.processes = nil
	if err := os.RemoveAll(cp.Dir); err != nil {
		fmt.Fprintf(os.Stderr, "removing the files of a control plane: %v\n", err)
	}
}

func (cp *ControlPlane) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := cp.writePKI(); err != nil {
		return fmt.Errorf("certificates: %w", err)
	}
	if err := cp.startEtcd(ctx); err != nil {
		return err
	}
	if err := cp.startAPIServer(ctx); err != nil {
		return err
	}
	if cp.opts.controllerManager {
		return cp.startControllerManager()
	}
	return nil
}

// findBinaries returns the folder with the programs, or an error that says how to build them.
func findBinaries(controllerManager bool) (string, error) {
	dir := os.Getenv("DEVCLUSTER_BIN")
	if dir == "" {
		root, err := repositoryRoot()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, "_output", "devcluster", "bin")
	}
	names := []string{"etcd", "kube-apiserver"}
	if controllerManager {
		names = append(names, "kube-controller-manager")
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("%s is missing in %s: run `make devcluster-binaries`, or set DEVCLUSTER_BIN to a folder that has it", name, dir)
		}
	}
	return dir, nil
}

// repositoryRoot looks for go.work upwards from the working directory, which for a test is its package.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the test does not run inside the repository: no go.work above its folder")
		}
		dir = parent
	}
}

// The range of ports lies below those from which Linux takes the ports of outgoing connections: nothing gets in
// between the choice of a port and its use, or takes it while its program is started again.
const firstPort, lastPort = 20000, 31999

// givenPorts are those that this process has handed out; control planes start side by side.
var givenPorts sync.Map

// freePort finds a loopback port that nobody listens on.
func freePort() (string, error) {
	var last error
	for range 100 {
		port := strconv.Itoa(firstPort + rand.IntN(lastPort-firstPort+1))
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			last = err
			continue
		}
		return port, listener.Close()
	}
	return "", fmt.Errorf("no free port from %d to %d: %w", firstPort, lastPort, last)
}
