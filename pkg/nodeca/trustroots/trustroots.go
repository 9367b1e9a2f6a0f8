// Package trustroots finds the directories in which the node's container runtimes look for the CA
// certificates of registries, and whether they really look there.
//
// Input are the directories that exist below /etc, containerd's configuration, and the runtime versions
// of the cluster's nodes. Output is a list of roots to serve with a verdict for each (effective, not
// effective, unknown) and reasons that tell an administrator what to add when a runtime does not
// listen. Decide, which maps a containerd configuration to a verdict, is pure.
//
// The package only reads. It never changes a runtime's configuration and never talks to a runtime.
package trustroots

import (
	"path"
	"strings"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// Kind says which runtime family reads a root.
type Kind string

// Kinds of roots.
const (
	Containerd Kind = "containerd"
	Containers Kind = "containers"
	Docker     Kind = "docker"
)

// Effect says whether the runtime reads the root.
type Effect int

// Effects, with the values of the metric.
const (
	Unknown      Effect = -1
	NotEffective Effect = 0
	Effective    Effect = 1
)

// String is the form of the status.
func (e Effect) String() string {
	return map[Effect]string{Unknown: "unknown", NotEffective: "false", Effective: "true"}[e]
}

// Root is one directory of trusted CAs.
type Root struct {
	// Path is below /etc, without leading slash.
	Path   string
	Kind   Kind
	Effect Effect
	// Active roots are served; in the others only what the agent once wrote is kept up to date.
	Active bool
	// Fallback is the path of the root in which the same runtimes look for hosts that have no directory
	// in this one; empty for none. They do not merge the two.
	Fallback string
}

// Result is what Detect found.
type Result struct {
	Roots   []Root
	Reasons []reasons.Reason
}

// The usual places, below /etc.
const (
	containerdRoot = "containerd/certs.d"
	containersRoot = "containers/certs.d"
	dockerRoot     = "docker/certs.d"
	// defaultList is containerd's default since 2.2. Its transfer service takes the list for one path.
	defaultList = "/etc/containerd/certs.d:/etc/docker/certs.d"
)

// Options of Detect.
type Options struct {
	// Forced are absolute host paths that replace detection; empty means detect.
	Forced []string
	// Runtimes are the runtime versions of all nodes, "containerd://2.2.1".
	Runtimes []string
	// CreatedByAgent tells whether the directory above a root exists only because the agent made it;
	// such a directory is no sign of a runtime. It may be nil.
	CreatedByAgent func(rootPath string) bool
}

// Detect looks at the tree and returns all roots, active ones first.
func Detect(root *fsroot.Root, options Options) Result {
	if len(options.Forced) > 0 {
		return withKnown(forced(options.Forced))
	}
	var result Result
	exists := func(rootPath string) bool {
		if runtime := path.Dir(rootPath); isLink(root, runtime) {
			// A runtime is there and follows the link, so saying nothing would make the node look served.
			result.Reasons = append(result.Reasons, reasons.New(reasons.SymlinkRefused, root.HostPath(runtime), "",
				"%s is a symbolic link, which is not followed; replace it by the directory", root.HostPath(runtime)))
			return false
		}
		return root.Exists(path.Dir(rootPath)) && (options.CreatedByAgent == nil || !options.CreatedByAgent(rootPath))
	}
	if exists(containerdRoot) {
		finding := Decide(readConfig(root), options.Runtimes)
		result.Roots = append(result.Roots, finding.Roots...)
		result.Reasons = append(result.Reasons, finding.Reasons...)
	}
	for _, other := range []Root{{Path: containersRoot, Kind: Containers}, {Path: dockerRoot, Kind: Docker}} {
		if exists(other.Path) {
			other.Active, other.Effect = true, Effective
			if other.Path == containersRoot {
				other.Fallback = dockerRoot
			}
			result.Roots = append(result.Roots, other)
		}
	}
	if len(result.Roots) == 0 && len(result.Reasons) == 0 {
		result.Roots = append(result.Roots, Root{Path: containerdRoot, Kind: Containerd, Active: true, Effect: Unknown})
		result.Reasons = append(result.Reasons, reasons.New(reasons.RuntimeNotRecognised, root.HostPath(containerdRoot), "",
			"none of /etc/containerd, /etc/containers and /etc/docker exists; %s is used", root.HostPath(containerdRoot)))
	}
	return withKnown(result)
}

func isLink(root *fsroot.Root, name string) bool {
	etc, err := root.Dir(".")
	if err != nil {
		return false
	}
	defer etc.Close()
	info, err := etc.Lstat(name)
	return err == nil && info.Link
}

// withKnown adds the known roots that are not active, because something may have been written there
// before.
func withKnown(result Result) Result {
	known := []Root{
		{Path: containerdRoot, Kind: Containerd},
		{Path: strings.TrimPrefix(defaultList, "/etc/"), Kind: Containerd},
		{Path: containersRoot, Kind: Containers},
		{Path: dockerRoot, Kind: Docker},
	}
	seen := map[string]bool{}
	unique := result.Roots[:0]
	for _, root := range append(result.Roots, known...) {
		if !seen[root.Path] {
			seen[root.Path] = true
			unique = append(unique, root)
		}
	}
	result.Roots = unique
	return result
}

func forced(paths []string) Result {
	var result Result
	for _, hostPath := range paths {
		rel, ok := belowEtc(hostPath)
		if !ok {
			result.Reasons = append(result.Reasons, reasons.New(reasons.ConfigPathUnreachable, hostPath, "", "%s is not a directory below /etc", hostPath))
			continue
		}
		result.Roots = append(result.Roots, Root{Path: rel, Kind: kindOf(rel), Active: true, Effect: Unknown})
	}
	return result
}

// kindOf guesses the runtime from the path; hosts.toml is written only for containerd.
func kindOf(rel string) Kind {
	switch {
	case strings.HasPrefix(rel, "containers/"):
		return Containers
	case strings.HasPrefix(rel, "docker/"):
		return Docker
	default:
		return Containerd
	}
}

// belowEtc turns an absolute host path into one below /etc. The text is not split at colons.
func belowEtc(hostPath string) (string, bool) {
	if !path.IsAbs(hostPath) || strings.ContainsRune(hostPath, 0) {
		return "", false
	}
	rel, ok := strings.CutPrefix(path.Clean(hostPath), "/etc/")
	return rel, ok && rel != ""
}
