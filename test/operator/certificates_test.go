//go:build component

package operator

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/retry"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/operator/app"
	"image.alauda.io/registry/pkg/operator/certificates"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// kubeletDelay is how late a Pod of this test sees a changed Secret.
const kubeletDelay = 2 * time.Second

// Behaviours 42, 43 and 45: the CA is rotated on request, its certificates are renewed, and then it is lost,
// while kube-apiserver leads requests to a server that is never restarted. No request fails.
func TestNoRequestFailsWhileTheCAChanges(t *testing.T) {
	c := installCertified(t)
	options := c.shortOptions()
	options.Certificates = certificates.Lifetimes{Leaf: 40 * time.Second, CA: 400 * time.Second, Promote: 8 * time.Second}
	options.MetricsAddress = freeAddress(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.RunWith(ctx, options, c.account, func(int) {}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	})
	server := c.serveImageAPI()
	first := c.bundle()
	load := startRequests(t, c)

	c.annotate(registryv1.RotateCAAnnotation, "1")
	c.eventually("the next CA is published", func() (bool, string) { return len(c.bundle()) == len(first)+1, fmt.Sprint(len(c.bundle())) })
	c.eventually("the registration of the API has it", func() (bool, string) { return len(c.registered()) == len(first)+1, fmt.Sprint(len(c.registered())) })
	next := c.bundle()[1]
	for _, address := range []string{server, options.MetricsAddress} {
		c.eventually(address+" serves a certificate of the next CA", func() (bool, string) { return c.signedBy(address, next) })
	}
	if trusted := c.bundle(); !trusted[0].Equal(next) || !contains(trusted, first[0]) {
		t.Error("the bundle does not begin with the promoted CA, or has lost the first too early")
	}
	c.eventually("the first CA is forgotten", func() (bool, string) { return !contains(c.bundle(), first[0]), fmt.Sprint(len(c.bundle())) })

	if err := c.kube.CoreV1().Secrets(ns).Delete(t.Context(), registryv1.SecretServingCA, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("another CA is published in place of the lost", func() (bool, string) { return !c.bundle()[0].Equal(next), "still the lost one" })
	another := c.bundle()[0]
	for _, address := range []string{server, options.MetricsAddress} {
		c.eventually(address+" serves a certificate of the other CA", func() (bool, string) { return c.signedBy(address, another) })
	}
	load()
}

// certified is a cluster whose API server can be told where the Image API is.
type certified struct {
	*cluster
	plane *controlplane.ControlPlane
}

func installCertified(t *testing.T) *certified {
	t.Helper()
	plane := controlplane.Start(t, controlplane.WithControllerManager("garbage-collector-controller", "serviceaccount-controller"))
	c := &certified{cluster: &cluster{t: t}, plane: plane}
	c.kube, c.dynamic = kubernetes.NewForConfigOrDie(plane.Config), dynamic.NewForConfigOrDie(plane.Config)
	c.registry = versioned.NewForConfigOrDie(plane.Config)
	c.create()
	c.account = plane.RestConfigFor("system:serviceaccount:"+ns+":"+registryv1.OperatorName, "system:serviceaccounts", "system:serviceaccounts:"+ns, "system:authenticated")
	return c
}

// shortOptions are those of an operator that works alone.
func (c *certified) shortOptions() app.Options {
	options := app.DefaultOptions()
	options.HealthAddress, options.LeaderElect = "127.0.0.1:0", false
	options.Settings = render.Settings{
		Namespace: ns, ClusterDomain: "cluster.local", Version: "v1.2.3",
		Images: render.Images{Registry: "r:1", APIServer: "a:1", NodeCA: "n:1", Pruner: "p:1"},
	}
	return options
}

// serveImageAPI enables the registry, hands it over to the test as an administrator does, and runs the API server
// with the pair that the operator issued, as a Pod would see it. It returns the server's address.
func (c *certified) serveImageAPI() string {
	t := c.t
	t.Helper()
	c.eventually("Config exists", func() (bool, string) { return c.config().Name != "", "none" })
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage.EmptyDir = &registryv1.EmptyDirStorage{}
	})
	c.exists(inNS("Deployment", "image-api-server")[0])
	c.reportEndpoint()
	c.exists(apiService)
	c.edit(func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Unmanaged })
	c.waitFor(registryv1.ConditionDegraded, registryv1.ConditionFalse, registryv1.ReasonUnmanaged)

	s := &imageapi.Server{CP: c.plane, Kube: c.kube, Images: c.registry}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	oldCert, oldKey, _ := c.plane.ServingCert(t, "localhost", "127.0.0.1")
	replaceFiles(t, map[string][]byte{certFile: readFile(t, oldCert), keyFile: readFile(t, oldKey)})
	replica := s.Replica(t, "--tls-cert-file="+certFile, "--tls-private-key-file="+keyFile)

	services := c.kube.CoreV1().Services(ns)
	if err := services.Delete(t.Context(), "image-api-server", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "image-api-server"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost",
			Ports: []corev1.ServicePort{{Port: int32(replica.Port)}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.editAPIService(func(service *apiregistrationv1.APIService) {
		port := int32(replica.Port)
		service.Spec.Service.Port = &port
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.mount(ctx, certFile, keyFile) }()
	t.Cleanup(func() { cancel(); <-done })
	address := net.JoinHostPort("127.0.0.1", fmt.Sprint(replica.Port))
	c.eventually("the server serves what the operator issued", func() (bool, string) { return c.signedBy(address, c.bundle()[0]) })
	c.eventually("the API answers", func() (bool, string) {
		_, err := c.registry.ImageV1().Images().List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil, fmt.Sprint(err)
	})
	return address
}

// mount brings the pair of the API server into files, late.
func (c *certified) mount(ctx context.Context, certFile, keyFile string) {
	var seen []byte
	wait := func(pause time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
			return true
		}
	}
	for wait(100 * time.Millisecond) {
		secret, err := c.kube.CoreV1().Secrets(ns).Get(ctx, registryv1.SecretImageAPITLS, metav1.GetOptions{})
		if err != nil || bytes.Equal(secret.Data[corev1.TLSCertKey], seen) {
			continue
		}
		if seen != nil && !wait(kubeletDelay) {
			return
		}
		seen = secret.Data[corev1.TLSCertKey]
		replaceFiles(c.t, map[string][]byte{certFile: seen, keyFile: secret.Data[corev1.TLSPrivateKeyKey]})
	}
}

func (c *certified) editAPIService(change func(*apiregistrationv1.APIService)) {
	c.t.Helper()
	apis := aggregatorclient.NewForConfigOrDie(c.plane.Config).ApiregistrationV1().APIServices()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		service, err := apis.Get(c.t.Context(), apiService.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(service)
		_, err = apis.Update(c.t.Context(), service, metav1.UpdateOptions{FieldManager: "administrator"})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *certified) annotate(key, value string) {
	c.t.Helper()
	c.edit(func(config *registryv1.Config) {
		if config.Annotations == nil {
			config.Annotations = map[string]string{}
		}
		config.Annotations[key] = value
	})
}

// bundle is what clients trust now, none while it is not published.
func (c *certified) bundle() []*x509.Certificate {
	c.t.Helper()
	configMap, err := c.kube.CoreV1().ConfigMaps(ns).Get(c.t.Context(), registryv1.ConfigMapServiceCA, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return parse(c.t, []byte(configMap.Data[registryv1.KeyServiceCA]))
}

func (c *certified) registered() []*x509.Certificate {
	c.t.Helper()
	service, err := aggregatorclient.NewForConfigOrDie(c.plane.Config).ApiregistrationV1().APIServices().Get(c.t.Context(), apiService.Name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return parse(c.t, service.Spec.CABundle)
}

// signedBy connects to a server as a client of the bundle, and says whether ca signed what it serves.
func (c *certified) signedBy(address string, ca *x509.Certificate) (bool, string) {
	pool := x509.NewCertPool()
	for _, cert := range c.bundle() {
		pool.AddCert(cert)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: "localhost"}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err.Error()
	}
	defer conn.Close()
	leaf := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	return leaf.CheckSignatureFrom(ca) == nil, "a certificate by " + leaf.Issuer.CommonName
}

// startRequests asks for the Image API without pause until the returned function is called, which says what failed.
func startRequests(t *testing.T, c *certified) (end func()) {
	t.Helper()
	config := rest.CopyConfig(c.plane.Config)
	config.QPS = -1
	client, err := versioned.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done, failed atomic.Int64
	var last atomic.Value
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_, err := client.ImageV1().ImageStreams("default").List(ctx, metav1.ListOptions{Limit: 1})
			if err == nil {
				_, err = client.Discovery().ServerResourcesForGroupVersion("image.alauda.io/v1")
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				failed.Add(1)
				last.Store(err.Error())
			}
			done.Add(1)
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func() {
		cancel()
		<-ended
		t.Logf("%d requests", done.Load())
		if failed.Load() > 0 || done.Load() < 100 {
			t.Errorf("%d of %d requests failed, the last: %v", failed.Load(), done.Load(), last.Load())
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func parse(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	found, err := certutil.ParseCertsPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func contains(certs []*x509.Certificate, cert *x509.Certificate) bool {
	for _, other := range certs {
		if other.Equal(cert) {
			return true
		}
	}
	return false
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replaceFiles writes each file beside its place and moves it there.
func replaceFiles(t *testing.T, files map[string][]byte) {
	for file, data := range files {
		if err := os.WriteFile(file+".new", data, 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Error(err)
		}
	}
}
