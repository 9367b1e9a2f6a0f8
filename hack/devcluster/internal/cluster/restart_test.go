package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/supervise"
)

func TestPartsAreNamedAsStatusDoesAndSortedAsTheyStart(t *testing.T) {
	nodes, err := plan.Nodes(12)
	if err != nil {
		t.Fatal(err)
	}
	for names, want := range map[string]string{
		"kube-apiserver etcd":                           "etcd kube-apiserver",
		"scheduler controller-manager apiserver":        "kube-apiserver kube-controller-manager kube-scheduler",
		"etcd etcd":                                     "etcd",
		"node2 node1 etcd":                              "etcd node1 node2",
		"node1-kube-proxy node1-kubelet":                "node1-kubelet node1-kube-proxy",
		"node12-kubelet node1-containerd":               "node1-containerd node12-kubelet",
		"node1-kubelet node1 node2-kubelet coredns":     "coredns node1 node2-kubelet",
		"forward provision node3-kubelet node3-kubelet": "provision forward node3-kubelet",
	} {
		parts, err := parseParts(strings.Fields(names), nodes)
		var got []string
		for _, p := range parts {
			got = append(got, p.name())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %s, %v; want %s", names, got, err, want)
		}
	}
	for _, name := range []string{"", "kube-", "kubelet", "node13", "node0", "node1-", "node1-holder", "node1-etcd", "kube-etcd2", "node-1"} {
		if parts, err := parseParts([]string{name}, nodes); err == nil || !strings.Contains(err.Error(), "node12-kubelet") {
			t.Errorf("%q: %v, %v; want an error that lists what there is", name, parts, err)
		}
	}
}

func TestEveryPartOfTheClusterCanBeStarted(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	var machine, node []string
	for _, spec := range c.controlPlane(record{Nodes: 1, RegistryPort: 5000}) {
		machine = append(machine, spec.Name)
	}
	n := plan.Node{Index: 1}
	for _, spec := range c.nodeDaemons(n, 42) {
		node = append(node, strings.TrimPrefix(spec.Name, n.Daemon("")))
	}
	if !slices.Equal(machine, controlDaemons) || !slices.Equal(node, nodeComponents) {
		t.Errorf("started are %v and %v; status lists %v, restart takes %v", machine, node, controlDaemons, nodeComponents)
	}
}

func TestADaemonHangsAndGoesOn(t *testing.T) {
	c := New(plan.NewLayout(t.TempDir()), &bytes.Buffer{})
	if err := c.ensure(supervise.Spec{Name: "etcd", Args: []string{"sleep", "600"}}); err != nil {
		t.Skipf("no sleep to run: %v", err)
	}
	t.Cleanup(func() { _ = c.daemons.Stop("etcd", 0) })
	record, _ := c.daemons.Living("etcd")
	for hang, want := range map[bool]string{true: "T", false: "S"} {
		if err := c.pausePart(part{daemon: "etcd"}, hang); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(record.PID), "stat"))
			if err == nil && strings.Contains(string(stat), ") "+want+" ") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("hang %v: %s, %v", hang, stat, err)
			}
		}
	}
	if err := c.pausePart(part{daemon: "forward"}, true); err == nil {
		t.Error("a daemon that does not run hangs")
	}
	if err := c.pausePart(part{node: plan.Node{Index: 1}}, true); err == nil {
		t.Error("a node hangs")
	}
}
