// Package images makes the one image the cluster needs itself and puts images
// from tar files onto nodes.
//
// In: programs and tar files in OCI or docker format. Out: images in the
// containerd namespace that kubelets use, tagged as the tar file says. An image
// that a node has from the same file is not sent again. It never talks to a
// registry.
package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// WriteProgram writes a tar file with an image of one static program that is
// also its entry point. The result depends on the program alone.
func WriteProgram(program, tag, path string) error {
	layerTar, err := programLayer(program)
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layerTar)), nil
	})
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	config.OS, config.Architecture = "linux", goarch
	config.Config.Entrypoint = []string{"/" + filepath.Base(program)}
	config.Config.User = "65535:65535"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := tarball.WriteToFile(tmp, ref, image); err != nil {
		return fmt.Errorf("image %s: %w", tag, err)
	}
	return os.Rename(tmp, path)
}

func programLayer(program string) ([]byte, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
