//go:build runtimes

package runtimes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const inSecondVersion = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = %q\n"

// containerds are the versions that are run: Debian's, the last 1.7, and the development cluster's.
func containerds(t *testing.T) map[string]string {
	return map[string]string{
		"1.6": filepath.Join(output(t), "runtimes", "containerd", "usr", "bin"),
		"1.7": filepath.Join(output(t), "runtimes", "bin"),
		"2":   filepath.Join(output(t), "devcluster", "bin"),
	}
}

// containerd is a running daemon of a node.
type containerd struct {
	*node
	bin     string
	version string
	images  cri.ImageServiceClient
}

// startContainerd starts the daemon as a node does: with /etc/containerd/config.toml, which the agent reads, too.
func startContainerd(n *node, bin, registryConfig string) *containerd {
	n.t.Helper()
	if registryConfig != "" {
		n.write("/etc/containerd/config.toml", registryConfig)
	}
	socket := n.dir + "/state/containerd.sock"
	// What is private to the test is given in a file beside, so that the node's own stays what it is.
	imports := ""
	if registryConfig != "" {
		imports = "imports = [\"/etc/containerd/config.toml\"]\n"
	}
	version := "2"
	if strings.HasPrefix(registryConfig, "version = 3") {
		version = "3"
	}
	n.write(n.dir+"/containerd.toml", fmt.Sprintf("version = %s\nroot = %q\nstate = %q\n%s[grpc]\naddress = %q\n",
		version, n.dir+"/state/root", n.dir+"/state/state", imports, socket))
	n.daemon(filepath.Join(bin, "containerd"), "--config", n.dir+"/containerd.toml")
	conn, err := grpc.NewClient("unix://"+n.inside(socket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	n.must(err)
	n.t.Cleanup(func() { conn.Close() })
	c := &containerd{node: n, bin: bin, images: cri.NewImageServiceClient(conn)}
	n.eventually("containerd serves", func() error {
		answer, err := cri.NewRuntimeServiceClient(conn).Version(n.t.Context(), &cri.VersionRequest{})
		if err == nil {
			c.version = "containerd://" + strings.TrimPrefix(answer.RuntimeVersion, "v")
		}
		return err
	})
	n.t.Log(c.version)
	return c
}

// pull has the daemon pull as the kubelet does, after removing what an earlier pull brought.
func (c *containerd) pull() (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	spec := &cri.ImageSpec{Image: image}
	if _, err := c.images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: spec}); err != nil {
		return "", err
	}
	_, err := c.images.PullImage(ctx, &cri.PullImageRequest{Image: spec})
	return fmt.Sprint(err), err
}

// client pulls with ctr, which reads the directory by itself.
func (c *containerd) client() (string, error) {
	return c.try(filepath.Join(c.bin, "ctr"), "--address", c.dir+"/state/containerd.sock", "images", "pull", "--hosts-dir", "/etc/containerd/certs.d", image)
}

// Behaviours node-ca 7 and 8: every form of the configuration in which containerd reads the agent's files.
func TestContainerdReadsWhatTheAgentWrites(t *testing.T) {
	for series, bin := range containerds(t) {
		t.Run(series, func(t *testing.T) {
			for form, config := range map[string]string{
				"directory": "version = 2\n" + fmt.Sprintf(inSecondVersion, "/etc/containerd/certs.d"),
				"list":      "version = 2\n" + fmt.Sprintf(inSecondVersion, "/etc/containerd/certs.d:/etc/docker/certs.d"),
			} {
				t.Run(form, func(t *testing.T) {
					c := startContainerd(newNode(t, "containerd"), bin, config)
					c.follows(c.version, c.pull)
					c.write("/etc/hosts", "127.0.0.1 localhost\n")
					c.follows(c.version, c.client)
				})
			}
		})
	}
	t.Run("2 without a configuration", func(t *testing.T) {
		c := startContainerd(newNode(t, "containerd"), containerds(t)["2"], "")
		c.follows(c.version, c.pull)
	})
}

var stanza = regexp.MustCompile(`version = 2, set in it (\[plugins\.\S+\]) (config_path = \S+) and restart containerd`)

// Behaviour node-ca 6: a containerd that is not told ignores the directory, the agent says so, and what it says
// is to be done helps.
func TestContainerdThatIsNotTold(t *testing.T) {
	for _, series := range []string{"1.6", "1.7"} {
		t.Run(series, func(t *testing.T) {
			bin := containerds(t)[series]
			c := startContainerd(newNode(t, "containerd"), bin, "")
			status := c.agent(c.version, "once")
			if err := distrusted(c.pull()); err != nil {
				t.Errorf("the agent is right or not: %v\n%s", err, status)
			}
			found := stanza.FindStringSubmatch(strings.ReplaceAll(status, `\"`, `"`))
			if found == nil || !strings.Contains(status, "ConfigPathNotSet") {
				t.Fatalf("the status does not say what is to be done:\n%s", status)
			}
			told := startContainerd(newNode(t, "containerd"), bin, "version = 2\n"+found[1]+"\n"+found[2]+"\n")
			told.follows(told.version, told.pull)
		})
	}
}

func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests need root, for namespaces and runtimes")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
