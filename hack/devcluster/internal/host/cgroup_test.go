package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryV1HierarchyGetsTheNode(t *testing.T) {
	c := Cgroups{Root: t.TempDir()}
	put(t, filepath.Join(c.Root, "cpuset/cpuset.cpus"), "0-1\n")
	put(t, filepath.Join(c.Root, "cpuset/cpuset.mems"), "0\n")
	put(t, filepath.Join(c.Root, "memory/tasks"), "")
	if err := os.Symlink("cpuset", filepath.Join(c.Root, "cpu")); err != nil {
		t.Fatal(err)
	}
	node := plan.Node{Index: 1}
	for range 2 {
		if err := c.SetUp(node); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{"cpuset/devnode1/cpuset.cpus": "0-1\n", "cpuset/devnode1/cpuset.mems": "0\n"} {
		got, err := os.ReadFile(filepath.Join(c.Root, path))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(c.Root, "memory/devnode1")); err != nil {
		t.Error(err)
	}
}

func TestV2HandsItsControllersDown(t *testing.T) {
	c := Cgroups{Root: t.TempDir()}
	put(t, filepath.Join(c.Root, "cgroup.controllers"), "cpu memory pids\n")
	put(t, filepath.Join(c.Root, "cgroup.subtree_control"), "")
	if err := c.SetUp(plan.Node{Index: 3}); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(filepath.Join(c.Root, "cgroup.subtree_control"))
	if string(got) != "+cpu +memory +pids" {
		t.Errorf("subtree_control %q", got)
	}
	if _, err := os.Stat(filepath.Join(c.Root, "devnode3")); err != nil {
		t.Error(err)
	}
}

func TestOnlyCgroupsOfNodesAreRemoved(t *testing.T) {
	c := Cgroups{Root: t.TempDir()}
	for _, dir := range []string{"memory/devnode1/kubepods/pod1/c1", "memory/devnode12", "memory/devnodes", "memory/other/devnode1"} {
		if err := os.MkdirAll(filepath.Join(c.Root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Remove(time.Second); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{"devnode1": false, "devnode12": false, "devnodes": true, "other/devnode1": true} {
		_, err := os.Stat(filepath.Join(c.Root, "memory", dir))
		if (err == nil) != want {
			t.Errorf("%s exists: %v, want %v", dir, err == nil, want)
		}
	}
}
