//go:build component

package imagestorage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	imagev1 "image.alauda.io/api/image/v1"
	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/pkg/imageapiserver/app"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func image(name, reference string) imagev1.Image {
	return imagev1.Image{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
		}},
		DockerImageReference:         reference + "@" + name,
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
		DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf(name + " layer"), LayerSize: 7, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
	}
}

// push gives a tag its next revision and returns the digest.
func push(t *testing.T, s *imageapi.Server, namespace, stream, tag, content string) string {
	t.Helper()
	digest := digestOf(content)
	mapping := &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Name: stream}, Tag: tag,
		Image: image(digest, imageapi.InternalHost+"/"+namespace+"/"+stream),
	}
	if _, err := s.Images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return digest
}

// fill stores streams with underscores in their names, with history, with a tag that follows another,
// and an index with a child that is stored and one that is not. It returns the stream's first image.
func fill(t *testing.T, s *imageapi.Server, namespace string) string {
	t.Helper()
	imageapi.CreateNamespace(t, s.Kube, namespace)
	streams := s.Images.ImageV1().ImageStreams(namespace)
	for _, name := range []string{"app", "with_underscore"} {
		stream := &imagev1.ImageStream{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"tier": "web"}, Annotations: map[string]string{"note": "ä<>&\u2028"}},
			Spec: imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{{
				Name: "stable", From: tagOf(name + ":v1"),
			}}},
		}
		if _, err := streams.Create(t.Context(), stream, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	first := push(t, s, namespace, "app", "v1", namespace+"app1")
	child := push(t, s, namespace, "app", "v1", namespace+"app2")
	push(t, s, namespace, "with_underscore", "v1", namespace+"other")
	index := image(digestOf(namespace+"index"), imageapi.InternalHost+"/"+namespace+"/app")
	index.DockerImageLayers = nil
	index.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
	for _, digest := range []string{child, digestOf("of another platform")} {
		index.DockerImageManifests = append(index.DockerImageManifests, imagev1.ImageManifest{
			Digest: digest, MediaType: "application/vnd.oci.image.manifest.v1+json", ManifestSize: 1, Architecture: "amd64", OS: "linux",
		})
	}
	mapping := &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Name: "app"}, Tag: "multi", Image: index}
	if _, err := s.Images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return first
}

// served is everything that the API shows, without what belongs to the storage.
func served(t *testing.T, s *imageapi.Server) string {
	t.Helper()
	images, err := s.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	streams, err := s.Images.ImageV1().ImageStreams("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(images.Items) == 0 || len(streams.Items) == 0 {
		t.Fatal("the API shows nothing")
	}
	for i := range images.Items {
		images.Items[i].ResourceVersion = ""
	}
	for i := range streams.Items {
		streams.Items[i].ResourceVersion = ""
	}
	data, err := json.MarshalIndent([]any{images.Items, streams.Items}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// command is `image-api-server storage …` by an administrator.
type command struct {
	cp *controlplane.ControlPlane
	// etcd are the flags of the etcd backend.
	etcd []string
}

func newCommand(cp *controlplane.ControlPlane, prefix string) command {
	return command{cp: cp, etcd: []string{"--etcd-servers=" + cp.EtcdEndpoint, "--etcd-prefix=" + prefix}}
}

// run returns the exit code and everything that was printed.
func (c command) run(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var out bytes.Buffer
	code = app.Run(t.Context(), slices.Concat([]string{"storage"}, args, []string{"--kubeconfig=" + c.cp.Kubeconfig()}), &out, &out)
	return code, out.String()
}

// must runs a command that succeeds.
func (c command) must(t *testing.T, args ...string) string {
	t.Helper()
	code, output := c.run(t, args...)
	if code != 0 {
		t.Fatalf("storage %s: exit code %d: %s", strings.Join(args, " "), code, output)
	}
	return output
}

// exported returns the lines of an export, sorted: each backend has an order of its own.
func (c command) exported(t *testing.T, args ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "export.json")
	c.must(t, append([]string{"export", "--file=" + file}, args...)...)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

// etcdStorage are the flags of commands on the etcd backend.
func (c command) etcdStorage() []string { return append([]string{"--image-storage=etcd"}, c.etcd...) }

// emptyRecords deletes all records, past the server.
func emptyRecords(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	client := dynamic.NewForConfigOrDie(cp.Config)
	for _, resource := range []string{"storedimagestreams", "storedimages"} {
		records := client.Resource(storagev1.SchemeGroupVersion.WithResource(resource))
		list, err := records.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range list.Items {
			var one dynamic.ResourceInterface = records
			if record.GetNamespace() != "" {
				one = records.Namespace(record.GetNamespace())
			}
			if err := one.Delete(t.Context(), record.GetName(), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// formats counts the payload formats of the image records.
func formats(ctx context.Context, t *testing.T, cp *controlplane.ControlPlane) map[string]int {
	t.Helper()
	list, err := dynamic.NewForConfigOrDie(cp.Config).Resource(storagev1.SchemeGroupVersion.WithResource("storedimages")).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, record := range list.Items {
		spec, _ := record.Object["spec"].(map[string]any)
		format, _ := spec["format"].(string)
		found[format]++
	}
	return found
}
