// Package imageapi runs image-api-server inside a test process, behind the aggregation layer of a real
// kube-apiserver, for component tests of the programs that are its clients.
//
// In comes a control plane of package controlplane. Out come clients of an administrator and a Server
// that can be stopped in the middle of a test, to see what its clients do then. The server runs with the
// rights and the hidden kinds of the operator's manifests, and Apply installs the manifests of further
// operands.
//
// Tests of image-api-server itself are in package apiserver, which runs two replicas and more backends.
package imageapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	"sigs.k8s.io/yaml"

	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/test/controlplane"
)

const (
	// SystemNamespace is where the operands live.
	SystemNamespace = "image-registry-system"
	// InternalHost is the registry's name in references.
	InternalHost = "image-registry." + SystemNamespace + ".svc:5000"

	name     = "image-api-server"
	patience = 60 * time.Second
)

// Server is a running image API.
type Server struct {
	CP *controlplane.ControlPlane
	// Kube and Images speak to kube-apiserver as an administrator.
	Kube   kubernetes.Interface
	Images imageclient.Interface
	// Port is where the server itself listens on 127.0.0.1.
	Port int

	stop func()
}

// Start runs image-api-server until the test ends and waits until kube-apiserver reaches it. Flags come after
// those that every test needs. Without them there is no webhook.
func Start(t testing.TB, cp *controlplane.ControlPlane, flags ...string) *Server {
	t.Helper()
	s := &Server{CP: cp, Kube: kubernetes.NewForConfigOrDie(cp.Config), Images: imageclient.NewForConfigOrDie(cp.Config)}
	CreateNamespace(t, s.Kube, SystemNamespace)
	for _, file := range []string{"rbac.yaml", "crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		Apply(t, cp.Config, manifests.ImageAPIServer, file)
	}
	s.Port = s.run(t, flags)
	s.register(t, s.Port)
	return s
}

// Stop ends the server before the test ends; kube-apiserver answers 503 for its API then.
func (s *Server) Stop() { s.stop() }

// run starts the server and returns its port.
func (s *Server) run(t testing.TB, flags []string) int {
	t.Helper()
	port := freePort(t)
	kubeconfig, err := s.CP.WriteKubeconfig(name, ServiceAccountConfig(s.CP, name))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\ninternalRegistryHostname: " + InternalHost + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, _ := s.CP.ServingCert(t, name+"."+SystemNamespace+".svc", "localhost", "127.0.0.1")
	args := append([]string{
		"--config=" + config, "--kubeconfig=" + kubeconfig, "-v=0",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile, "--webhook-port=0", "--shutdown-delay-duration=0s",
	}, flags...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var stderr bytes.Buffer
		if code := app.Run(ctx, args, io.Discard, &stderr); code != 0 {
			t.Errorf("%s ended with code %d: %s", name, code, stderr.String())
		}
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(s.stop)
	return port
}

// register makes kube-apiserver proxy the API group to a port of this machine until the test ends.
func (s *Server) register(t testing.TB, port int) {
	t.Helper()
	services := s.Kube.CoreV1().Services(SystemNamespace)
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
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
	_, _, registration.Spec.CABundle = s.CP.ServingCert(t, "unused")
	apis := aggregatorclient.NewForConfigOrDie(s.CP.Config).ApiregistrationV1().APIServices()
	if _, err := apis.Create(t.Context(), registration, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := errors.Join(apis.Delete(context.Background(), registration.Name, metav1.DeleteOptions{}),
			services.Delete(context.Background(), service.Name, metav1.DeleteOptions{}))
		if err != nil {
			t.Error(err)
		}
	})
	Eventually(t, "the image API answers", func(ctx context.Context) error {
		_, err := s.Images.ImageV1().Images().List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
}

// ServiceAccountConfig is a client configuration of a ServiceAccount in the system namespace.
func ServiceAccountConfig(cp *controlplane.ControlPlane, account string) *rest.Config {
	return cp.RestConfigFor("system:serviceaccount:"+SystemNamespace+":"+account, "system:serviceaccounts", "system:serviceaccounts:"+SystemNamespace)
}

// CreateNamespace creates a namespace if there is none.
func CreateNamespace(t testing.TB, kube kubernetes.Interface, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// Eventually retries until check returns no error.
func Eventually(t testing.TB, what string, check func(ctx context.Context) error) {
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

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
