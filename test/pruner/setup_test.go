//go:build component

package pruner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/app"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	role = "system:image-pruner"
	// ahead is how much later the pruner believes it is.
	ahead = 5 * time.Hour
)

// Nobody creates the ServiceAccounts that Pods would have to name.
var shared = controlplane.NewShared(controlplane.WithAPIServerFlags("--disable-admission-plugins=ServiceAccount"))

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

type environment struct {
	*imageapi.Server
}

func start(t *testing.T) *environment {
	t.Helper()
	e := &environment{imageapi.Start(t, shared.Get(t))}
	imageapi.Apply(t, e.CP.Config, "image-pruner", "rbac.yaml")
	return e
}

// namespace creates a namespace for the test, with a name of its own.
func (e *environment) namespace(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-" + rand.String(5)
	imageapi.CreateNamespace(t, e.Kube, name)
	return name
}

// cleanUp removes the images and the streams of the namespace, so that the tests, whose runs all see the
// whole cluster, do not see each other's.
func (e *environment) cleanUp(t *testing.T, namespace string) {
	t.Cleanup(func() {
		ctx := context.Background()
		streams, err := e.Images.ImageV1().ImageStreams(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		for _, stream := range streams.Items {
			if err := e.Images.ImageV1().ImageStreams(namespace).Delete(ctx, stream.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
		images, err := e.Images.ImageV1().Images().List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		for _, image := range images.Items {
			if err := e.Images.ImageV1().Images().Delete(ctx, image.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// push gives a tag of a stream its next revision, as a push does, and returns the digest.
func (e *environment) push(t *testing.T, namespace, stream, tag, content string) string {
	t.Helper()
	digest := digestOf(namespace + content)
	mapping := &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Name: stream},
		Image: imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{Name: digest, Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			}},
			DockerImageReference:         imageapi.InternalHost + "/" + namespace + "/" + stream + "@" + digest,
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
			DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf(content + " layer"), LayerSize: 7, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
		},
		Tag: tag,
	}
	if _, err := e.Images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return digest
}

// stream creates a stream whose tag v1 gets the revisions r0, the oldest, to r<count-1>, and returns their
// digests, oldest first.
func (e *environment) stream(t *testing.T, namespace, name string, count int) []string {
	t.Helper()
	object := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := e.Images.ImageV1().ImageStreams(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for i := range count {
		digests = append(digests, e.push(t, namespace, name, "v1", name+string(rune('0'+i))))
	}
	return digests
}

// left returns which of the digests are still in the history of tag v1, and which images exist, as words
// of the letters a (the first digest), b and so on.
func (e *environment) left(t *testing.T, namespace, stream string, digests []string) (revisions, images string) {
	t.Helper()
	object, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), stream, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, tag := range object.Status.Tags {
		for _, item := range tag.Items {
			listed[item.Image] = true
		}
	}
	list, err := e.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	existing := map[string]bool{}
	for _, image := range list.Items {
		existing[image.Name] = true
	}
	for i, digest := range digests {
		letter := string(rune('a' + i))
		if listed[digest] {
			revisions += letter
		}
		if existing[digest] {
			images += letter
		}
	}
	return revisions, images
}

// pod creates a Pod that uses the image; it stays Pending.
func (e *environment) pod(t *testing.T, namespace, name, image string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
	if _, err := e.Kube.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Kube.CoreV1().Pods(namespace).Delete(context.Background(), name, *metav1.NewDeleteOptions(0)); err != nil {
			t.Error(err)
		}
	})
}

// runner runs the pruner as a user through a proxy.
type runner struct {
	kubeconfig string
	// before is called with each request before it is passed on.
	before func(*http.Request)

	mu       sync.Mutex
	requests []string
}

// as returns a runner for a new user who is bound to the ClusterRole.
func (e *environment) as(t *testing.T, clusterRole string) *runner {
	t.Helper()
	user := "pruner-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	bindings := e.Kube.RbacV1().ClusterRoleBindings()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: clusterRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if _, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bindings.Delete(context.Background(), user, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return e.proxied(t, e.CP.RestConfigFor(user))
}

// proxied returns a runner whose requests arrive with the credentials of config.
func (e *environment) proxied(t *testing.T, config *rest.Config) *runner {
	t.Helper()
	r := &runner{before: func(*http.Request) {}}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(request *httputil.ProxyRequest) { request.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			response.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, request.Method+" "+request.URL.Path)
		r.mu.Unlock()
		r.before(request)
		proxy.ServeHTTP(w, request)
	}))
	t.Cleanup(server.Close)
	r.kubeconfig, err = e.CP.WriteKubeconfig("pruner", &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run executes `pruner images` with the flags.
func (r *runner) run(ctx context.Context, flags ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	args := append([]string{"images", "--kubeconfig=" + r.kubeconfig, "--keep-tag-revisions=2"}, flags...)
	code = app.Run(ctx, args, &out, &problems)
	return code, out.String(), problems.String()
}

// changes lists the requests that changed something.
func (r *runner) changes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var changes []string
	for _, request := range r.requests {
		if !strings.HasPrefix(request, http.MethodGet+" ") && !strings.Contains(request, "accessreviews") {
			changes = append(changes, request)
		}
	}
	return changes
}
