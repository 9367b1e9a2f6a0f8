//go:build component

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/test/controlplane"
)

const (
	systemNamespace = "image-registry-system"
	serverIdentity  = "system:serviceaccount:" + systemNamespace + ":image-api-server"
	internalHost    = "image-registry.image-registry-system.svc:5000"
	patience        = 60 * time.Second
)

var shared = controlplane.NewShared(controlplane.WithControllerManager())

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// environment is a running image API.
type environment struct {
	cp      *controlplane.ControlPlane
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	// images speaks to the image API through kube-apiserver, as an administrator.
	images imageclient.Interface
	// replicas are configurations that reach one replica each, as an administrator.
	replicas []*rest.Config
	// configFile is the configuration of both replicas.
	configFile string
}

// start runs two replicas with the flags given and registers the first.
func start(t *testing.T, flags ...string) *environment {
	t.Helper()
	e := prepare(t)
	first := e.serve(t, flags...)
	e.serve(t, flags...)
	e.register(t, first.port)
	return e
}

// prepare installs what replicas need and runs none.
func prepare(t *testing.T) *environment {
	t.Helper()
	cp := shared.Get(t)
	e := &environment{
		cp:      cp,
		kube:    kubernetes.NewForConfigOrDie(cp.Config),
		dynamic: dynamic.NewForConfigOrDie(cp.Config),
		images:  imageclient.NewForConfigOrDie(cp.Config),
	}
	e.createNamespace(t, systemNamespace)
	for _, file := range []string{"rbac.yaml", "crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		e.apply(t, file)
	}
	e.configFile = filepath.Join(t.TempDir(), "config.yaml")
	e.configure(t, "")
	return e
}

// replica is one running server.
type replica struct {
	port int
	// config reaches the replica as an administrator.
	config *rest.Config
	// stop asks it to shut down, as a termination signal does; ended is closed when it has.
	stop  context.CancelFunc
	ended chan struct{}
}

// configure writes the configuration file in one step, with further lines.
func (e *environment) configure(t *testing.T, lines string) {
	t.Helper()
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\ninternalRegistryHostname: " + internalHost + "\n" + lines
	if err := os.WriteFile(e.configFile+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(e.configFile+".new", e.configFile); err != nil {
		t.Fatal(err)
	}
}

// serve runs one replica until the test ends, unless it is stopped before. The test fails when it does
// not end in order.
func (e *environment) serve(t *testing.T, flags ...string) *replica {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()

	config := e.cp.RestConfigFor(serverIdentity, "system:serviceaccounts", "system:serviceaccounts:"+systemNamespace)
	kubeconfig, err := e.cp.WriteKubeconfig("image-api-server", config)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, ca := e.cp.ServingCert(t, "image-api-server."+systemNamespace+".svc", "localhost", "127.0.0.1")
	args := append([]string{
		"--config=" + e.configFile, "--kubeconfig=" + kubeconfig, "-v=0",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile,
		"--webhook-port=0", "--shutdown-delay-duration=0s",
	}, flags...)

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var stderr bytes.Buffer
	go func() {
		defer close(ended)
		if code := app.Run(ctx, args, io.Discard, &stderr); code != 0 {
			t.Errorf("image-api-server ended with code %d: %s", code, stderr.String())
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})

	direct := e.cp.RestConfigFor("admin", "system:masters")
	direct.Host = fmt.Sprintf("https://127.0.0.1:%d", port)
	direct.CAData = ca
	e.replicas = append(e.replicas, direct)
	e.eventually(t, "replica is ready", func(ctx context.Context) error {
		select {
		case <-ended:
			return errors.New("it has ended")
		default:
		}
		// With a dialer of its own each attempt has a new connection: those made before the server knew
		// who may vouch for clients stay anonymous.
		fresh := rest.CopyConfig(direct)
		fresh.Dial = (&net.Dialer{}).DialContext
		client := kubernetes.NewForConfigOrDie(fresh).Discovery().RESTClient()
		if _, err := client.Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
			return err
		}
		_, err := client.Get().AbsPath("/apis/image.alauda.io/v1/images").Param("limit", "1").DoRaw(ctx)
		return err
	})
	return &replica{port: port, config: direct, stop: cancel, ended: ended}
}

// register makes kube-apiserver proxy the API group to a port of this machine until the test ends.
func (e *environment) register(t *testing.T, port int) {
	t.Helper()
	services := e.kube.CoreV1().Services(systemNamespace)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "image-api-server"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
			Ports: []corev1.ServicePort{{Port: int32(port), TargetPort: intstr.FromInt32(int32(port))}},
		},
	}
	if _, err := services.Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	data, err := manifests.Operand(manifests.ImageAPIServer, "apiservice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	registration := &apiregistrationv1.APIService{}
	if err := yaml.Unmarshal(data, registration); err != nil {
		t.Fatal(err)
	}
	apiPort := int32(port)
	registration.Spec.Service.Port = &apiPort
	_, _, registration.Spec.CABundle = e.cp.ServingCert(t, "unused")
	apis := aggregatorclient.NewForConfigOrDie(e.cp.Config).ApiregistrationV1().APIServices()
	if _, err := apis.Create(t.Context(), registration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := apis.Delete(ctx, registration.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		if err := services.Delete(ctx, service.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	e.eventually(t, "APIService is available", func(ctx context.Context) error {
		current, err := apis.Get(ctx, registration.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range current.Status.Conditions {
			if condition.Type == apiregistrationv1.Available && condition.Status == apiregistrationv1.ConditionTrue {
				_, err := e.images.ImageV1().Images().List(ctx, metav1.ListOptions{Limit: 1})
				return err
			}
		}
		return fmt.Errorf("conditions %+v", current.Status.Conditions)
	})
}

// apply applies a manifest of the operand, as the operator does.
func (e *environment) apply(t *testing.T, file string) {
	t.Helper()
	data, err := manifests.Operand(manifests.ImageAPIServer, file)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(e.kube.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if err := decoder.Decode(obj); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(obj.Object) == 0 {
			continue
		}
		mapping, err := mapper.RESTMapping(obj.GroupVersionKind().GroupKind(), obj.GroupVersionKind().Version)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var client dynamic.ResourceInterface = e.dynamic.Resource(mapping.Resource)
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			client = e.dynamic.Resource(mapping.Resource).Namespace(obj.GetNamespace())
		}
		body, err := runtime.Encode(unstructured.UnstructuredJSONScheme, obj)
		if err != nil {
			t.Fatal(err)
		}
		force := true
		_, err = client.Patch(t.Context(), obj.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "test", Force: &force})
		if err != nil {
			t.Fatalf("%s: %s %s: %v", file, obj.GetKind(), obj.GetName(), err)
		}
	}
}

func (e *environment) createNamespace(t *testing.T, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := e.kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// newNamespace creates a namespace for one test.
func (e *environment) newNamespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	e.createNamespace(t, name)
	return name
}

// eventually retries until check returns no error.
func (e *environment) eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %s: %v", patience, what, last)
	}
}
