package agent

import (
	"maps"
	"path/filepath"
	"testing"
)

// Behaviour 7: with a list of directories some versions of containerd read the first one, others take the whole
// text for one path; both find the same, and both lose it together.
func TestAListOfDirectoriesIsServedInBothWays(t *testing.T) {
	const first, literal = "containerd/certs.d", "containerd/certs.d:/etc/docker/certs.d"
	n := newNode(t, "containerd/config.toml=version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\n"+
		"config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n")
	before := n.snapshot()
	n.publish("")
	if status := n.pass(); !status.Ready {
		t.Fatalf("not ready: %s", words(status))
	}
	for _, file := range []string{"ca.crt", "hosts.toml"} {
		one, other := n.read(filepath.Join(first, ownHost, file)), n.read(filepath.Join(literal, ownHost, file))
		if one == "" || other == "" {
			t.Fatalf("%s is missing: %d bytes in the first directory, %d in the literal one", file, len(one), len(other))
		}
		if file == "ca.crt" && one != other {
			t.Error("the two directories hold different certificates")
		}
	}

	const added = "second.example.com:5000"
	n.certs["second.example.com..5000"] = n.certs[ownKey]
	n.publish("")
	n.pass()
	for _, root := range []string{first, literal} {
		if n.read(filepath.Join(root, added, "ca.crt")) == "" {
			t.Errorf("the new host is not in %s", root)
		}
	}
	delete(n.certs, "second.example.com..5000")
	n.publish("")
	n.pass()
	for path := range n.snapshot() {
		if filepath.Base(path) == added {
			t.Errorf("%s is left after its host was removed", path)
		}
	}

	n.options.Mode = ModeCleanup
	n.restart()
	if status := n.pass(); !status.Ready {
		t.Fatalf("not clean: %s", words(status))
	}
	if after := n.snapshot(); !maps.Equal(before, after) {
		t.Errorf("the tree after the clean-up differs:\nbefore %v\nafter  %v", before, after)
	}
}
