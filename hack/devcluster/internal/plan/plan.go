// Package plan holds what the development cluster is called and where it lives:
// addresses, interface names, namespaces, cgroups, ports and paths.
//
// Everything is fixed or follows from the index of a node, so that `down` can
// find and remove a cluster whose records are lost. All addresses come from
// 198.18.0.0/15, the range set aside for benchmarks between private machines:
// no packet of the cluster has a way out of the machine.
//
// Nothing here reads or changes the machine.
package plan

import (
	"fmt"
	"regexp"
	"strconv"
)

// Addresses of the cluster. Nodes are .11, .12, … in NodeNetwork; the host is
// HostAddress on the bridge.
const (
	ClusterRange     = "198.18.0.0/15"
	NodeNetwork      = "198.18.0.0/24"
	NodePrefix       = 24
	HostAddress      = "198.18.0.1"
	PodRange         = "198.18.64.0/18"
	PodPrefix        = 24
	ServiceRange     = "198.18.128.0/18"
	UnreachableRange = "198.18.128.0/17"
	APIService       = "198.18.128.1"
	DNSService       = "198.18.128.10"
	ClusterDomain    = "cluster.local"
)

// Names that exist once on the machine.
const (
	Bridge          = "brdev"
	StorageClass    = "local"
	Provisioner     = "devcluster.image.alauda.io/local"
	PauseImage      = "localhost/pause:dev"
	ContainerdSock  = "/run/containerd/containerd.sock"
	CertsDir        = "/etc/containerd/certs.d"
	NamespaceFolder = "/run/netns"
)

// Ports of the cluster on the machine.
const (
	APIServerPort   = 6443
	EtcdPort        = 2379
	EtcdPeerPort    = 2380
	ControllersPort = 10257
	SchedulerPort   = 10259
	DNSPort         = 53
	DNSHealthPort   = 8180
	DNSReadyPort    = 8181
	RegistryPort    = 5000
	KubeletHealth   = 10248
	ProxyHealth     = 10256
)

// MaxNodes is bounded by the address plan: one /24 of PodRange per node.
const MaxNodes = 40

const (
	namespacePrefix = "dev-node"
	vethPrefix      = "vn"
	cgroupPrefix    = "devnode"
	nodePrefix      = "node"
)

// Patterns match what a cluster of any size may have left on the machine.
var (
	NamespacePattern = regexp.MustCompile(`^dev-node[0-9]+$`)
	VethPattern      = regexp.MustCompile(`^vn[0-9]+$`)
	CgroupPattern    = regexp.MustCompile(`^devnode[0-9]+$`)
	CgroupPath       = regexp.MustCompile(`(?m)^[^:]*:[^:]*:/(?:.*/)?devnode[0-9]+(?:/|$)`)
	nodePattern      = regexp.MustCompile(`^node([1-9][0-9]?)$`)
)

// Node is one sandboxed node; its index starts at 1.
type Node struct{ Index int }

// Nodes lists the nodes of a cluster with count nodes.
func Nodes(count int) ([]Node, error) {
	if count < 1 || count > MaxNodes {
		return nil, fmt.Errorf("a cluster has 1 to %d nodes, not %d", MaxNodes, count)
	}
	nodes := make([]Node, count)
	for i := range nodes {
		nodes[i] = Node{Index: i + 1}
	}
	return nodes, nil
}

// ParseNode turns a name like "node2" into the node.
func ParseNode(name string) (Node, error) {
	m := nodePattern.FindStringSubmatch(name)
	if m == nil {
		return Node{}, fmt.Errorf("%q is not a node: nodes are called node1, node2, …", name)
	}
	index, err := strconv.Atoi(m[1])
	if err != nil || index > MaxNodes {
		return Node{}, fmt.Errorf("%q is not a node: a cluster has at most %d", name, MaxNodes)
	}
	return Node{Index: index}, nil
}

// Name is the name of the Node object and the node's host name.
func (n Node) Name() string { return nodePrefix + strconv.Itoa(n.Index) }

// Namespace is the name of the node's network namespace.
func (n Node) Namespace() string { return namespacePrefix + strconv.Itoa(n.Index) }

// Veth is the host's end of the node's cable.
func (n Node) Veth() string { return vethPrefix + strconv.Itoa(n.Index) }

// Cgroup is the node's cgroup in every hierarchy, without a slash.
func (n Node) Cgroup() string { return cgroupPrefix + strconv.Itoa(n.Index) }

// Address is the node's address on the bridge.
func (n Node) Address() string { return fmt.Sprintf("198.18.0.%d", 10+n.Index) }

// Daemon is the name under which a daemon of this node is supervised.
func (n Node) Daemon(component string) string { return n.Name() + "-" + component }
