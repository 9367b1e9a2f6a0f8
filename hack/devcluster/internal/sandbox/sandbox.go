// Package sandbox makes a node out of namespaces: its own network, mounts and
// host name over the machine's file system.
//
// Each node has one holder process. It is started inside the node's network
// namespace with fresh mount and UTS namespaces, gives the node a private /etc
// and private state folders where components have fixed paths, says that it is
// ready and then only keeps the namespaces alive. Everything else on the node
// is started by entering the holder's namespaces.
//
// All mounts are made inside the holder's mount namespace: when the last
// process of the node ends, the kernel takes them away.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
	"image.alauda.io/registry/hack/devcluster/internal/proc"
)

// private are folders at fixed paths that two nodes must not share; each is
// covered by the node's own.
var private = []string{
	"/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni",
	"/var/log/pods", "/var/log/containers",
}

// volatile are covered by an empty file system of the node's own.
var volatile = []string{"/run/containerd", "/run/netns"}

// HolderArgs is the command line that starts a node's holder.
func HolderArgs(program string, l plan.Layout, n plan.Node) []string {
	return []string{"nsenter", "--net=" + filepath.Join(plan.NamespaceFolder, n.Namespace()),
		"unshare", "--mount", "--uts", "--propagation", "private",
		program, "hold", "--repo", l.Repo, n.Name()}
}

// EnterArgs is the command line that runs args inside the node of a holder.
func EnterArgs(holder int, args ...string) []string {
	enter := []string{"nsenter", "--target=" + strconv.Itoa(holder), "--mount", "--uts", "--net", "--"}
	return append(enter, args...)
}

// Root is the node's file system as seen from the machine.
func Root(holder int) string { return filepath.Join("/proc", strconv.Itoa(holder), "root") }

func readyFile(l plan.Layout, n plan.Node) string { return l.Node(n, "holder") }

// Ready says whether this holder has finished its mounts.
func Ready(l plan.Layout, n plan.Node, holder proc.Identity) bool {
	b, err := os.ReadFile(readyFile(l, n))
	return err == nil && string(b) == mark(holder)
}

func mark(id proc.Identity) string { return fmt.Sprintf("%d %d %s\n", id.PID, id.Start, id.Boot) }

// Hold is the holder: it sets the node up and stays until ctx ends.
func Hold(ctx context.Context, l plan.Layout, n plan.Node, hosts []byte) error {
	if err := setUp(l, n, hosts); err != nil {
		return fmt.Errorf("%s: %w", n.Name(), err)
	}
	self, err := proc.System().Identify(os.Getpid())
	if err != nil {
		return err
	}
	if err := os.WriteFile(readyFile(l, n), []byte(mark(self)), 0o644); err != nil {
		return err
	}
	fmt.Printf("%s is set up\n", n.Name())
	<-ctx.Done()
	return nil
}

func setUp(l plan.Layout, n plan.Node, hosts []byte) error {
	// Volumes that Pods share with their node need shared mounts below a root
	// that is itself private to the node.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts inside the node: %w", err)
	}
	if err := overlayEtc(l, n); err != nil {
		return err
	}
	for _, path := range private {
		if err := bind(l.Node(n, "root", path), path); err != nil {
			return err
		}
	}
	for _, path := range volatile {
		if err := cover(path); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(n.Name())); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := writeEtc(n, hosts); err != nil {
		return err
	}
	return forward()
}

func overlayEtc(l plan.Layout, n plan.Node) error {
	upper, work := l.Node(n, "etc"), l.Node(n, "etc.work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", "/etc", "overlay", 0, options); err != nil {
		return fmt.Errorf("overlay over /etc (%s): %w", options, err)
	}
	return nil
}

func bind(from, to string) error {
	for _, dir := range []string{from, to} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	// Private and shared again: otherwise what is mounted below the folder would
	// appear a second time below the folder that it came from.
	for _, kind := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", to, "", kind, ""); err != nil {
			return fmt.Errorf("separate %s: %w", to, err)
		}
	}
	return nil
}

func cover(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("cover %s: %w", path, err)
	}
	return nil
}

// writeEtc gives the node what makes a machine one: the names it knows, no name
// server outside, an identity, and the folder of registries to trust. What the
// node already has stays, as on a machine that was switched off.
func writeEtc(n plan.Node, hosts []byte) error {
	if err := os.MkdirAll(plan.CertsDir, 0o755); err != nil {
		return err
	}
	for path, content := range map[string]string{
		"/etc/hosts":       string(hosts),
		"/etc/hostname":    n.Name() + "\n",
		"/etc/machine-id":  fmt.Sprintf("%032x\n", n.Index),
		"/etc/resolv.conf": "# This node has no way to a name server.\n",
	} {
		if err := replaceOnce(path, content); err != nil {
			return err
		}
	}
	return nil
}

// replaceOnce replaces a file of the machine below the overlay, but not what the
// node itself wrote before.
func replaceOnce(path, content string) error {
	done := filepath.Join(filepath.Dir(path), ".devcluster-"+filepath.Base(path))
	if _, err := os.Lstat(done); err == nil {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

// forward lets packets pass between the node's Pods and the bridge.
func forward() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets: %w", err)
	}
	return nil
}

// RemoveMountpoints removes the folders that private mounts needed at fixed
// paths, where they are empty: what the machine itself keeps there stays.
func RemoveMountpoints() {
	for _, path := range append(append([]string{}, private...), "/run/containerd") {
		_ = syscall.Rmdir(path)
	}
}

// Unmount takes away mounts below dir that are visible on the machine itself,
// the last made first. There are none unless something went wrong.
func Unmount(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	points := mountsBelow(string(b), dir)
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", points[i], err)
		}
	}
	return nil
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountsBelow reads mount points below dir from proc(5)'s mountinfo.
func mountsBelow(mountinfo, dir string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// WaitReady waits until the holder has finished its mounts.
func WaitReady(ctx context.Context, l plan.Layout, n plan.Node, holder proc.Identity) error {
	for !Ready(l, n, holder) {
		if !proc.System().Alive(holder) {
			return errors.New("the process that holds the node's namespaces ended")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
