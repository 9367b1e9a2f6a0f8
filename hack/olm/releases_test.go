package olm

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/blang/semver/v4"
	"github.com/operator-framework/operator-registry/alpha/declcfg"
)

// Behaviour operator 85: a catalog of three releases, each made when those before it were out. The framework finds
// one head, the way to it through all of them, and that each may be skipped.
func TestCatalogOfThreeReleases(t *testing.T) {
	versions := []string{"0.2.0", "0.9.0", "0.10.0"}
	root, out, released := t.TempDir(), t.TempDir(), t.TempDir()
	absolute, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "hack", "bundle"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifests", "hack/bundle/base.yaml", "hack/bundle/icon.svg"} {
		if err := os.Symlink(filepath.Join(absolute, name), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	history := ""
	for _, version := range versions {
		settings := "{version: " + version + ", createdAt: \"2026-01-01T00:00:00Z\", history: [" + history + "]}"
		if err := os.WriteFile(filepath.Join(root, "hack", "bundle", "release.yaml"), []byte(settings), 0o644); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), "go", "run", "./hack/bundle", "--root", root, "--out", out, "--released", released)
		command.Dir, command.Env = absolute, append(os.Environ(), "GOWORK=")
		if text, err := command.CombinedOutput(); err != nil {
			t.Fatalf("release %s: %v\n%s", version, err, text)
		}
		entry := "v" + version + ".yaml"
		data, err := os.ReadFile(filepath.Join(out, "catalog", packageName, entry))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(released, entry), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if history != "" {
			history += ", "
		}
		history += version
	}
	config, err := declcfg.LoadFS(t.Context(), os.DirFS(filepath.Join(out, "catalog")))
	if err != nil {
		t.Fatal(err)
	}
	packages, err := declcfg.ConvertToModel(*config)
	if err != nil {
		t.Fatal(err)
	}
	stable := packages[packageName].DefaultChannel
	head, err := stable.Head()
	if err != nil {
		t.Fatal(err)
	}
	var way []string
	for at := head; at != nil; at = stable.Bundles[at.Replaces] {
		way = append(way, at.Version.String())
		skips, err := semver.ParseRange(at.SkipRange)
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range versions {
			if parsed := semver.MustParse(version); skips(parsed) != parsed.LT(at.Version) {
				t.Errorf("from %s to %s: skipped %t by %s", version, at.Version, skips(parsed), at.SkipRange)
			}
		}
	}
	slices.Reverse(way)
	if !slices.Equal(way, versions) {
		t.Errorf("the way is %v, want %v", way, versions)
	}
}
