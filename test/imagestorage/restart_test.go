//go:build component

package imagestorage

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const (
	manyImages = 30000
	// mostMemory is what the server may keep for them, in bytes of live memory.
	mostMemory = 250 << 20
)

// TestRestartWithManyImages: a client that lists by pages does not notice that the server restarts between two
// of them; what is gone from etcd is answered as expired; and the copies that the server makes are bounded.
//
// Behaviour 58.
func TestRestartWithManyImages(t *testing.T) {
	// A watch cache of kube-apiserver would answer for revisions that are gone.
	cp := controlplane.Start(t, controlplane.WithAPIServerFlags("--watch-cache=false", "--etcd-compaction-interval=0"))
	t.Run("kinds", func(t *testing.T) { imageapi.Start(t, cp) })
	newCommand(cp, "").must(t, "import", "--file="+manyImagesFile(t))

	var next string
	seen := map[string]bool{}
	t.Run("first page", func(t *testing.T) {
		next = page(t, imageapi.Start(t, cp), "", seen)
	})
	before := liveMemory()
	server := imageapi.Start(t, cp)
	waitReady(t, server)
	if grown := liveMemory() - before; grown > mostMemory {
		t.Errorf("the server keeps %d MiB for %d images, at most %d are planned", grown>>20, manyImages, mostMemory>>20)
	} else {
		t.Logf("%d MiB of live memory for %d images", grown>>20, manyImages)
	}
	for next != "" {
		next = page(t, server, next, seen)
	}
	if len(seen) != manyImages {
		t.Errorf("the pages before and after the restart have %d images, want %d", len(seen), manyImages)
	}

	next = page(t, server, "", map[string]bool{})
	compact(t, cp)
	_, err := server.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{Limit: 1000, Continue: next})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a page of a version that is gone: %v, want that it has expired", err)
	}
}

// page reads a page and returns where the next one begins.
func page(t *testing.T, s *imageapi.Server, from string, seen map[string]bool) string {
	t.Helper()
	list, err := s.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{Limit: 1000, Continue: from})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if name := list.Items[i].Name; seen[name] {
			t.Fatalf("image %s is listed twice", name)
		} else {
			seen[strings.Clone(name)] = true
		}
	}
	return list.Continue
}

// manyImagesFile is an export of images of twelve layers.
func manyImagesFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "images.json")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	buffer := bufio.NewWriter(file)
	lines := json.NewEncoder(buffer)
	for n := range manyImages {
		one := image(digestOf(fmt.Sprint("image ", n)), imageapi.InternalHost+"/many/app")
		one.TypeMeta = metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "Image"}
		one.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
		one.CreationTimestamp = metav1.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
		one.DockerImageLayers = nil
		for layer := range 12 {
			// The lower layers are those of many images.
			one.DockerImageLayers = append(one.DockerImageLayers, imagev1.ImageLayer{
				Name: digestOf(fmt.Sprint("layer ", layer, n>>max(0, 11-layer))), LayerSize: 1 << 20, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
			})
		}
		if err := lines.Encode(one); err != nil {
			t.Fatal(err)
		}
	}
	if err := buffer.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func liveMemory() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// waitReady waits until the server has read everything that it keeps.
func waitReady(t *testing.T, s *imageapi.Server) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // It is asked for its state, on loopback.
	url := fmt.Sprintf("https://127.0.0.1:%d/readyz", s.Port)
	if err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 5*time.Minute, true, func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // It is not there yet.
		}
		return answer.StatusCode == http.StatusOK, answer.Body.Close()
	}); err != nil {
		t.Fatalf("the server is not ready: %v", err)
	}
}

// compact lets etcd forget everything but the latest versions.
func compact(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{cp.EtcdEndpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	written, err := client.Put(t.Context(), "/test/compact", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), written.Header.Revision); err != nil {
		t.Fatal(err)
	}
}
