package plan

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rootModule identifies the repository when looking for it from below.
const rootModule = "image.alauda.io/registry"

// Layout is where the cluster keeps its files.
type Layout struct {
	// Repo is the repository.
	Repo string
	// State is _output/devcluster of the repository.
	State string
}

// NewLayout returns the layout for a repository.
func NewLayout(repo string) Layout {
	return Layout{Repo: repo, State: filepath.Join(repo, "_output", "devcluster")}
}

// FindRepo walks up from each start until it meets the repository's go.mod.
func FindRepo(starts ...string) (string, error) {
	for _, start := range starts {
		for dir := filepath.Clean(start); ; dir = filepath.Dir(dir) {
			if moduleOf(filepath.Join(dir, "go.mod")) == rootModule {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("module %s is not above %s: run inside the repository or name it with --repo", rootModule, strings.Join(starts, " or "))
}

func moduleOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// Validate refuses paths that cannot be written into the options of an overlay
// mount or into shell-readable files.
func (l Layout) Validate() error {
	if strings.ContainsAny(l.State, ":,\\\"' \t\n$`") {
		return fmt.Errorf("the folder %s has a character that mount options or shells cannot take: move the repository", l.State)
	}
	return nil
}

func (l Layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.State}, elem...)...)
}

// Source is the folder of the devcluster module.
func (l Layout) Source() string { return filepath.Join(l.Repo, "hack", "devcluster") }

// Bin is the folder of the built components; it outlives `down`.
func (l Layout) Bin() string { return l.path("bin") }

// Binary is the path of one built component.
func (l Layout) Binary(name string) string { return l.path("bin", name) }

// Stamp says what a module's programs were built from.
func (l Layout) Stamp(module string) string { return l.path("bin", ".stamps", module) }

// PKI is the folder of keys, certificates and the components' kubeconfigs.
func (l Layout) PKI() string { return l.path("pki") }

// PKIFile is one file of PKI.
func (l Layout) PKIFile(name string) string { return l.path("pki", name) }

// Run is the folder of the supervisor's records.
func (l Layout) Run() string { return l.path("run") }

// Logs is the folder of the daemons' logs.
func (l Layout) Logs() string { return l.path("logs") }

// Log is the log of one daemon.
func (l Layout) Log(daemon string) string { return l.path("logs", daemon+".log") }

// Conf is the folder of rendered configuration of the control plane.
func (l Layout) Conf(name string) string { return l.path("conf", name) }

// Etcd is etcd's data folder.
func (l Layout) Etcd() string { return l.path("etcd") }

// Volumes is where the provisioner makes volumes.
func (l Layout) Volumes() string { return l.path("volumes") }

// Node is a file or folder of one node.
func (l Layout) Node(n Node, elem ...string) string {
	return l.path(append([]string{"nodes", n.Name()}, elem...)...)
}

// Images is the folder of images that devcluster makes itself.
func (l Layout) Images() string { return l.path("images") }

// Kubeconfig is the administrator's.
func (l Layout) Kubeconfig() string { return l.path("kubeconfig") }

// Env is the file to source in a shell.
func (l Layout) Env() string { return l.path("env") }

// RegistryCA is where the installer puts the registry's CA.
func (l Layout) RegistryCA() string { return l.path("registry-ca.crt") }

// Record is where the cluster's size is remembered.
func (l Layout) Record() string { return l.path("cluster.json") }

// Lock is held by whoever changes the cluster.
func (l Layout) Lock() string { return filepath.Join(l.Repo, "_output", ".devcluster.lock") }

// Kept lists the entries of State that outlive `down`.
func Kept() []string { return []string{"bin"} }
