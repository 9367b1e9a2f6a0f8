package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotations by which importers find the name: containerd reads the first, everything that follows
// the OCI layout specification the second.
const (
	containerdNameAnnotation = "io.containerd.image.name"
	refNameAnnotation        = "org.opencontainers.image.ref.name"
)

// layoutDir and archiveFile are the results for one image below the output folder.
func layoutDir(out, name string) string { return filepath.Join(out, "images", name) }

func archiveFile(out, name string, p platform) string {
	return filepath.Join(out, "images", name+"-"+p.OS+"-"+p.Arch+".tar")
}

// writeLayout replaces an OCI layout whose index.json names one image index under the tag.
func writeLayout(dir, reference, tag string, index v1.ImageIndex) error {
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	target, err := layout.Write(fresh, empty.Index)
	if err != nil {
		return fmt.Errorf("layout %s: %w", dir, err)
	}
	annotations := map[string]string{containerdNameAnnotation: reference, refNameAnnotation: tag}
	if err := target.AppendIndex(index, layout.WithAnnotations(annotations)); err != nil {
		return fmt.Errorf("layout %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(fresh, dir)
}

// writeArchive writes the image of one platform as an OCI layout in a tar file, which
// `ctr images import`, `podman load` and `docker load` understand. Unlike Docker's own archive format
// it keeps the digest of the image.
func writeArchive(file, reference, tag string, image platformImage) error {
	fresh := file + ".new"
	out, err := os.Create(fresh)
	if err != nil {
		return err
	}
	if err := archiveImage(out, reference, tag, image); err != nil {
		out.Close()
		return fmt.Errorf("archive %s: %w", file, err)
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}

func archiveImage(out io.Writer, reference, tag string, one platformImage) error {
	descriptor, err := partial.Descriptor(one.image)
	if err != nil {
		return err
	}
	descriptor.Platform = &v1.Platform{OS: one.platform.OS, Architecture: one.platform.Arch}
	descriptor.Annotations = map[string]string{containerdNameAnnotation: reference, refNameAnnotation: tag}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{*descriptor}})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(out)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: epoch}); err != nil {
			return err
		}
	}
	if err := archiveBlobs(archive, one.image, descriptor.Digest); err != nil {
		return err
	}
	if err := archiveFileEntry(archive, "index.json", int64(len(index)), bytes.NewReader(index)); err != nil {
		return err
	}
	marker := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	if err := archiveFileEntry(archive, "oci-layout", int64(len(marker)), bytes.NewReader(marker)); err != nil {
		return err
	}
	return archive.Close()
}

// archiveBlobs writes layers, configuration and manifest.
func archiveBlobs(archive *tar.Writer, image v1.Image, digest v1.Hash) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		if err := archiveLayer(archive, layer); err != nil {
			return err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	configDigest, err := image.ConfigName()
	if err != nil {
		return err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	if err := archiveFileEntry(archive, blobPath(configDigest), int64(len(config)), bytes.NewReader(config)); err != nil {
		return err
	}
	return archiveFileEntry(archive, blobPath(digest), int64(len(manifest)), bytes.NewReader(manifest))
}

func archiveLayer(archive *tar.Writer, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	size, err := layer.Size()
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return archiveFileEntry(archive, blobPath(digest), size, content)
}

func archiveFileEntry(archive *tar.Writer, name string, size int64, content io.Reader) error {
	header := &tar.Header{Format: tar.FormatUSTAR, Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: epoch}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }
