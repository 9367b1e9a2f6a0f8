package host

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

// SetUpBridge makes the bridge with the host's address, and the route that
// keeps what is meant for Services from leaving the machine.
func SetUpBridge(ctx context.Context) error {
	if !linkExists(plan.Bridge) {
		if err := run(ctx, "ip", "link", "add", plan.Bridge, "type", "bridge"); err != nil {
			return err
		}
	}
	return ip(ctx,
		[]string{"addr", "replace", plan.HostAddress + "/" + strconv.Itoa(plan.NodePrefix), "dev", plan.Bridge},
		[]string{"link", "set", plan.Bridge, "up"},
		[]string{"route", "replace", "unreachable", plan.UnreachableRange},
	)
}

// SetUpNode makes the node's network namespace and its cable to the bridge. A
// cable that was cut stays cut.
func SetUpNode(ctx context.Context, n plan.Node) error {
	ns := n.Namespace()
	if !namespaceWorks(ctx, ns) {
		if err := RemoveNode(ctx, n); err != nil {
			return err
		}
		if err := ip(ctx, []string{"netns", "add", ns}); err != nil {
			return err
		}
	}
	if linkExists(n.Veth()) {
		return nil
	}
	return ip(ctx,
		[]string{"link", "add", n.Veth(), "type", "veth", "peer", "name", "eth0", "netns", ns},
		[]string{"link", "set", n.Veth(), "master", plan.Bridge, "up"},
		[]string{"-n", ns, "addr", "replace", n.Address() + "/" + strconv.Itoa(plan.NodePrefix), "dev", "eth0"},
		[]string{"-n", ns, "link", "set", "eth0", "up"},
		[]string{"-n", ns, "link", "set", "lo", "up"},
		// kube-proxy answers for Services before a packet takes this route;
		// without a route there would be no packet.
		[]string{"-n", ns, "route", "replace", plan.ServiceRange, "via", plan.HostAddress},
	)
}

// namespaceWorks is false for a name that a crash or a restart of the machine
// left without a namespace behind it.
func namespaceWorks(ctx context.Context, ns string) bool {
	if _, err := os.Stat(filepath.Join(plan.NamespaceFolder, ns)); err != nil {
		return false
	}
	return run(ctx, "ip", "-n", ns, "link", "show", "lo") == nil
}

// RoutePods tells the host and every other node where a node's Pods are.
func RoutePods(ctx context.Context, podCIDR map[plan.Node]string) error {
	for n, cidr := range podCIDR {
		route := []string{"route", "replace", cidr, "via", n.Address()}
		if err := ip(ctx, route); err != nil {
			return err
		}
		for other := range podCIDR {
			if other == n {
				continue
			}
			if err := ip(ctx, append([]string{"-n", other.Namespace()}, route...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Connect plugs the node's cable in, or pulls it.
func Connect(ctx context.Context, n plan.Node, on bool) error {
	state := "down"
	if on {
		state = "up"
	}
	return ip(ctx, []string{"link", "set", n.Veth(), state})
}

// RemoveNode removes the node's cable and namespace.
func RemoveNode(ctx context.Context, n plan.Node) error {
	if linkExists(n.Veth()) {
		if err := ip(ctx, []string{"link", "del", n.Veth()}); err != nil {
			return err
		}
	}
	return removeNamespace(ctx, n.Namespace())
}

func removeNamespace(ctx context.Context, ns string) error {
	path := filepath.Join(plan.NamespaceFolder, ns)
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	if err := ip(ctx, []string{"netns", "del", ns}); err == nil {
		return nil
	}
	// A file without a mount, as a restart of the machine leaves it.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("network namespace %s: %w", ns, err)
	}
	return nil
}

// RemoveNetwork removes every interface, namespace and route of a cluster of
// any size.
func RemoveNetwork(ctx context.Context) error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if plan.VethPattern.MatchString(l.Name) || l.Name == plan.Bridge {
			// The kernel may be taking the interface away at this moment.
			if err := ip(ctx, []string{"link", "del", l.Name}); err != nil && linkExists(l.Name) {
				return err
			}
		}
	}
	for _, ns := range Namespaces() {
		if err := removeNamespace(ctx, ns); err != nil {
			return err
		}
	}
	// Fails when there is no such route, which is the aim.
	_ = ip(ctx, []string{"route", "del", "unreachable", plan.UnreachableRange})
	removeNamespaceFolder()
	return nil
}

// removeNamespaceFolder undoes what `ip netns add` does on its first use: it
// mounts the folder of names on itself. Somebody else's namespaces keep it.
func removeNamespaceFolder() {
	if entries, err := os.ReadDir(plan.NamespaceFolder); err != nil || len(entries) > 0 {
		return
	}
	_ = syscall.Unmount(plan.NamespaceFolder, 0)
	_ = syscall.Rmdir(plan.NamespaceFolder)
}

// Namespaces lists the network namespaces of nodes that exist.
func Namespaces() []string {
	entries, _ := os.ReadDir(plan.NamespaceFolder)
	var names []string
	for _, e := range entries {
		if plan.NamespacePattern.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func ip(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if err := run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}
