// Package render writes what the components of the cluster are told: their
// configuration files and command lines.
//
// In: the layout and address plan. Out: text, the same for the same input, so
// that golden files show every setting and a restart happens only when a
// setting changed. It reads nothing but its embedded templates and writes
// nothing.
package render

import (
	"bytes"
	"embed"
	"fmt"
	"text/template"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(files, "templates/*"))

// values is what templates may name.
type values struct {
	plan.Layout
	Node     plan.Node
	PodCIDR  string
	Registry string
}

// Constants that templates need, as methods of values.
func (values) HostAddress() string   { return plan.HostAddress }
func (values) ClusterRange() string  { return plan.ClusterRange }
func (values) PodRange() string      { return plan.PodRange }
func (values) DNSService() string    { return plan.DNSService }
func (values) ClusterDomain() string { return plan.ClusterDomain }
func (values) PauseImage() string    { return plan.PauseImage }
func (values) CertsDir() string      { return plan.CertsDir }
func (values) Socket() string        { return plan.ContainerdSock }
func (values) DNSHealthPort() int    { return plan.DNSHealthPort }
func (values) DNSReadyPort() int     { return plan.DNSReadyPort }
func (values) DNSPort() int          { return plan.DNSPort }
func (values) KubeletHealth() int    { return plan.KubeletHealth }
func (values) ProxyHealth() int      { return plan.ProxyHealth }
func (values) StorageClass() string  { return plan.StorageClass }
func (values) Provisioner() string   { return plan.Provisioner }

func execute(name string, v values) ([]byte, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// Containerd is the node's containerd configuration.
func Containerd(l plan.Layout, n plan.Node) ([]byte, error) {
	return execute("containerd.toml", values{Layout: l, Node: n})
}

// Kubelet is the node's KubeletConfiguration.
func Kubelet(l plan.Layout, n plan.Node) ([]byte, error) {
	return execute("kubelet.yaml", values{Layout: l, Node: n})
}

// Proxy is the node's KubeProxyConfiguration.
func Proxy(l plan.Layout, n plan.Node) ([]byte, error) {
	return execute("kube-proxy.yaml", values{Layout: l, Node: n})
}

// Network is the node's CNI configuration; podCIDR is what the cluster gave the
// node when it registered.
func Network(l plan.Layout, n plan.Node, podCIDR string) ([]byte, error) {
	return execute("10-devcluster.conflist", values{Layout: l, Node: n, PodCIDR: podCIDR})
}

// Hosts is the first content of the node's /etc/hosts.
func Hosts(l plan.Layout, n plan.Node) ([]byte, error) {
	return execute("hosts", values{Layout: l, Node: n})
}

// Corefile configures CoreDNS.
func Corefile(l plan.Layout) ([]byte, error) { return execute("Corefile", values{Layout: l}) }

// AuditPolicy says which requests kube-apiserver notes down: those of the product's own accounts.
func AuditPolicy(l plan.Layout) ([]byte, error) {
	return execute("audit-policy.yaml", values{Layout: l})
}

// Manifests are the objects every cluster starts with.
func Manifests(l plan.Layout) ([]byte, error) { return execute("manifests.yaml", values{Layout: l}) }

// Env is the file that shells source; registry is a host address with a port.
func Env(l plan.Layout, registry string) ([]byte, error) {
	return execute("env", values{Layout: l, Registry: registry})
}
