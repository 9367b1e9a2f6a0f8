package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of every file and image: nothing of the moment of the build may be in the result.
var epoch = time.Unix(0, 0).UTC()

const (
	// caBundlePath is where Go looks for root certificates, and where Debian keeps them.
	caBundlePath = "/etc/ssl/certs/ca-certificates.crt"

	passwd = "root:x:0:0:root:/:/sbin/nologin\nregistry:x:1001:1001:image registry:/:/sbin/nologin\n"
	group  = "root:x:0:\nregistry:x:1001:\n"
)

// entry is one file or directory of a layer. Directories have no source and no data.
type entry struct {
	path   string
	mode   int64
	data   []byte
	source string
}

func (e entry) dir() bool { return e.source == "" && e.data == nil }

// baseEntries are the files that every image has.
func baseEntries(image imageSettings, caBundle []byte) []entry {
	entries := []entry{
		{path: "/etc/passwd", mode: 0o644, data: []byte(passwd)},
		{path: "/etc/group", mode: 0o644, data: []byte(group)},
		{path: "/tmp", mode: 0o1777},
	}
	if image.CABundle {
		entries = append(entries, entry{path: caBundlePath, mode: 0o644, data: caBundle})
	}
	return entries
}

// productEntries are the binary and the files that only this image has.
func productEntries(root string, image imageSettings, binary string) []entry {
	entries := []entry{{path: image.entrypoint(), mode: 0o755, source: binary}}
	for _, file := range image.Files {
		entries = append(entries, entry{path: file.Path, mode: 0o644, source: filepath.Join(root, file.Source)})
	}
	return entries
}

// contentEntries are the files below the folders of an image without program.
func contentEntries(root string, image imageSettings) ([]entry, error) {
	var entries []entry
	for _, folder := range image.Content {
		source := filepath.Join(root, folder.Source)
		err := filepath.WalkDir(source, func(file string, found fs.DirEntry, err error) error {
			if err != nil || found.IsDir() {
				return err
			}
			below, err := filepath.Rel(source, file)
			entries = append(entries, entry{path: path.Join(folder.Path, filepath.ToSlash(below)), mode: 0o644, source: file})
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	return entries, nil
}

// newLayer makes a compressed layer. Its compressed form is kept in memory, because it is needed for
// the digest, the layout and the archive.
func newLayer(entries []entry) (v1.Layer, error) {
	ordered := withParents(entries)
	open := func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(writeTar(writer, ordered)) }()
		return reader, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

// withParents adds the directories above each entry and sorts by path, parents first.
func withParents(entries []entry) []entry {
	byPath := map[string]entry{}
	for _, e := range entries {
		for dir := path.Dir(e.path); dir != "/"; dir = path.Dir(dir) {
			if _, known := byPath[dir]; !known {
				byPath[dir] = entry{path: dir, mode: 0o755}
			}
		}
		byPath[e.path] = e
	}
	ordered := make([]entry, 0, len(byPath))
	for _, e := range byPath {
		ordered = append(ordered, e)
	}
	slices.SortFunc(ordered, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return ordered
}

func writeTar(out io.Writer, entries []entry) error {
	archive := tar.NewWriter(out)
	for _, e := range entries {
		if err := writeEntry(archive, e); err != nil {
			return fmt.Errorf("layer entry %s: %w", e.path, err)
		}
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, e entry) error {
	header := &tar.Header{Format: tar.FormatUSTAR, Name: strings.TrimPrefix(e.path, "/"), Mode: e.mode, ModTime: epoch}
	if e.dir() {
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return archive.WriteHeader(header)
	}
	header.Typeflag = tar.TypeReg
	content := io.Reader(bytes.NewReader(e.data))
	header.Size = int64(len(e.data))
	if e.source != "" {
		file, err := os.Open(e.source)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		content, header.Size = file, info.Size()
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}
