// Package components builds the programs of the cluster from the modules beside
// it that pin their versions.
//
// In: the folder hack/devcluster with components/NAME/{go.mod,go.sum}. Out:
// programs in the bin folder and one stamp per module over everything that
// decides the result, so a second build does nothing. A program appears under
// its name only when it is complete: an interrupted build leaves the one
// before.
package components

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Module is one go build.
type Module struct {
	Name string
	// Dir is the module's folder below hack/devcluster.
	Dir string
	// Package is what is built: "tool" for all tools of the module.
	Package string
	// Programs are the files the build makes.
	Programs []string
	Tags     string
	CGO      bool
	LDFlags  string
	// Own lists further folders of sources of the repository below Dir.
	Own []string
}

const (
	strip             = "-s -w"
	kubernetesVersion = "v1.36.3"
	containerdVersion = "v2.4.2"
)

// All lists the modules, what a control plane needs first.
func All() []Module {
	stamp := strings.Join([]string{strip,
		"-X k8s.io/component-base/version.gitVersion=" + kubernetesVersion,
		"-X k8s.io/component-base/version.gitMajor=1",
		"-X k8s.io/component-base/version.gitMinor=36",
		"-X k8s.io/client-go/pkg/version.gitVersion=" + kubernetesVersion,
	}, " ")
	return []Module{
		{Name: "kubernetes", Dir: "components/kubernetes", Package: "tool", LDFlags: stamp,
			Programs: []string{"kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"}},
		{Name: "etcd", Dir: "components/etcd", Package: ".", LDFlags: strip, Programs: []string{"etcd"}},
		{Name: "containerd", Dir: "components/containerd", Package: "tool",
			LDFlags:  strip + " -X github.com/containerd/containerd/v2/version.Version=" + containerdVersion,
			Programs: []string{"containerd", "containerd-shim-runc-v2", "ctr"}},
		{Name: "runc", Dir: "components/runc", Package: "tool", LDFlags: strip, CGO: true, Tags: "seccomp", Programs: []string{"runc"}},
		{Name: "cni", Dir: "components/cni", Package: "tool", LDFlags: strip,
			Programs: []string{"bridge", "host-local", "loopback", "portmap"}},
		{Name: "coredns", Dir: "components/coredns", Package: ".", LDFlags: strip, Programs: []string{"coredns"}},
		{Name: "pause", Dir: ".", Package: "./pause", LDFlags: strip, Programs: []string{"pause"}, Own: []string{"pause"}},
	}
}

// Builder builds modules below Source into Bin.
type Builder struct {
	Source, Bin string
	// Go is the go command.
	Go string
	// Report is told about every module that has to be built.
	Report func(format string, args ...any)
}

// BuildAll builds what is not current, one module after the other: every build
// uses all processors on its own.
func (b Builder) BuildAll(ctx context.Context) error {
	version, err := b.goVersion(ctx)
	if err != nil {
		return err
	}
	for _, m := range All() {
		if err := b.build(ctx, m, version); err != nil {
			return fmt.Errorf("build %s: %w", m.Name, err)
		}
	}
	return nil
}

func (b Builder) goVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, b.Go, "env", "GOVERSION", "GOARCH")
	cmd.Dir, cmd.Env = b.Source, append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", b.Go, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (b Builder) build(ctx context.Context, m Module, goVersion string) error {
	stamp, err := m.stamp(b.Source, goVersion)
	if err != nil {
		return err
	}
	if b.current(m, stamp) {
		return nil
	}
	b.Report("building %s", strings.Join(m.Programs, ", "))
	// The folder is on the same file system, so that rename replaces a program
	// in one step even while it runs.
	out := filepath.Join(b.Bin, ".build-"+m.Name)
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	defer os.RemoveAll(out)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := b.run(ctx, m, out); err != nil {
		return err
	}
	for _, p := range m.Programs {
		if err := os.Rename(filepath.Join(out, p), filepath.Join(b.Bin, p)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(b.stampFile(m)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.stampFile(m), []byte(stamp+"\n"), 0o644)
}

func (b Builder) run(ctx context.Context, m Module, out string) error {
	cmd := exec.CommandContext(ctx, b.Go, m.args(out)...)
	cmd.Dir = filepath.Join(b.Source, m.Dir)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", m.cgo())
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, lastLines(string(output), 15))
	}
	return nil
}

// args are the arguments of the go command. The paths and the repository's
// revision are kept out of the programs, so equal sources give equal programs.
func (m Module) args(out string) []string {
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", m.LDFlags}
	if m.Tags != "" {
		args = append(args, "-tags", m.Tags)
	}
	return append(args, "-o", out+string(filepath.Separator), m.Package)
}

func (m Module) cgo() string {
	if m.CGO {
		return "CGO_ENABLED=1"
	}
	return "CGO_ENABLED=0"
}

func (b Builder) stampFile(m Module) string { return filepath.Join(b.Bin, ".stamps", m.Name) }

func (b Builder) current(m Module, stamp string) bool {
	have, err := os.ReadFile(b.stampFile(m))
	if err != nil || strings.TrimSpace(string(have)) != stamp {
		return false
	}
	for _, p := range m.Programs {
		if info, err := os.Stat(filepath.Join(b.Bin, p)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// stamp covers the flags, the compiler, the module files and the sources that
// the repository itself has for the module.
func (m Module) stamp(source, goVersion string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q%q%q", goVersion, m.cgo(), m.args(""))
	dir := filepath.Join(source, m.Dir)
	inputs := []string{filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")}
	folders := m.Own
	if len(folders) == 0 {
		folders = []string{"."}
	} else {
		// Sources of this module that need nothing outside the standard library.
		inputs = nil
	}
	for _, folder := range folders {
		sources, err := filepath.Glob(filepath.Join(dir, folder, "*.go"))
		if err != nil {
			return "", err
		}
		inputs = append(inputs, sources...)
	}
	sort.Strings(inputs)
	for _, path := range inputs {
		if err := hashFile(h, path); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(h io.Writer, path string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%q%x", filepath.Base(path), sha256.Sum256(content))
	return nil
}

func lastLines(text string, count int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
