// Package nodeimages brings programs of tests onto the nodes of the development cluster.
//
// In go a static binary and the files that it needs; out comes an image of exactly these, imported
// into the container runtime of every node, and its reference. The nodes reach no registry but the
// one under test, and that one may be what a test breaks, so servers that tests run as Pods (an S3
// gateway, an Ingress controller, a lifecycle manager) cannot be pulled from anywhere.
//
// The name carries the image's content, so a Pod never runs an older build under the same name, and
// an image that every node has is not imported again. Use `imagePullPolicy: IfNotPresent` or Never.
// The package never removes an image: the cluster goes away with them.
package nodeimages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one more file of an image, with a given content and mode. A file without a mode is readable
// for everyone.
type File struct {
	Path string
	Data []byte
	Mode int64
}

const (
	// userID runs the program unless the Pod says otherwise; it is no user of the node.
	userID = "1001:1001"
	// tmpDir is writable for everyone, as programs expect.
	tmpDir = "/tmp"
	// loadTimeout bounds the import on all nodes.
	loadTimeout = 3 * time.Minute
)

// Load makes an image around the static binary, which becomes /NAME and the entrypoint, imports it
// on every node of the development cluster and returns its reference. It ends the test on failure.
func Load(t *testing.T, image, binary string, files ...File) string {
	t.Helper()
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatalf("node image %s: the program is not built: %v", image, err)
	}
	built, err := build(image, append(files, File{Path: "/" + image, Data: program, Mode: 0o755}))
	if err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	reference, err := referenceOf(image, built)
	if err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(archive, reference, built); err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	if err := importEverywhere(t.Context(), archive); err != nil {
		t.Fatalf("node image %s: %v", image, err)
	}
	return reference.Name()
}

// build makes the image: one layer, no base, and the program of the image's name as entrypoint.
func build(image string, files []File) (v1.Image, error) {
	archive, err := layerOf(files)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, err
	}
	built, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := built.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{User: userID, Entrypoint: []string{"/" + image}, WorkingDir: "/", Env: []string{"PATH=/:/bin", "HOME=" + tmpDir}}
	return mutate.ConfigFile(built, config)
}

func layerOf(files []File) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	tmp := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeDir, Name: strings.TrimPrefix(tmpDir, "/") + "/", Mode: 0o1777}
	if err := archive.WriteHeader(tmp); err != nil {
		return nil, err
	}
	for _, file := range files {
		mode := file.Mode
		if mode == 0 {
			mode = 0o644
		}
		header := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: strings.TrimPrefix(file.Path, "/"), Mode: mode, Size: int64(len(file.Data))}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("file %s: %w", file.Path, err)
		}
		if _, err := archive.Write(file.Data); err != nil {
			return nil, fmt.Errorf("file %s: %w", file.Path, err)
		}
	}
	return out.Bytes(), archive.Close()
}

// referenceOf names the image by its content. The kubelet never asks a registry for names below
// localhost/.
func referenceOf(image string, built v1.Image) (name.Tag, error) {
	digest, err := built.ConfigName()
	if err != nil {
		return name.Tag{}, err
	}
	return name.NewTag("localhost/test/"+image+":"+digest.Hex[:16], name.StrictValidation)
}

// importEverywhere lets the cluster's own program load an archive.
func importEverywhere(ctx context.Context, archive string) error {
	devcluster, err := program()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, devcluster, "load", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s into the nodes: %w\n%s", filepath.Base(archive), err, out)
	}
	return nil
}

// program finds the development cluster's program in the output folder of the work tree that the
// test runs in.
func program() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no work tree above the working directory")
		}
		dir = parent
	}
	devcluster := filepath.Join(dir, "_output", "bin", "devcluster")
	if _, err := os.Stat(devcluster); err != nil {
		return "", fmt.Errorf("the development cluster is not there, run `make up`: %w", err)
	}
	return devcluster, nil
}
