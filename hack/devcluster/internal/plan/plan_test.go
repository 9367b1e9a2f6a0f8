package plan

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func TestEveryAddressIsInsideTheClusterRange(t *testing.T) {
	cluster := netip.MustParsePrefix(ClusterRange)
	for _, p := range []string{NodeNetwork, PodRange, ServiceRange, UnreachableRange} {
		if prefix := netip.MustParsePrefix(p); !cluster.Overlaps(prefix) || !cluster.Contains(prefix.Addr()) {
			t.Errorf("%s is outside %s", p, ClusterRange)
		}
	}
	nodes, err := Nodes(MaxNodes)
	if err != nil {
		t.Fatal(err)
	}
	network := netip.MustParsePrefix(NodeNetwork)
	for _, n := range nodes {
		if !network.Contains(netip.MustParseAddr(n.Address())) {
			t.Errorf("%s has address %s outside %s", n.Name(), n.Address(), NodeNetwork)
		}
	}
}

func TestRangesDoNotOverlap(t *testing.T) {
	ranges := []string{NodeNetwork, PodRange, ServiceRange}
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if netip.MustParsePrefix(a).Overlaps(netip.MustParsePrefix(b)) {
				t.Errorf("%s overlaps %s", a, b)
			}
		}
	}
	services := netip.MustParsePrefix(ServiceRange)
	for _, a := range []string{APIService, DNSService} {
		if !services.Contains(netip.MustParseAddr(a)) {
			t.Errorf("service address %s is outside %s", a, ServiceRange)
		}
	}
	pods := netip.MustParsePrefix(PodRange)
	if perNode := 1 << (PodPrefix - pods.Bits()); perNode < MaxNodes {
		t.Errorf("%s has %d ranges of /%d for %d nodes", PodRange, perNode, PodPrefix, MaxNodes)
	}
}

func TestNodeCounts(t *testing.T) {
	for count, ok := range map[int]bool{-1: false, 0: false, 1: true, 2: true, MaxNodes: true, MaxNodes + 1: false} {
		if _, err := Nodes(count); (err == nil) != ok {
			t.Errorf("Nodes(%d): error %v", count, err)
		}
	}
}

func TestNodeNamesComeBack(t *testing.T) {
	nodes, _ := Nodes(MaxNodes)
	for _, n := range nodes {
		got, err := ParseNode(n.Name())
		if err != nil || got != n {
			t.Errorf("ParseNode(%q) = %v, %v", n.Name(), got, err)
		}
		for name, pattern := range map[string]interface{ MatchString(string) bool }{n.Namespace(): NamespacePattern, n.Veth(): VethPattern, n.Cgroup(): CgroupPattern} {
			if !pattern.MatchString(name) {
				t.Errorf("%q would not be found again by down", name)
			}
		}
	}
}

func FuzzParseNode(f *testing.F) {
	for _, s := range []string{"node1", "node0", "node99", "node", "", "node1x", "Node1", "node01", "../node1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNode(s)
		if err == nil && n.Name() != s {
			t.Errorf("ParseNode(%q) is %q", s, n.Name())
		}
	})
}

func TestCgroupPathFindsOnlyNodeCgroups(t *testing.T) {
	for text, want := range map[string]bool{
		"4:memory:/devnode1/kubepods/burstable/pod1/c\n": true,
		"0::/devnode12\n":          true,
		"0::/machine/devnode1/x\n": true,
		"0::/\n":                   false,
		"0::/user.slice/devnode\n": false,
		"0::/devnode1x\n":          false,
		"1:name=systemd:/system.slice/mydevnode1a\n": false,
	} {
		if got := CgroupPath.MatchString(text); got != want {
			t.Errorf("%q: found %v, want %v", text, got, want)
		}
	}
}

func TestRepositoryIsFoundFromBelow(t *testing.T) {
	repo := t.TempDir()
	below := filepath.Join(repo, "hack", "devcluster")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, module := range map[string]string{repo: rootModule, below: rootModule + "/hack/devcluster"} {
		if err := os.WriteFile(filepath.Join(path, "go.mod"), []byte("module "+module+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := FindRepo("/nonexistent", below); err != nil || got != repo {
		t.Errorf("FindRepo = %q, %v; want %q", got, err, repo)
	}
	if _, err := FindRepo(t.TempDir()); err == nil {
		t.Error("found a repository where none is")
	}
}

func TestPathsThatMountsCannotTakeAreRefused(t *testing.T) {
	for repo, ok := range map[string]bool{"/src/registry": true, "/src/a:b": false, "/src/a,b": false, "/src/a b": false} {
		if err := NewLayout(repo).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", repo, err)
		}
	}
}
