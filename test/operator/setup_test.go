//go:build component

// Package operator tests the operator as one process against a real kube-apiserver, with the rights of its own
// ServiceAccount and nothing more.
//
// In: the manifests as they are shipped. There are no nodes and no controllers for workloads, so a test plays
// their part where it matters: it reports endpoints ready or Deployments available. Out: nothing but test
// results.
package operator

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/leader"
	"image.alauda.io/registry/pkg/operator/app"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/test/controlplane"
)

const (
	ns      = registryv1.DefaultNamespace
	patient = 60 * time.Second
)

// cluster is a control plane with a running operator.
type cluster struct {
	t        *testing.T
	plane    *controlplane.ControlPlane
	kube     kubernetes.Interface
	dynamic  dynamic.Interface
	registry versioned.Interface
	// writes and refusals are those of the operator that start has started.
	writes   *writes
	refusals *refusals
	// account is the configuration of the operator's own ServiceAccount.
	account *rest.Config
}

// writes records the requests of the operator that change something.
type writes struct {
	mu   sync.Mutex
	seen []string
	// leases counts the requests about the lease, and last is the time of the last write that is none.
	leases int
	last   time.Time
}

func (w *writes) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		w.record(r)
		return next.RoundTrip(r)
	})
}

func (w *writes) record(r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case strings.Contains(r.URL.Path, "/leases"):
		w.leases++
	case r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/events"):
		w.seen, w.last = append(w.seen, r.Method+" "+r.URL.Path), time.Now()
	}
}

func (w *writes) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.seen...)
}

// refusals answers some writes of the operator as an API server does that forbids them.
type refusals struct {
	mu     sync.Mutex
	suffix []string
}

// set refuses writes to paths with one of the endings from now on.
func (f *refusals) set(suffix ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.suffix = suffix
}

func (f *refusals) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		f.mu.Lock()
		refused := slices.ContainsFunc(f.suffix, func(suffix string) bool { return strings.HasSuffix(r.URL.Path, suffix) })
		f.mu.Unlock()
		if !refused || r.Method == http.MethodGet {
			return next.RoundTrip(r)
		}
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"refused by the test"}`
		return &http.Response{
			StatusCode: http.StatusForbidden, Request: r, Proto: r.Proto, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// start installs the operator's manifests and runs it until the test ends.
func start(t *testing.T) *cluster {
	t.Helper()
	c := install(t)
	c.operator(app.DefaultOptions().Lease, "", c.writes)
	return c
}

// install starts a control plane and installs the operator's manifests.
func install(t *testing.T) *cluster {
	t.Helper()
	return installWith(t)
}

// installWith also runs more of the cluster's own controllers.
func installWith(t *testing.T, controllers ...string) *cluster {
	t.Helper()
	controllers = append([]string{"garbage-collector-controller", "serviceaccount-controller"}, controllers...)
	plane := controlplane.Start(t, controlplane.WithControllerManager(controllers...))
	c := &cluster{t: t, plane: plane, writes: &writes{}, refusals: &refusals{}}
	var err error
	if c.kube, err = kubernetes.NewForConfig(plane.Config); err != nil {
		t.Fatal(err)
	}
	if c.dynamic, err = dynamic.NewForConfig(plane.Config); err != nil {
		t.Fatal(err)
	}
	if c.registry, err = versioned.NewForConfig(plane.Config); err != nil {
		t.Fatal(err)
	}
	c.create()
	c.account = plane.RestConfigFor("system:serviceaccount:"+ns+":"+registryv1.OperatorName, "system:serviceaccounts", "system:serviceaccounts:"+ns, "system:authenticated")
	return c
}

// create creates what the manifests of the operator hold.
func (c *cluster) create() {
	c.t.Helper()
	var documents [][]byte
	crds, err := filepath.Glob("../../manifests/crd/imageregistry*.yaml")
	if err != nil || len(crds) != 2 {
		c.t.Fatalf("the two CRDs were not found: %v %v", crds, err)
	}
	for _, file := range crds {
		documents = append(documents, c.read(os.ReadFile(file))...)
	}
	for _, file := range []string{"namespace", "serviceaccount", "rbac", "grants", "service"} {
		documents = append(documents, c.read(fs.ReadFile(manifests.Files, "operator/"+file+".yaml"))...)
	}
	for _, document := range documents {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			c.t.Fatal(err)
		}
		if object.Object == nil {
			continue
		}
		plural, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		if _, err := c.dynamic.Resource(plural).Namespace(object.GetNamespace()).Create(c.t.Context(), object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil && !apierrors.IsAlreadyExists(err) {
			c.t.Fatalf("create %s: %v", apply.Describe(object), err)
		}
	}
}

func (c *cluster) read(data []byte, err error) [][]byte {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var out [][]byte
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			c.t.Fatal(err)
		}
		out = append(out, document)
	}
}

// operator runs the operator until the test ends, or until the returned function is called. With an identity
// it takes part in the election of a leader.
func (c *cluster) operator(lease leader.Times, identity string, writes *writes) (stop func()) {
	c.t.Helper()
	options := c.options()
	options.LeaderElect, options.Identity, options.Lease = identity != "", identity, lease
	ctx, cancel := context.WithCancel(context.Background())
	done := c.run(ctx, options, writes.wrap, c.refusals.wrap)
	t := c.t
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// options are those of an operator that shares the machine with others, without election of a leader.
func (c *cluster) options() app.Options {
	c.t.Helper()
	options := app.DefaultOptions()
	options.MetricsAddress, options.HealthAddress = "127.0.0.1:0", "127.0.0.1:0"
	options.LeaderElect = false
	options.Settings = render.Settings{
		Namespace: ns, ClusterDomain: "cluster.local", Version: "v1.2.3",
		Images: render.Images{Registry: "r:1", APIServer: "a:1", NodeCA: "n:1", Pruner: "p:1"},
	}
	monitoring, err := render.ParseMonitoring("cpaas-system/prometheus-sa")
	if err != nil {
		c.t.Fatal(err)
	}
	options.Settings.Monitoring = monitoring
	return options
}

// run runs an operator until ctx ends, with the rights of its ServiceAccount, and says how it ended.
func (c *cluster) run(ctx context.Context, options app.Options, wraps ...func(http.RoundTripper) http.RoundTripper) <-chan error {
	config := rest.CopyConfig(c.account)
	for _, wrap := range wraps {
		config.Wrap(wrap)
	}
	done := make(chan error, 1)
	go func() { done <- app.RunWith(ctx, options, config, func(int) {}) }()
	return done
}

// eventually polls until the condition holds; it says what it last saw when it never does.
func (c *cluster) eventually(what string, holds func() (bool, string)) {
	c.t.Helper()
	deadline := time.Now().Add(patient)
	for {
		ok, saw := holds()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s; last seen: %s", what, patient, saw)
		}
		select {
		case <-c.t.Context().Done():
			c.t.Fatalf("%s: the test ended; last seen: %s", what, saw)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (c *cluster) config() *registryv1.Config {
	config, err := c.registry.ImageregistryV1().Configs().Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		return &registryv1.Config{}
	}
	return config
}

// edit changes the spec of Config as a user would.
func (c *cluster) edit(change func(*registryv1.Config)) {
	c.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		config, err := c.registry.ImageregistryV1().Configs().Get(c.t.Context(), registryv1.SingletonName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(config)
		_, err = c.registry.ImageregistryV1().Configs().Update(c.t.Context(), config, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		c.t.Fatalf("edit Config: %v", err)
	}
}

// get reads one object; nil when it does not exist.
func (c *cluster) get(ref apply.Ref) *unstructured.Unstructured {
	c.t.Helper()
	kind, err := apply.KindNamed(ref.Kind)
	if err != nil {
		c.t.Fatal(err)
	}
	object, err := c.dynamic.Resource(kind.GVR()).Namespace(ref.Namespace).Get(c.t.Context(), ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		c.t.Fatalf("read %s: %v", ref, err)
	}
	return object
}

func (c *cluster) exists(ref apply.Ref) {
	c.t.Helper()
	c.eventually(ref.String()+" exists", func() (bool, string) { return c.get(ref) != nil, summary(c.config()) })
}

// waitFor waits for a condition of Config with a status and a reason.
func (c *cluster) waitFor(kind string, status registryv1.ConditionStatus, reason string) {
	c.t.Helper()
	c.eventually(kind+"="+string(status)+"/"+reason, func() (bool, string) {
		config := c.config()
		for _, condition := range config.Status.Conditions {
			if condition.Type == kind && condition.Status == status && condition.Reason == reason {
				return true, ""
			}
		}
		return false, summary(config)
	})
}

func summary(config *registryv1.Config) string {
	var lines []string
	for _, condition := range config.Status.Conditions {
		lines = append(lines, condition.Type+"="+string(condition.Status)+"/"+condition.Reason+": "+condition.Message)
	}
	return strings.Join(lines, "\n")
}
