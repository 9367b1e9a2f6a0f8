//go:build runtimes

package runtimes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Behaviour node-ca 5: the library of CRI-O, podman and skopeo reads both directories that are written for it.
func TestPodmanAndSkopeoReadWhatTheAgentWrites(t *testing.T) {
	for _, root := range []string{"/etc/containers/certs.d", "/etc/docker/certs.d"} {
		t.Run(root, func(t *testing.T) {
			n := newNode(t, "containers", "docker")
			n.write("/etc/containers/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
			n.must(os.RemoveAll(n.inside("/etc/containers/certs.d")))
			n.follows("", func() (string, error) {
				return n.try("podman", "--root", n.dir+"/state/root", "--runroot", n.dir+"/state/run", "--storage-driver", "vfs", "pull", image)
			}, "NODE_CA_ROOTS="+root)
			n.write("/etc/hosts", "127.0.0.1 localhost\n")
			n.follows("", func() (string, error) { return n.try("skopeo", "inspect", "docker://"+image) }, "NODE_CA_ROOTS="+root)
		})
	}
}

// Behaviour node-ca 5: docker reads its directory for every request.
func TestDockerReadsWhatTheAgentWrites(t *testing.T) {
	n := newNode(t, "docker")
	bin := filepath.Join(output(t), "runtimes", "docker.io", "usr")
	beside := "PATH=" + filepath.Join(output(t), "runtimes", "containerd", "usr", "bin") + ":" + bin + "/sbin:" + bin + "/bin:" +
		filepath.Join(output(t), "devcluster", "bin") + ":" + os.Getenv("PATH") // runc is that of the development cluster
	host := "unix://" + n.dir + "/state/docker.sock"
	n.daemon(beside, bin+"/sbin/dockerd", "--host", host, "--data-root", n.dir+"/state/root", "--exec-root", n.dir+"/state/exec",
		"--pidfile", n.dir+"/state/docker.pid", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs")
	client := func(words ...string) (string, error) {
		return n.try(append([]string{bin + "/bin/docker", "--host", host}, words...)...)
	}
	n.eventually("docker serves", func() error {
		out, err := client("version")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	n.follows("docker://20.10.24", func() (string, error) {
		_, _ = client("rmi", image)
		return client("pull", image)
	})
}
