//go:build component

package imageoperation

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

var shared = controlplane.NewShared(controlplane.WithControllerManager())

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

const group = "/apis/image.alauda.io/v1"

// newNamespace creates a namespace with a stream "app" and returns its name.
func newNamespace(t *testing.T, s *imageapi.Server) string {
	t.Helper()
	name := "team-" + rand.String(6)
	imageapi.CreateNamespace(t, s.Kube, name)
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "app"}}
	if _, err := s.Images.ImageV1().ImageStreams(name).Create(t.Context(), stream, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

// mapping is what the registry sends on a push.
func mapping(namespace, stream, tag, content string) *imagev1.ImageStreamMapping {
	return &imagev1.ImageStreamMapping{
		TypeMeta:   metav1.TypeMeta{APIVersion: "image.alauda.io/v1", Kind: "ImageStreamMapping"},
		ObjectMeta: metav1.ObjectMeta{Name: stream}, Tag: tag,
		Image: imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{Name: digestOf(content), Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			}},
			DockerImageReference:         imageapi.InternalHost + "/" + namespace + "/" + stream + "@" + digestOf(content),
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
			DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf(content + " layer"), LayerSize: 7, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
		},
	}
}

// client sends single requests without any retry.
type client struct {
	http *http.Client
	host string
}

func newClient(t *testing.T, config *rest.Config) *client {
	t.Helper()
	made, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return &client{made, config.Host}
}

// do sends a request with an object, nil for none, and returns status and body.
func (c *client) do(method, path string, object any) (int, []byte, error) {
	var body io.Reader = http.NoBody
	if object != nil {
		encoded, err := json.Marshal(object)
		if err != nil {
			return 0, nil, err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, c.host+path, body)
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// load lists, reads and pushes without pause and without retries. Any answer but success fails the test.
type load struct {
	group   sync.WaitGroup
	stopped atomic.Bool
	served  atomic.Int64
}

func startLoad(t *testing.T, s *imageapi.Server, namespace string) *load {
	t.Helper()
	l := &load{}
	base := group + "/namespaces/" + namespace
	for worker := range 3 {
		c := newClient(t, s.CP.Config)
		l.group.Go(func() {
			for n := 0; !l.stopped.Load(); n++ {
				content := fmt.Sprintf("%s %d %d", namespace, worker, n)
				for _, one := range []struct {
					method, path string
					object       any
				}{
					{http.MethodGet, base + "/imagestreams", nil},
					{http.MethodPost, base + "/imagestreammappings", mapping(namespace, "app", fmt.Sprintf("w%d", worker), content)},
					{http.MethodGet, fmt.Sprintf("%s/imagestreamtags/app:w%d", base, worker), nil},
				} {
					code, text, err := c.do(one.method, one.path, one.object)
					if err == nil && code/100 != 2 {
						err = fmt.Errorf("status %d: %s", code, text)
					}
					if err != nil {
						t.Errorf("%s %s, after %d requests: %v", one.method, one.path, l.served.Load(), err)
						return
					}
					l.served.Add(1)
				}
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// stop ends the load and waits for the last request.
func (l *load) stop() {
	l.stopped.Store(true)
	l.group.Wait()
}

// more returns a check that the load was served since now.
func (l *load) more(count int64) func() error {
	before := l.served.Load()
	return func() error {
		if served := l.served.Load() - before; served < count {
			return fmt.Errorf("%d requests were served, want %d", served, count)
		}
		return nil
	}
}

// configure writes a configuration file in one step, as kubelet does.
func configure(t *testing.T, file, lines string) {
	t.Helper()
	text := "apiVersion: config.image.alauda.io/v1\nkind: ImageAPIServerConfig\n" + lines
	replace(t, map[string][]byte{file: []byte(text)})
}

// replace renames files into their place.
func replace(t *testing.T, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		if err := os.WriteFile(name+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
}

// newConfig writes a configuration with the usual internal host and further lines, and returns the file.
func newConfig(t *testing.T, lines string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	configure(t, file, "internalRegistryHostname: "+imageapi.InternalHost+"\n"+lines)
	return file
}
