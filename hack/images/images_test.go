package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

var update = flag.Bool("update", false, "rewrite the Dockerfiles")

const repository = "../.."

// smallRepository is a module with one image: compiling it needs no other package.
func smallRepository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":             "module example.test/small\n\ngo 1.26\n",
		"cmd/tool/main.go":   "package main\n\nfunc main() { println(\"tool\") }\n",
		"images/tool/config": "setting: 1\n",
		"ca.crt":             "certificates\n",
		"images/images.yaml": `images:
- {name: tool, package: ./cmd/tool, description: A tool., user: "1001:1001", caBundle: true, files: [{path: /etc/tool/config, source: images/tool/config}]}
- {name: absent, package: ./cmd/absent, description: Not there yet., user: "0:0"}
`,
	} {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func smallOptions(root, out string) buildOptions {
	options := defaultBuildOptions()
	options.Root, options.Out, options.CABundle = root, out, filepath.Join(root, "ca.crt")
	options.Only = []string{"tool"}
	return options
}

func mustBuild(t *testing.T, options buildOptions) string {
	t.Helper()
	// A workspace around the test must not decide how the small module is compiled.
	t.Setenv("GOWORK", "off")
	var log bytes.Buffer
	if err := build(context.Background(), options, &log); err != nil {
		t.Fatalf("build: %v\n%s", err, log.String())
	}
	return log.String()
}

// digestOf reads the digest of an image that was built.
func digestOf(t *testing.T, out, name string) string {
	t.Helper()
	index, _, err := readLayout(layoutDir(out, name))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func TestTheSameInputGivesTheSameResult(t *testing.T) {
	root, first, second := smallRepository(t), t.TempDir(), t.TempDir()
	mustBuild(t, smallOptions(root, first))
	mustBuild(t, smallOptions(root, second))
	if a, b := digestOf(t, first, "tool"), digestOf(t, second, "tool"); a != b {
		t.Errorf("built twice: %s and %s", a, b)
	}
	for _, p := range []platform{{"linux", "amd64"}, {"linux", "arm64"}} {
		a, errA := os.ReadFile(archiveFile(first, "tool", p))
		b, errB := os.ReadFile(archiveFile(second, "tool", p))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("archives of %s differ (%v, %v)", p, errA, errB)
		}
	}
}

func TestBinariesAreCompiledWithoutImages(t *testing.T) {
	t.Setenv("GOWORK", "off")
	out := t.TempDir()
	options := smallOptions(smallRepository(t), out)
	options.CABundle = filepath.Join(out, "none") // no image, no certificates
	if err := binaries(context.Background(), options, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, p := range options.Platforms {
		if _, err := os.Stat(filepath.Join(out, "bin", strings.ReplaceAll(p, "/", "_"), "tool")); err != nil {
			t.Errorf("no binary for %s: %v", p, err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "images")); !os.IsNotExist(err) {
		t.Errorf("the folder of images: %v, want none", err)
	}
	options.Only = nil
	if err := binaries(context.Background(), options, io.Discard); err == nil || !strings.Contains(err.Error(), "./cmd/absent") {
		t.Errorf("with a package that has no source the error is %v", err)
	}
}

func TestAnImageIsBuiltAgainOnlyWhenItsInputChanged(t *testing.T) {
	root, out := smallRepository(t), t.TempDir()
	options := smallOptions(root, out)
	mustBuild(t, options)
	before := digestOf(t, out, "tool")
	if log := mustBuild(t, options); !strings.Contains(log, "localhost/tool:dev is up to date") {
		t.Errorf("second build did not skip: %s", log)
	}
	if err := os.WriteFile(filepath.Join(root, "images/tool/config"), []byte("setting: 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if log := mustBuild(t, options); strings.Contains(log, "up to date") || digestOf(t, out, "tool") == before {
		t.Errorf("a changed file did not change the image: %s", log)
	}
	if err := os.Remove(archiveFile(out, "tool", platform{"linux", "arm64"})); err != nil {
		t.Fatal(err)
	}
	if log := mustBuild(t, options); strings.Contains(log, "up to date") {
		t.Errorf("a missing archive was not noticed: %s", log)
	}
}

func TestAnImageHoldsItsFilesAndSettings(t *testing.T) {
	root, out := smallRepository(t), t.TempDir()
	mustBuild(t, smallOptions(root, out))
	index, tag, err := readLayout(layoutDir(out, "tool"))
	if err != nil || tag != "dev" {
		t.Fatalf("layout: tag %q, %v", tag, err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("index is not valid: %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("index: %+v, %v", manifest, err)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		descriptor := manifest.Manifests[i]
		if got := descriptor.Platform.String(); got != "linux/"+arch {
			t.Errorf("platform %d is %s", i, got)
		}
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Config.User != "1001:1001" || len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != "/usr/bin/tool" ||
			config.Config.Labels["org.opencontainers.image.title"] != "tool" || !config.Created.Equal(epoch) || config.Architecture != arch {
			t.Errorf("configuration: %+v", config)
		}
		checkFiles(t, image)
	}
}

func checkFiles(t *testing.T, image v1.Image) {
	t.Helper()
	modes := map[string]int64{}
	reader := mutate.Extract(image)
	defer reader.Close()
	for archive := tar.NewReader(reader); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(epoch) {
			t.Errorf("%s: owner %d:%d, time %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		modes[strings.TrimSuffix(header.Name, "/")] = header.Mode
	}
	for file, mode := range map[string]int64{
		"usr/bin/tool": 0o755, "etc/tool/config": 0o644, "etc/passwd": 0o644, "etc/group": 0o644,
		"etc/ssl/certs/ca-certificates.crt": 0o644, "tmp": 0o1777,
	} {
		if got, found := modes[file]; !found || got != mode {
			t.Errorf("%s: mode %o (found %v), want %o", file, got, found, mode)
		}
	}
}

func TestAnArchiveIsALayoutThatImportersCanName(t *testing.T) {
	root, out := smallRepository(t), t.TempDir()
	options := smallOptions(root, out)
	options.Platforms, options.Registry, options.Tag = []string{"linux/amd64"}, "registry.example.com/team", "v1"
	mustBuild(t, options)

	dir := t.TempDir()
	file, err := os.Open(archiveFile(out, "tool", platform{"linux", "amd64"}))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpack(t, file, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(manifest.Manifests[0].Annotations)
	want := `{"io.containerd.image.name":"registry.example.com/team/tool:v1","org.opencontainers.image.ref.name":"v1"}`
	if string(got) != want {
		t.Errorf("annotations %s, want %s", got, want)
	}
}

func unpack(t *testing.T, in io.Reader, dir string) {
	t.Helper()
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(dir, header.Name)
		if header.Typeflag == tar.TypeDir {
			err = os.MkdirAll(target, 0o755)
		} else {
			var data []byte
			if data, err = io.ReadAll(archive); err == nil {
				err = os.WriteFile(target, data, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestPushSendsTheIndexUnderItsTag(t *testing.T) {
	root, out := smallRepository(t), t.TempDir()
	mustBuild(t, smallOptions(root, out))
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	options := defaultPushOptions()
	options.Root, options.Out, options.Registry, options.Only = root, out, host+"/team", []string{"tool"}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := push(context.Background(), options, &log); err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(host + "/team/tool:dev")
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := remote.Get(reference)
	if err != nil || descriptor.Digest.String() != digestOf(t, out, "tool") {
		t.Errorf("pushed %v (%v), want %s", descriptor, err, digestOf(t, out, "tool"))
	}
}

func TestMissingSourcesAreNamedAfterTheOthersWereBuilt(t *testing.T) {
	root, out := smallRepository(t), t.TempDir()
	t.Setenv("GOWORK", "off")
	options := smallOptions(root, out)
	options.Only, options.Platforms = nil, []string{"linux/amd64"}
	err := build(context.Background(), options, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "./cmd/absent") {
		t.Errorf("got %v, want an error that names ./cmd/absent", err)
	}
	if _, _, err := readLayout(layoutDir(out, "tool")); err != nil {
		t.Errorf("the other image was not built: %v", err)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for what, change := range map[string]func(*buildOptions){
		"platform": func(o *buildOptions) { o.Platforms = []string{"windows/amd64"} },
		"none":     func(o *buildOptions) { o.Platforms = nil },
		"tag":      func(o *buildOptions) { o.Tag = "a b" },
		"registry": func(o *buildOptions) { o.Registry = "UPPER/case" },
	} {
		options := defaultBuildOptions()
		change(&options)
		if err := options.Validate(); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if err := defaultBuildOptions().Validate(); err != nil {
		t.Errorf("defaults are refused: %v", err)
	}
	if err := defaultPushOptions().Validate(); err == nil {
		t.Error("push without --registry accepted")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for what, line := range map[string]string{
		"unknown field":   `{name: a, package: ./cmd/a, description: d, user: "0:0", colour: red}`,
		"user by name":    `{name: a, package: ./cmd/a, description: d, user: root}`,
		"package":         `{name: a, package: ./cmd/b, description: d, user: "0:0"}`,
		"no description":  `{name: a, package: ./cmd/a, user: "0:0"}`,
		"source outside":  `{name: a, package: ./cmd/a, description: d, user: "0:0", files: [{path: /x, source: ../x}]}`,
		"relative target": `{name: a, package: ./cmd/a, description: d, user: "0:0", files: [{path: x, source: x}]}`,
	} {
		if _, err := parseSettings([]byte("images:\n- " + line + "\n")); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func TestVersionIsSemantic(t *testing.T) {
	for described, want := range map[string]string{
		"": "v0.0.0-dev", "v1.2.3": "v1.2.3", "v1.2.3-4-gabc1234": "v1.2.3-4-gabc1234", "0123456": "v0.0.0-g0123456",
	} {
		if got := versionFrom(described); got != want {
			t.Errorf("versionFrom(%q) = %q, want %q", described, got, want)
		}
	}
}

func TestDockerfilesAgreeWithTheSettings(t *testing.T) {
	if *update {
		if err := dockerfiles(repository); err != nil {
			t.Fatal(err)
		}
	}
	images, err := loadSettings(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range images {
		if image.Sample {
			continue
		}
		want, err := renderDockerfile(image)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dockerfilePath(repository, image))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("images/%s/Dockerfile is not current (%v); run: go run ./hack/images dockerfiles", image.Name, err)
		}
	}
}
