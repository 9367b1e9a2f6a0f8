//go:build component

package imageapi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const namespace = "bench"

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// number makes names that no earlier run of a benchmark has used.
var number atomic.Int64

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// onEachBackend runs a benchmark over both places where objects can be stored.
func onEachBackend(b *testing.B, run func(b *testing.B, s *imageapi.Server)) {
	b.Helper()
	cp := shared.Get(b)
	for _, backend := range []struct {
		name  string
		flags []string
	}{
		{"crd", nil},
		{"etcd", []string{"--image-storage=etcd", "--etcd-servers=" + cp.EtcdEndpoint, "--etcd-prefix=/bench"}},
	} {
		b.Run(backend.name, func(b *testing.B) {
			s := imageapi.Start(b, cp, backend.flags...)
			imageapi.CreateNamespace(b, s.Kube, namespace)
			run(b, s)
		})
	}
}

func newImage(stream string) imagev1.Image {
	name := digest(fmt.Sprint("image ", number.Add(1)))
	image := imagev1.Image{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
		}},
		DockerImageReference:         imageapi.InternalHost + "/" + namespace + "/" + stream + "@" + name,
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
	}
	for i := range 12 {
		image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{
			Name: digest(fmt.Sprint(name, i)), LayerSize: 1000, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
		})
	}
	return image
}

func newStream(b *testing.B, s *imageapi.Server) string {
	b.Helper()
	name := fmt.Sprint("stream-", number.Add(1))
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.Images.ImageV1().ImageStreams(namespace).Create(b.Context(), stream, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	return name
}

func push(b *testing.B, s *imageapi.Server, stream, tag string) error {
	mapping := &imagev1.ImageStreamMapping{ObjectMeta: metav1.ObjectMeta{Name: stream}, Image: newImage(stream), Tag: tag}
	_, err := s.Images.ImageV1().ImageStreamMappings(namespace).Create(b.Context(), mapping, metav1.CreateOptions{})
	return err
}

func BenchmarkImages(b *testing.B) { onEachBackend(b, images) }

func images(b *testing.B, s *imageapi.Server) {
	var name string
	b.Run("create", func(b *testing.B) {
		for b.Loop() {
			image := newImage("none")
			name = image.Name
			if _, err := s.Images.ImageV1().Images().Create(b.Context(), &image, metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Images.ImageV1().Images().Get(b.Context(), name, metav1.GetOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list 100", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Images.ImageV1().Images().List(b.Context(), metav1.ListOptions{Limit: 100}); err != nil {
				b.Fatal(err)
			}
		}
	})
	// From the creation of a stream until its watcher hears of it.
	b.Run("watch", func(b *testing.B) {
		list, err := s.Images.ImageV1().ImageStreams(namespace).List(b.Context(), metav1.ListOptions{Limit: 1})
		if err != nil {
			b.Fatal(err)
		}
		events, err := s.Images.ImageV1().ImageStreams(namespace).Watch(b.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			b.Fatal(err)
		}
		defer events.Stop()
		for b.Loop() {
			name := newStream(b, s)
			for event := range events.ResultChan() {
				if stream, ok := event.Object.(*imagev1.ImageStream); ok && stream.Name == name {
					break
				}
			}
		}
	})
}

// Pushes record one mapping each. On one stream they contend for the same object.
func BenchmarkMappings(b *testing.B) { onEachBackend(b, mappings) }

func mappings(b *testing.B, s *imageapi.Server) {
	b.Run("one after the other", func(b *testing.B) {
		stream := newStream(b, s)
		for b.Loop() {
			if err := push(b, s, stream, "latest"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel on one stream", func(b *testing.B) {
		stream := newStream(b, s)
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := push(b, s, stream, "latest"); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("parallel on a stream each", func(b *testing.B) {
		b.SetParallelism(4)
		b.RunParallel(func(pb *testing.PB) {
			stream := newStream(b, s)
			for pb.Next() {
				if err := push(b, s, stream, "latest"); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
