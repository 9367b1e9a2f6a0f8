package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

const goarch = runtime.GOARCH

// Target is one containerd.
type Target struct {
	// Node is the node's name, for messages.
	Node string
	// Command runs ctr in the node, without the arguments of ctr.
	Command []string
	// Record remembers which files were loaded.
	Record string

	lock sync.Mutex
}

// record maps a file's hash to the images it brought and what they point at.
type record map[string]map[string]string

// Load puts the images of a tar file into the target and says whether it had to.
func (t *Target) Load(ctx context.Context, path string) (bool, error) {
	loaded, err := t.load(ctx, path)
	if err != nil {
		return false, fmt.Errorf("load %s into %s: %w", path, t.Node, err)
	}
	return loaded, nil
}

func (t *Target) load(ctx context.Context, path string) (bool, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	hash, err := hashFile(path)
	if err != nil {
		return false, err
	}
	names, err := Names(path)
	if err != nil {
		return false, err
	}
	have, err := t.list(ctx)
	if err != nil {
		return false, err
	}
	known := t.read()
	if known.holds(hash, names, have) {
		return false, nil
	}
	// An absolute path: ctr runs in the node with another working directory.
	full, err := filepath.Abs(path)
	if err != nil {
		return false, err
	}
	if _, err := t.ctr(ctx, "images", "import", full); err != nil {
		return false, err
	}
	if have, err = t.list(ctx); err != nil {
		return false, err
	}
	images := map[string]string{}
	for _, n := range names {
		digest, ok := have[n]
		if !ok {
			return false, fmt.Errorf("containerd took the file but has no image %s", n)
		}
		images[n] = digest
	}
	known[hash] = images
	return true, t.write(known)
}

// holds says whether the node still has exactly what the file once brought.
func (r record) holds(hash string, names []string, have map[string]string) bool {
	images, ok := r[hash]
	if !ok || len(images) != len(names) {
		return false
	}
	for _, n := range names {
		if digest := images[n]; digest == "" || have[n] != digest {
			return false
		}
	}
	return true
}

// list returns the images of the node with what they point at.
func (t *Target) list(ctx context.Context) (map[string]string, error) {
	out, err := t.ctr(ctx, "images", "list")
	if err != nil {
		return nil, err
	}
	return parseList(out), nil
}

// parseList reads ctr's table: REF TYPE DIGEST SIZE PLATFORMS LABELS.
func parseList(table string) map[string]string {
	images := map[string]string{}
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && strings.Contains(fields[2], ":") {
			images[fields[0]] = fields[2]
		}
	}
	return images
}

func (t *Target) ctr(ctx context.Context, args ...string) (string, error) {
	all := append(append(append([]string{}, t.Command...), "--address", plan.ContainerdSock, "--namespace", "k8s.io"), args...)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, explain(stderr.String()))
	}
	return stdout.String(), nil
}

// explain is the last line of what ctr said; one of its sentences needs help.
func explain(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "ctr: ")
	if strings.Contains(last, "might be filtered out") {
		return "the file has no image for linux/" + goarch
	}
	return last
}

// read returns an empty record when there is none or it is damaged: the images
// are then loaded again.
func (t *Target) read() record {
	r := record{}
	if b, err := os.ReadFile(t.Record); err == nil && json.Unmarshal(b, &r) != nil {
		return record{}
	}
	return r
}

func (t *Target) write(r record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := t.Record + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, t.Record)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
