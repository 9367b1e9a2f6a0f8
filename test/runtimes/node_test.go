//go:build runtimes

package runtimes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/inputs"
	"image.alauda.io/registry/test/selfsigned"
)

const (
	service  = "image-registry.image-registry-system.svc"
	registry = service + ":5000"
	image    = registry + "/team-a/hello:v1"
	address  = "198.18.0.10"
	// patience bounds every wait for a program.
	patience = 2 * time.Minute
)

func output(t *testing.T) string {
	t.Helper()
	output, err := filepath.Abs("../../_output")
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// product is a program of ours as make builds it for this machine.
func product(t *testing.T, name string) string {
	return filepath.Join(output(t), "bin", runtime.GOOS+"_"+runtime.GOARCH, name)
}

// node is a pair of namespaces with an /etc of their own.
type node struct {
	t   *testing.T
	dir string
	pid int
}

// newNode makes a node with these directories of runtimes below /etc, a registry that it cannot know yet, and
// an image there.
func newNode(t *testing.T, runtimes ...string) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("needs root, for namespaces")
	}
	dir, err := os.MkdirTemp("", "node-") // short: some programs refuse long names of directories
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	n := &node{t: t, dir: dir}
	holder := exec.Command("unshare", "--mount", "--net", "--propagation=private", "sh", "-euc", `cd "$1"; shift
		mount -t tmpfs none . ; cd "$PWD"; mkdir upper work state certificates config run
		ip link set lo up; ip address add `+address+`/32 dev lo
		mount -t overlay none -o lowerdir=/etc,upperdir=upper,workdir=work /etc
		mount -t tmpfs none /run; mount -t tmpfs none /var/lib/containers
		rm -rf /etc/containerd /etc/docker
		echo "127.0.0.1 localhost" > /etc/hosts
		for directory in "$@"; do mkdir -p "/etc/$directory"; done
		echo ready; exec sleep infinity`, "sh", n.dir)
	holder.Args = append(holder.Args, runtimes...)
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	holder.Stderr = &stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	})
	ready := make([]byte, len("ready"))
	if _, err := io.ReadFull(stdout, ready); err != nil {
		t.Fatalf("the node's namespaces: %v\n%s", err, &stderr)
	}
	n.pid = holder.Process.Pid
	n.serve()
	return n
}

// inside is the path of a file of the node as it is seen from outside.
func (n *node) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", n.pid, path) }

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) write(path, text string) {
	n.t.Helper()
	n.must(os.MkdirAll(filepath.Dir(n.inside(path)), 0o755))
	n.must(os.WriteFile(n.inside(path), []byte(text), 0o644))
}

// command prepares a program in the node; words before it that have a "=" are variables.
func (n *node) command(ctx context.Context, words ...string) *exec.Cmd {
	args := append([]string{"-t", strconv.Itoa(n.pid), "-m", "-n", "--", "env", "-i", "PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "HOME=" + n.dir}, words...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

// try runs a program in the node to its end.
func (n *node) try(words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	out, err := n.command(ctx, words...).CombinedOutput()
	return string(out), err
}

func (n *node) run(words ...string) string {
	n.t.Helper()
	out, err := n.try(words...)
	if err != nil {
		n.t.Fatalf("%v: %v\n%s", words, err, out)
	}
	return out
}

// daemon runs a program in the node until the test ends.
func (n *node) daemon(words ...string) {
	n.t.Helper()
	var out bytes.Buffer
	command := n.command(context.WithoutCancel(n.t.Context()), words...)
	command.Stdout, command.Stderr = &out, &out
	n.must(command.Start())
	n.t.Cleanup(func() {
		_ = command.Process.Signal(unix.SIGTERM)
		force := time.AfterFunc(2*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait()
		force.Stop()
		if n.t.Failed() {
			n.t.Logf("%v\n%s", words, tail(out.String()))
		}
	})
}

func tail(text string) string { return text[max(0, len(text)-6000):] }

// eventually polls until check returns nil.
func (n *node) eventually(what string, check func() error) {
	n.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: %v", what, err)
}

// dial connects from inside of the node. A thread that has entered a namespace is given up afterwards.
func (n *node) dial(ctx context.Context, _, to string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		conn, err := func() (net.Conn, error) {
			space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", n.pid))
			if err != nil {
				return nil, err
			}
			defer space.Close()
			if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp4", to)
		}()
		done <- result{conn, err}
	}()
	got := <-done
	return got.conn, got.err
}

// serve starts the registry with a certificate for the name of the Service and pushes an image.
func (n *node) serve() {
	n.t.Helper()
	certificate, key, err := selfsigned.IssueFor(1, service)
	n.must(err)
	n.write(n.dir+"/tls.crt", string(certificate))
	n.write(n.dir+"/tls.key", string(key))
	n.write(n.dir+"/registry.yaml", fmt.Sprintf("version: 0.1\nauth: none\nstorage: {inmemory: {}}\nalauda: {server: {addr: %q}}\n"+
		"http: {addr: %q, tls: {certificate: %q, key: %q}}\n", registry, address+":5000", n.dir+"/tls.crt", n.dir+"/tls.key"))
	n.daemon(product(n.t, "image-registry"), n.dir+"/registry.yaml")
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return n.dial(ctx, network, address+":5000")
	}
	transport.TLSClientConfig.InsecureSkipVerify = true // nobody trusts it yet
	reference, err := name.ParseReference(image)
	n.must(err)
	made, err := random.Image(64<<10, 2)
	n.must(err)
	n.eventually("push to the registry", func() error { return remote.Write(reference, made, remote.WithTransport(transport)) })

	values := map[string][]byte{service + "..5000": certificate}
	config, err := json.Marshal(map[string]any{"version": 1, "hash": inputs.Hash(values), "registries": []string{registry},
		"hosts": []any{map[string]any{"ip": address, "names": []string{service}}}})
	n.must(err)
	n.write(n.dir+"/certificates/"+service+"..5000", string(certificate))
	n.write(n.dir+"/config/config.json", string(config))
}

// agent runs the node agent once and returns the status that it prints.
func (n *node) agent(version, command string, variables ...string) string {
	n.t.Helper()
	config, err := os.ReadFile(n.inside(n.dir + "/config/config.json"))
	n.must(err)
	var fields map[string]any
	n.must(json.Unmarshal(config, &fields))
	fields["runtimes"] = []string{version}
	config, err = json.Marshal(fields)
	n.must(err)
	n.write(n.dir+"/config/config.json", string(config))
	words := append([]string{"NODE_CA_HOST_ETC=/etc", "NODE_CA_CERTIFICATES_DIR=" + n.dir + "/certificates",
		"NODE_CA_CONFIG_DIR=" + n.dir + "/config", "NODE_CA_STATE_DIR=" + n.dir + "/run"}, variables...)
	return n.run(append(words, product(n.t, "node-ca"), command)...)
}

// distrusted says that a pull failed for want of the CA, not for another reason.
func distrusted(out string, err error) error {
	if err == nil || !strings.Contains(out, "x509: certificate signed by unknown authority") {
		return fmt.Errorf("the pull should fail for want of trust: %v\n%s", err, out)
	}
	return nil
}

// follows shows that a runtime pulls after the agent has run and only then.
func (n *node) follows(version string, attempt func() (string, error), variables ...string) {
	n.t.Helper()
	pull := func() (out string, err error) {
		// Programs remember /etc/hosts for some seconds.
		for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
			out, err = attempt()
			if err == nil || !strings.Contains(out, "lookup "+service) || time.Now().After(deadline) {
				return out, err
			}
		}
	}
	n.must(appendTo(n.inside("/etc/hosts"), address+" "+service+"\n")) // that only trust is missing
	if err := distrusted(pull()); err != nil {
		n.t.Fatalf("before the agent: %v", err)
	}
	n.write("/etc/hosts", "127.0.0.1 localhost\n")
	status := n.agent(version, "once", variables...)
	if out, err := pull(); err != nil {
		n.t.Fatalf("after the agent: %v\n%s\n%s", err, out, status)
	}
	n.agent(version, "cleanup", variables...)
	n.must(appendTo(n.inside("/etc/hosts"), address+" "+service+"\n"))
	if err := distrusted(pull()); err != nil {
		n.t.Errorf("after the clean-up: %v", err)
	}
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
