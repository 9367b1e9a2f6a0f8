package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// Cgroups is the tree of control groups of the machine.
type Cgroups struct {
	// Root is /sys/fs/cgroup, or a copy of it in tests.
	Root string
}

// SystemCgroups is the machine's tree.
func SystemCgroups() Cgroups { return Cgroups{Root: "/sys/fs/cgroup"} }

// unified says whether the machine has only cgroup v2.
func (c Cgroups) unified() bool {
	_, err := os.Stat(filepath.Join(c.Root, "cgroup.controllers"))
	return err == nil
}

// hierarchies lists the folders in which a node needs a cgroup of its own.
func (c Cgroups) hierarchies() ([]string, error) {
	if c.unified() {
		return []string{c.Root}, nil
	}
	entries, err := os.ReadDir(c.Root)
	if err != nil {
		return nil, fmt.Errorf("cgroups: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		// Joint hierarchies are linked under the name of each controller.
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(c.Root, e.Name()))
		}
	}
	return dirs, nil
}

// SetUp makes the node's cgroup in every hierarchy, ready to hold Pods.
func (c Cgroups) SetUp(n plan.Node) error {
	if c.unified() {
		if err := c.delegate(); err != nil {
			return err
		}
	}
	dirs, err := c.hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		own := filepath.Join(dir, n.Cgroup())
		if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cgroup of %s: %w", n.Name(), err)
		}
		if err := inheritCPUs(dir, own); err != nil {
			return fmt.Errorf("cgroup of %s: %w", n.Name(), err)
		}
	}
	return nil
}

// inheritCPUs fills cpuset on cgroup v1, where a new cgroup has no processors
// and takes no process until it has.
func inheritCPUs(parent, own string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		from, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		have, err := os.ReadFile(filepath.Join(own, file))
		if err == nil && len(bytes.TrimSpace(have)) > 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(own, file), from, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets children of the root use every controller (cgroup v2). Inside a
// container the root holds processes, and the kernel refuses until they live in
// a child.
func (c Cgroups) delegate() error {
	controllers, err := os.ReadFile(filepath.Join(c.Root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	var enable []string
	for _, name := range strings.Fields(string(controllers)) {
		enable = append(enable, "+"+name)
	}
	control := filepath.Join(c.Root, "cgroup.subtree_control")
	write := func() error { return os.WriteFile(control, []byte(strings.Join(enable, " ")), 0o644) }
	err = write()
	if errors.Is(err, syscall.EBUSY) {
		if err = c.evacuate(); err == nil {
			err = write()
		}
	}
	if err != nil {
		return fmt.Errorf("cgroups: hand controllers down: %w", err)
	}
	return nil
}

// evacuate moves every process of the root into a child of it.
func (c Cgroups) evacuate() error {
	child := filepath.Join(c.Root, "devcluster-host")
	if err := os.Mkdir(child, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(c.Root, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(pids)) {
		err := os.WriteFile(filepath.Join(child, "cgroup.procs"), []byte(pid), 0o644)
		if err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return nil
}

// Remove removes the cgroups of all nodes, deepest first. The kernel lets go of
// a cgroup a moment after its last process, so a busy one is tried again until
// the timeout.
func (c Cgroups) Remove(timeout time.Duration) error {
	return c.remove(plan.CgroupPattern.MatchString, timeout)
}

// RemoveOf removes the cgroups of one node.
func (c Cgroups) RemoveOf(n plan.Node, timeout time.Duration) error {
	return c.remove(func(name string) bool { return name == n.Cgroup() }, timeout)
}

func (c Cgroups) remove(which func(name string) bool, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := c.removeOnce(which)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c Cgroups) removeOnce(which func(name string) bool) error {
	dirs, err := c.hierarchies()
	if err != nil {
		return err
	}
	var failed error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if e.IsDir() && which(e.Name()) {
				failed = errors.Join(failed, removeTree(filepath.Join(dir, e.Name())))
			}
		}
	}
	return failed
}

// removeTree removes a tree of cgroups: the files in it belong to the kernel
// and go with the folder.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
	for _, dir := range dirs {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("cgroup %s: %w", dir, err)
		}
	}
	return nil
}
