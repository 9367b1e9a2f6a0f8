//go:build runtimes

package runtimes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Behaviour node-ca 32: the programs for arm64 run, under an emulator of that processor.
func TestProgramsForTheOtherArchitecture(t *testing.T) {
	emulator := filepath.Join(output(t), "runtimes", "qemu-user-static", "usr", "bin", "qemu-aarch64-static")
	n := newNode(t, "containerd")
	for _, program := range []string{"cluster-image-registry-operator", "image-registry", "image-api-server", "node-ca", "pruner"} {
		out := n.run(emulator, filepath.Join(output(t), "bin", "linux_arm64", program), "version")
		if !strings.HasSuffix(strings.TrimSpace(out), "linux/arm64") {
			t.Errorf("%s version prints %q", program, out)
		}
	}
	variables := []string{"NODE_CA_HOST_ETC=/etc", "NODE_CA_CERTIFICATES_DIR=" + n.dir + "/certificates",
		"NODE_CA_CONFIG_DIR=" + n.dir + "/config", "NODE_CA_STATE_DIR=" + n.dir + "/run"}
	agent := filepath.Join(output(t), "bin", "linux_arm64", "node-ca")
	const trust = "/etc/containerd/certs.d/" + registry
	n.run(append(variables, emulator, agent, "once")...)
	written := map[string]string{}
	for _, file := range []string{trust + "/ca.crt", trust + "/hosts.toml", "/etc/hosts"} {
		data, err := os.ReadFile(n.inside(file))
		n.must(err)
		written[file] = string(data)
	}
	n.run(append(variables, emulator, agent, "cleanup")...)
	if hosts, err := os.ReadFile(n.inside("/etc/hosts")); err != nil || string(hosts) != "127.0.0.1 localhost\n" {
		t.Errorf("cleaned, the hosts file is %q: %v", hosts, err)
	}
	n.agent("", "once") // the program for this machine
	for file, want := range written {
		if data, err := os.ReadFile(n.inside(file)); err != nil || string(data) != want {
			t.Errorf("%s of the program for arm64 is\n%s\nof that for this machine\n%s\n%v", file, want, data, err)
		}
	}
}
