package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// stamp is what the binaries and the image labels say about their origin.
type stamp struct {
	Version string
	Commit  string
}

// readStamp asks git. Without git or without a checkout the version stays the development version.
func readStamp(ctx context.Context, root string) stamp {
	git := func(args ...string) string {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	return stamp{
		Version: versionFrom(git("describe", "--tags", "--always", "--dirty")),
		Commit:  git("rev-parse", "HEAD"),
	}
}

// versionFrom turns the output of git describe into a semantic version with a leading "v". The "g"
// before a bare hash keeps a hash of digits only from being a number with leading zeros.
func versionFrom(described string) string {
	switch {
	case described == "":
		return "v0.0.0-dev"
	case strings.HasPrefix(described, "v") && strings.Contains(described, "."):
		return described
	default:
		return "v0.0.0-g" + described
	}
}

// compiler builds the binaries into _output/bin/<os>_<arch>.
type compiler struct {
	root   string
	out    string
	stamp  stamp
	stderr io.Writer
}

func (c compiler) binary(p platform, image imageSettings) string {
	return filepath.Join(c.out, "bin", p.dir(), image.Binary)
}

// arguments are those of one `go build` for all packages. -buildid= and -buildvcs=false keep the state
// of the checkout out of the result: equal source and stamp give equal bytes.
func (c compiler) arguments(p platform, images []imageSettings) []string {
	const versionPackage = "image.alauda.io/registry/pkg/version"
	flags := fmt.Sprintf("-s -w -buildid= -X %[1]s.version=%[2]s -X %[1]s.commit=%[3]s", versionPackage, c.stamp.Version, c.stamp.Commit)
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", filepath.Join(c.out, "bin", p.dir()) + string(filepath.Separator)}
	for _, image := range images {
		args = append(args, image.Package)
	}
	return args
}

func (c compiler) compile(ctx context.Context, p platform, images []imageSettings) error {
	if err := os.MkdirAll(filepath.Join(c.out, "bin", p.dir()), 0o755); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", c.arguments(p, images)...)
	command.Dir = c.root
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Arch)
	command.Stdout, command.Stderr = c.stderr, c.stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("go build for %s: %w", p, err)
	}
	return nil
}

// splitMissing separates the images whose package exists from those that have no source yet.
func splitMissing(root string, images []imageSettings) (present []imageSettings, missing []string) {
	for _, image := range images {
		if image.contentOnly() {
			present = append(present, image) // a missing folder is an error of its own
			continue
		}
		if found, _ := filepath.Glob(filepath.Join(root, image.Package, "*.go")); len(found) > 0 {
			present = append(present, image)
		} else {
			missing = append(missing, image.Package)
		}
	}
	return present, missing
}
