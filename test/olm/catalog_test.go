//go:build olm

package olm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"image.alauda.io/registry/test/installed"
	"image.alauda.io/registry/test/nodeimages"
)

const (
	operator     = "cluster-image-registry-operator"
	sampleFolder = "manifests/samples/olm"
	// sampleCatalog is the name that the sample has for people to replace.
	sampleCatalog = "localhost/cluster-image-registry-operator-catalog:dev"
)

// release is one version as hack/bundle and hack/images make it.
type release struct {
	dir     string
	catalog string
	entry   string
}

// publish makes bundle and catalog of a version and brings their images onto the nodes. before is the
// release that it follows, if there is one.
func publish(t *testing.T, cluster *installed.Cluster, version, tag string, before *release) *release {
	t.Helper()
	r := &release{dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(r.dir, "images"), os.DirFS(filepath.Join(cluster.Root, "images"))); err != nil {
		t.Fatal(err)
	}
	arguments := fmt.Sprintf("--out %s/manifests --version %s --registry localhost --tag %s", r.dir, version, tag)
	if before != nil {
		data, err := os.ReadFile(before.entry)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, filepath.Base(before.entry)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		arguments += " --replaces " + strings.TrimSuffix(strings.TrimPrefix(filepath.Base(before.entry), "v"), ".yaml") + " --released " + r.dir
	}
	bundle := func(more string) { cluster.Shell(t, "go run ./hack/bundle "+arguments+more) }
	bundle("")
	pinned := r.pin(t, cluster, operator+"-bundle", tag)
	bundle(" --bundle-image " + pinned) // the bundle's own image is named in the catalog only
	r.catalog = r.pin(t, cluster, operator+"-catalog", tag)
	r.entry = filepath.Join(r.dir, "manifests", "catalog", operator, "v"+version+".yaml")
	return r
}

// pin builds one image of the release with the program that builds the published ones.
func (r *release) pin(t *testing.T, cluster *installed.Cluster, name, tag string) string {
	t.Helper()
	cluster.Shell(t, fmt.Sprintf("go run ./hack/images build --root %[1]s --output %[1]s --only %s --platforms %s --tag %s", r.dir, name, installed.Platform(), tag))
	return nodeimages.Pin(t, name, onlyImage(t, filepath.Join(r.dir, "images", name)))
}

// onlyImage reads the image of the one platform that an OCI layout was built for.
func onlyImage(t *testing.T, dir string) v1.Image {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	index := onlyChild(t, outer, func(h v1.Hash) (v1.ImageIndex, error) { return outer.ImageIndex(h) })
	return onlyChild(t, index, func(h v1.Hash) (v1.Image, error) { return index.Image(h) })
}

func onlyChild[T any](t *testing.T, index v1.ImageIndex, child func(v1.Hash) (T, error)) T {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the built index has %d entries, want one", len(manifest.Manifests))
	}
	found, err := child(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// offer gives the cluster a catalog, as the sample does, and waits until it is served.
func offer(t *testing.T, cluster *installed.Cluster, image string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root, sampleFolder, "catalogsource.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(data), sampleCatalog) != 1 {
		t.Fatalf("the sample does not name %s once:\n%s", sampleCatalog, data)
	}
	cluster.Apply(t, strings.ReplaceAll(string(data), sampleCatalog, image))
	installed.Eventually(t, "the Pod of the catalog", func() error {
		out, err := cluster.TryShell("kubectl -n " + catalogNamespace + ` get pods -l olm.catalogSource=platform -o jsonpath='{range .items[*]}{.spec.initContainers[1].image} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}'`)
		if err != nil || out != image+" True" {
			return fmt.Errorf("%s, want %s (%v)", out, image, err)
		}
		return nil
	})
	cluster.Shell(t, "kubectl -n "+catalogNamespace+" wait catalogsource platform --for=jsonpath='{.status.connectionState.lastObservedState}'=READY --timeout=300s")
}
