package nodeimages

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestAnImageHasItsProgramAsEntrypointAndItsFiles(t *testing.T) {
	built, err := build("server", []File{{Path: "/etc/server/config", Data: []byte("port: 1")}, {Path: "/server", Data: []byte("program"), Mode: 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := built.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/server" {
		t.Errorf("entrypoint is %v", got)
	}
	content := mutate.Extract(built)
	defer content.Close()
	modes := map[string]int64{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[header.Name] = header.Mode
	}
	for name, mode := range map[string]int64{"etc/server/config": 0o644, "server": 0o755, "tmp": 0o1777} {
		if got, there := modes[name]; !there || got != mode {
			t.Errorf("%s has mode %o, there: %t; want %o; all: %v", name, got, there, mode, modes)
		}
	}
}

func TestTheReferenceFollowsTheContent(t *testing.T) {
	references := map[string]bool{}
	for _, content := range []string{"one", "two", "one"} {
		built, err := build("server", []File{{Path: "/server", Data: []byte(content), Mode: 0o755}})
		if err != nil {
			t.Fatal(err)
		}
		reference, err := referenceOf("server", built)
		if err != nil {
			t.Fatal(err)
		}
		references[reference.Name()] = true
	}
	if len(references) != 2 {
		t.Errorf("two contents have %d references: %v", len(references), references)
	}
}

// A pinned image keeps its digest in the archive, and containerd finds there the name that says so.
func TestAPinnedImageIsNamedByItsDigest(t *testing.T) {
	built, err := build("server", []File{{Path: "/bin/server", Data: []byte("program"), Mode: 0o755}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := built.Digest()
	if err != nil {
		t.Fatal(err)
	}
	reference, archive, err := pinnedArchive(t.TempDir(), "server", built)
	if err != nil {
		t.Fatal(err)
	}
	if want := "localhost/test/server@" + digest.String(); reference != want {
		t.Errorf("reference %s, want %s", reference, want)
	}
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	found := map[string]string{}
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = string(content)
	}
	if _, there := found["blobs/sha256/"+digest.Hex]; !there || !strings.Contains(found["index.json"], reference) || found["oci-layout"] == "" {
		t.Errorf("the archive has %d files, the manifest: %t, index.json: %s", len(found), there, found["index.json"])
	}
}
