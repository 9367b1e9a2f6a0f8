package images

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func archive(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNamesAreFoundInBothFormats(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"docker": {map[string]string{"manifest.json": `[{"Config":"c","RepoTags":["localhost/b:1","localhost/a:1"]}]`},
			[]string{"localhost/a:1", "localhost/b:1"}},
		"short names as containerd stores them": {map[string]string{"manifest.json": `[{"RepoTags":["busybox"]}]`},
			[]string{"docker.io/library/busybox:latest"}},
		"oci": {map[string]string{"./index.json": `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"localhost/a:1"}}]}`},
			[]string{"localhost/a:1"}},
		"oci of containerd": {map[string]string{"index.json": `{"manifests":[{"annotations":{"io.containerd.image.name":"localhost/a:1","org.opencontainers.image.ref.name":"1"}}]}`},
			[]string{"localhost/a:1"}},
		"by digest": {map[string]string{"index.json": `{"manifests":[{"annotations":{"io.containerd.image.name":"localhost/a@sha256:` + strings.Repeat("0", 64) + `"}}]}`},
			[]string{"localhost/a@sha256:" + strings.Repeat("0", 64)}},
	} {
		got, err := readNames(bytes.NewReader(archive(t, tc.files)))
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.want)
		}
	}
}

func TestFilesWithoutANamedImageAreRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no image":       {"readme": "x"},
		"no name":        {"manifest.json": `[{"Config":"c"}]`},
		"bare tag":       {"index.json": `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"latest"}}]}`},
		"malformed name": {"manifest.json": `[{"RepoTags":["A B"]}]`},
		"malformed json": {"index.json": `{`},
	} {
		if got, err := readNames(bytes.NewReader(archive(t, files))); err == nil {
			t.Errorf("%s: %q without an error", name, got)
		}
	}
	if _, err := readNames(bytes.NewReader([]byte("no tar at all, but long enough"))); err == nil {
		t.Error("text passes as an image")
	}
}

func FuzzReadNames(f *testing.F) {
	f.Add(archive(f, map[string]string{"manifest.json": `[{"RepoTags":["localhost/b:1"]}]`}))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = readNames(bytes.NewReader(b)) })
}

func TestTheSameProgramGivesTheSameImage(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pause")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, path := range []string{filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")} {
		if err := WriteProgram(program, "localhost/pause:dev", path); err != nil {
			t.Fatal(err)
		}
		names, err := Names(path)
		if err != nil || !slices.Equal(names, []string{"localhost/pause:dev"}) {
			t.Errorf("names %q, %v", names, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two runs differ")
	}
}

func TestImagesAreLoadedAgainWhenTheNodeLostThem(t *testing.T) {
	r := record{"h": {"a:1": "sha256:1"}}
	for name, tc := range map[string]struct {
		hash string
		have map[string]string
		want bool
	}{
		"same":          {"h", map[string]string{"a:1": "sha256:1", "other": "x"}, true},
		"other file":    {"i", map[string]string{"a:1": "sha256:1"}, false},
		"image moved":   {"h", map[string]string{"a:1": "sha256:2"}, false},
		"image is gone": {"h", nil, false},
	} {
		if got := r.holds(tc.hash, []string{"a:1"}, tc.have); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestListOfCtrIsRead(t *testing.T) {
	const table = `REF                 TYPE                                                 DIGEST     SIZE    PLATFORMS   LABELS
localhost/pause:dev application/vnd.docker.distribution.manifest.v2+json sha256:abc 1.0 MiB linux/amd64 io.cri-containerd.image=managed
`
	if diff := cmp.Diff(map[string]string{"localhost/pause:dev": "sha256:abc"}, parseList(table)); diff != "" {
		t.Error(diff)
	}
}

func TestCtrIsExplainedInOneLine(t *testing.T) {
	for stderr, want := range map[string]string{
		"level=warning msg=\"old\"\nctr: image might be filtered out\n": "the file has no image for linux/" + goarch,
		"level=warning msg=\"old\"\nctr: no space left\n":               "no space left",
		"": "",
	} {
		if got := explain(stderr); got != want {
			t.Errorf("%q: %q, want %q", stderr, got, want)
		}
	}
}

func TestANewNodeGetsWhatFilesBroughtAndIsStillThere(t *testing.T) {
	r := record{
		"older": {"a:1": "sha256:1"},
		"newer": {"a:1": "sha256:2", "b:1": "sha256:3"},
		"gone":  {"c:1": "sha256:4"},
	}
	have := map[string]string{"a:1": "sha256:2", "b:1": "sha256:3", "pulled:1": "sha256:5"}
	if diff := cmp.Diff(map[string]string{"a:1": "sha256:2", "b:1": "sha256:3"}, r.current(have)); diff != "" {
		t.Error(diff)
	}
}

// fakeCtr is a ctr whose images are lines of a file, and whose exported archive is a list of such lines.
func fakeCtr(t *testing.T, images string) (*Target, string) {
	t.Helper()
	dir := t.TempDir()
	store := filepath.Join(dir, "images")
	if err := os.WriteFile(store, []byte(images), 0o644); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "ctr")
	const program = `#!/bin/sh
store=$1; shift 5; verb=$2; file=$3
case $verb in
list) cat "$store" ;;
export) shift 3; for n in "$@"; do grep "^$n " "$store"; done >"$file" ;;
import) cat "$file" >>"$store" ;;
esac
`
	if err := os.WriteFile(script, []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Target{Node: "node", Command: []string{script, store}, Record: filepath.Join(dir, "loaded.json")}, store
}

func TestImagesAreCopiedOnceAndThenCountAsLoaded(t *testing.T) {
	source, _ := fakeCtr(t, "a:1 type sha256:1\npulled:1 type sha256:2\n")
	if err := source.write(record{"h": {"a:1": "sha256:1"}}); err != nil {
		t.Fatal(err)
	}
	target, store := fakeCtr(t, "")
	for range 2 {
		if err := target.CopyFrom(t.Context(), source, filepath.Join(t.TempDir(), "images.tar")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(store)
	if err != nil || string(got) != "a:1 type sha256:1\n" {
		t.Errorf("the new node has %q, %v", got, err)
	}
	if diff := cmp.Diff(record{"h": {"a:1": "sha256:1"}}, target.read()); diff != "" {
		t.Error(diff)
	}
}
