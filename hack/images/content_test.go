package main

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// contentRepository has one image that carries two folders and no program.
func contentRepository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range map[string]string{
		"images/images.yaml": `images:
- name: papers
  description: Papers.
  content:
  - {path: /a, source: from/a}
  - {path: /b, source: from/b}
  labels: {kind: papers}
`,
		"from/a/one.yaml": "1\n", "from/a/deep/two.yaml": "2\n", "from/b/three.yaml": "3\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAnImageOfContentHoldsNothingElse(t *testing.T) {
	root, out := contentRepository(t), t.TempDir()
	options := smallOptions(root, out)
	options.Only = []string{"papers"}
	mustBuild(t, options)
	index, _, err := readLayout(layoutDir(out, "papers"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.Labels["kind"] != "papers" || len(c.Entrypoint) > 0 || c.User != "" || len(c.Env) > 0 {
		t.Errorf("configuration: %+v", config.Config)
	}
	var files []string
	contents := mutate.Extract(image)
	defer contents.Close()
	for archive := tar.NewReader(contents); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			files = append(files, header.Name)
		}
	}
	slices.Sort(files)
	if want := []string{"a/deep/two.yaml", "a/one.yaml", "b/three.yaml"}; !slices.Equal(files, want) {
		t.Errorf("files %v, want %v", files, want)
	}
	before := digestOf(t, out, "papers")
	if err := os.Rename(filepath.Join(root, "from/a/one.yaml"), filepath.Join(root, "from/a/first.yaml")); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, options)
	if digestOf(t, out, "papers") == before {
		t.Error("a renamed file did not change the image")
	}
}

func TestSettingsOfContentAreChecked(t *testing.T) {
	for what, line := range map[string]string{
		"program":        `{name: a, package: ./cmd/a, description: d, content: [{path: /x, source: x}]}`,
		"user":           `{name: a, description: d, user: "0:0", content: [{path: /x, source: x}]}`,
		"no description": `{name: a, content: [{path: /x, source: x}]}`,
		"source outside": `{name: a, description: d, content: [{path: /x, source: ../x}]}`,
	} {
		if _, err := parseSettings([]byte("images:\n- " + line + "\n")); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}
