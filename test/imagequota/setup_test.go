//go:build component

package imagequota

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	streamsName = "alauda.io/imagestreams"
	imagesName  = "alauda.io/images"
	tagsName    = "alauda.io/image-tags"
	countName   = "count/imagestreams.image.alauda.io"
)

var shared = controlplane.NewShared(controlplane.WithControllerManager())

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// environment is an image API of two replicas.
type environment struct {
	*imageapi.Server
	// replicas reach the first through kube-apiserver and the second directly, as an administrator.
	replicas []imageclient.Interface
	// configFile is the configuration of the second.
	configFile string
}

func start(t *testing.T) *environment {
	t.Helper()
	e := &environment{Server: imageapi.Start(t, shared.Get(t)), configFile: filepath.Join(t.TempDir(), "config.yaml")}
	e.replicas = []imageclient.Interface{imageclient.NewForConfigOrDie(unlimited(e.CP.Config)), e.second(t)}
	return e
}

// unlimited lets a client ask as fast as the test wants.
func unlimited(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.QPS = -1
	return config
}

// configure writes the configuration of the second replica in one step.
func (e *environment) configure(t *testing.T, lines string) {
	t.Helper()
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\ninternalRegistryHostname: " + imageapi.InternalHost + "\n" + lines
	if err := errors.Join(os.WriteFile(e.configFile+".new", []byte(text), 0o600), os.Rename(e.configFile+".new", e.configFile)); err != nil {
		t.Fatal(err)
	}
}

// second runs another replica until the test ends.
func (e *environment) second(t *testing.T) imageclient.Interface {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	kubeconfig, err := e.CP.WriteKubeconfig("second", imageapi.ServiceAccountConfig(e.CP, "image-api-server"))
	if err != nil {
		t.Fatal(err)
	}
	e.configure(t, "")
	certFile, keyFile, ca := e.CP.ServingCert(t, "localhost", "127.0.0.1")
	args := []string{
		"--config=" + e.configFile, "--kubeconfig=" + kubeconfig, "-v=0",
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + certFile, "--tls-private-key-file=" + keyFile, "--webhook-port=0", "--shutdown-delay-duration=0s",
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var stderr bytes.Buffer
		if code := app.Run(ctx, args, io.Discard, &stderr); code != 0 {
			t.Errorf("the second replica ended with code %d: %s", code, stderr.String())
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	config := unlimited(e.CP.RestConfigFor("admin", "system:masters"))
	config.Host, config.CAData = fmt.Sprintf("https://127.0.0.1:%d", port), ca
	imageapi.Eventually(t, "the second replica answers", func(ctx context.Context) error {
		// With a dialer of its own each attempt has a new connection: those made before the server knew
		// who may vouch for clients stay anonymous.
		fresh := rest.CopyConfig(config)
		fresh.Dial = (&net.Dialer{}).DialContext
		client := imageclient.NewForConfigOrDie(fresh)
		if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err != nil {
			return err
		}
		_, err := client.ImageV1().Images().List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
	return imageclient.NewForConfigOrDie(config)
}

func (e *environment) namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	imageapi.CreateNamespace(t, e.Kube, name)
	return name
}

func list(pairs ...string) corev1.ResourceList {
	made := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		made[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return made
}

// quota creates a quota and waits until both replicas know it, that is, refuse what it forbids.
func (e *environment) quota(t *testing.T, ns, name string, pairs ...string) {
	t.Helper()
	_, err := e.Kube.CoreV1().ResourceQuotas(ns).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: list(pairs...)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// A probe that is too much for the namespace, from a second quota that goes again.
	probe := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.ResourceQuotaSpec{Hard: list(streamsName, "0")}}
	if _, err := e.Kube.CoreV1().ResourceQuotas(ns).Create(t.Context(), probe, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.probe(t, ns, apierrors.IsForbidden)
	if err := e.Kube.CoreV1().ResourceQuotas(ns).Delete(t.Context(), "probe", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.probe(t, ns, func(err error) bool { return err == nil || !strings.Contains(err.Error(), "probe") })
}

// probe waits until a dry run of a new stream is answered as expected by both replicas.
func (e *environment) probe(t *testing.T, ns string, expected func(error) bool) {
	t.Helper()
	for i, client := range e.replicas {
		imageapi.Eventually(t, fmt.Sprintf("replica %d knows the quotas", i), func(ctx context.Context) error {
			stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
			_, err := client.ImageV1().ImageStreams(ns).Create(ctx, stream, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if expected(err) {
				return nil
			}
			return fmt.Errorf("the answer is %v", err)
		})
	}
}

// used waits until a quota says what is used.
func (e *environment) used(t *testing.T, ns, name string, resourceName corev1.ResourceName, want int64) {
	t.Helper()
	imageapi.Eventually(t, fmt.Sprintf("%s uses %d of %s", ns, want, resourceName), func(ctx context.Context) error {
		current, err := e.Kube.CoreV1().ResourceQuotas(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if amount, found := current.Status.Used[resourceName]; !found || amount.Value() != want {
			return fmt.Errorf("used is %v", current.Status.Used)
		}
		return nil
	})
}

// waitForControllerManager waits until kube-controller-manager watches image streams: it looks every half minute
// for kinds that are new, and what is deleted before it does not count until minutes later.
func (e *environment) waitForControllerManager(t *testing.T) {
	t.Helper()
	const ns = "controller-manager-watches"
	imageapi.CreateNamespace(t, e.Kube, ns)
	e.quota(t, ns, "q", countName, "1000")
	counted := 0
	imageapi.Eventually(t, "kube-controller-manager counts image streams", func(ctx context.Context) error {
		streams := e.replicas[0].ImageV1().ImageStreams(ns)
		if _, err := streams.Create(ctx, &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}, metav1.CreateOptions{}); err != nil {
			return err
		}
		if err := streams.Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
			return err
		}
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 3*time.Second, true, func(ctx context.Context) (bool, error) {
			current, err := e.Kube.CoreV1().ResourceQuotas(ns).Get(ctx, "q", metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			used := current.Status.Used[countName]
			return used.IsZero(), nil
		})
		if err != nil {
			return fmt.Errorf("a deleted stream is still counted: %w", err)
		}
		if counted++; counted < 2 {
			return errors.New("once is not enough: a new quota is counted anyway")
		}
		return nil
	})
}

func (e *environment) stream(t *testing.T, ns, name string) {
	t.Helper()
	if _, err := e.replicas[0].ImageV1().ImageStreams(ns).Create(t.Context(), &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func digestOf(word string) string {
	sum := sha256.Sum256([]byte(word))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pushed is a mapping as the registry sends it, of an image of some size.
func pushed(ns, stream, tag, word string, size int64) *imagev1.ImageStreamMapping {
	digest := digestOf(ns + word)
	return &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: stream}, Tag: tag,
		Image: imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{Name: digest, Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			}},
			DockerImageReference:         imageapi.InternalHost + "/" + ns + "/" + stream + "@" + digest,
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
			DockerImageMetadataVersion:   "1.0",
			DockerImageMetadata:          runtime.RawExtension{Raw: fmt.Appendf(nil, `{"kind":"DockerImage","apiVersion":"image.alauda.io/1.0","Id":%q,"Size":%d}`, digestOf("config of "+ns+word), size)},
			DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf("layer of " + ns + word), LayerSize: size, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
		},
	}
}

// push maps an image; like a client it tries again when it is asked to.
func push(ctx context.Context, client imageclient.Interface, mapping *imagev1.ImageStreamMapping) error {
	for {
		_, err := client.ImageV1().ImageStreamMappings(mapping.Namespace).Create(ctx, mapping, metav1.CreateOptions{})
		if !apierrors.IsServerTimeout(err) && !apierrors.IsTooManyRequests(err) {
			return err
		}
	}
}
