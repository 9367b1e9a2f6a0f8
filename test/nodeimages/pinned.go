package nodeimages

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// nameAnnotation is where containerd looks for the name of an image in an archive.
const nameAnnotation = "io.containerd.image.name"

// LoadPinned imports an image of the files on every node and returns its reference by digest. Programs that
// always pull what has a tag, as the lifecycle manager does, use such an image as it is on the node.
func LoadPinned(t *testing.T, image string, files ...File) string {
	t.Helper()
	built, err := build(image, files)
	if err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	return Pin(t, image, built)
}

// Pin imports a built image on every node and returns its reference by digest. It ends the test on failure.
func Pin(t *testing.T, image string, built v1.Image) string {
	t.Helper()
	reference, archive, err := pinnedArchive(t.TempDir(), image, built)
	if err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	if err := importEverywhere(t.Context(), archive); err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	return reference
}

// pinnedArchive writes the image as an OCI layout in a tar file; Docker's format knows tags only.
func pinnedArchive(dir, image string, built v1.Image) (reference, archive string, err error) {
	digest, err := built.Digest()
	if err != nil {
		return "", "", err
	}
	reference = "localhost/test/" + image + "@" + digest.String()
	files, err := layout.Write(filepath.Join(dir, "layout"), empty.Index)
	if err != nil {
		return "", "", err
	}
	if err := files.AppendImage(built, layout.WithAnnotations(map[string]string{nameAnnotation: reference})); err != nil {
		return "", "", err
	}
	archive = filepath.Join(dir, image+".tar")
	out, err := os.Create(archive)
	if err != nil {
		return "", "", err
	}
	defer out.Close()
	writer := tar.NewWriter(out)
	if err := writer.AddFS(os.DirFS(filepath.Join(dir, "layout"))); err != nil {
		return "", "", fmt.Errorf("archive of %s: %w", reference, err)
	}
	return reference, archive, writer.Close()
}
