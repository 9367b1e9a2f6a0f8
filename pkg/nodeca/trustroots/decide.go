package trustroots

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// Config is what matters of containerd's configuration after all imports were merged.
type Config struct {
	// Present is false when there is no config.toml; containerd then uses its defaults.
	Present bool
	// Version is 0 when the file does not say.
	Version int
	// HasPlugins is true when any plugin is configured.
	HasPlugins bool
	// CRIDisabled is true when disabled_plugins names the CRI plugin.
	CRIDisabled bool
	// ConfigPath is the first set registry.config_path, Mirrors whether registry.mirrors has entries.
	ConfigPath string
	Mirrors    bool
	// Problem is set when the configuration, or a part of it, could not be read.
	Problem string
	// Partial is true when the problem concerns only an import.
	Partial bool
}

// Decide turns containerd's configuration and the runtime versions of the nodes into the roots to
// serve. No active root means that the node's containerd does not run containers for Kubernetes.
func Decide(config Config, runtimes []string) Result {
	standard := func(effect Effect) []Root { return []Root{{containerdRoot, Containerd, effect, true, ""}} }
	versions := versionsOf(runtimes)
	switch {
	case config.Problem != "" && !config.Partial:
		return say(standard(Unknown), reasons.ConfigUnreadable, "containerd's configuration cannot be read: %s", config.Problem)
	case config.CRIDisabled:
		return Result{Roots: []Root{{containerdRoot, Containerd, NotEffective, false, ""}}}
	case config.Version == 1 || (config.Present && config.Version == 0 && config.HasPlugins) || versions.allBelow(1, 5):
		return say(standard(NotEffective), reasons.UnsupportedRuntime,
			"containerd before 1.5, or a config.toml of version 1, has no directory of registry certificates; upgrade it")
	}
	result := decidePath(config, versions, standard)
	if config.Partial {
		for i := range result.Roots {
			result.Roots[i].Effect = Unknown
		}
		result.Reasons = append(result.Reasons, reasons.New(reasons.ConfigUnreadable, "/etc/containerd/config.toml", "", "an import of containerd's configuration cannot be read: %s", config.Problem))
	}
	return result
}

func decidePath(config Config, versions versionSet, standard func(Effect) []Root) Result {
	switch {
	case strings.Contains(config.ConfigPath, ":"):
		return list(config, config.ConfigPath, Effective)
	case config.ConfigPath != "":
		rel, ok := belowEtc(config.ConfigPath)
		if !ok {
			return say(nil, reasons.ConfigPathUnreachable, "containerd reads %s, which is outside /etc; %s", config.ConfigPath, stanza(config))
		}
		return Result{Roots: []Root{{rel, Containerd, Effective, true, ""}}}
	case config.Mirrors:
		return say(standard(NotEffective), reasons.LegacyMirrors,
			"containerd ignores /etc/containerd/certs.d because registry.mirrors is set; move the mirrors to hosts.toml files and %s", stanza(config))
	case config.Version >= 4 || versions.allFrom(2, 2):
		return list(config, defaultList, Effective)
	case versions.allBelow(2, 2):
		return say(standard(NotEffective), reasons.ConfigPathNotSet, "containerd ignores /etc/containerd/certs.d; %s", stanza(config))
	default:
		result := list(config, defaultList, Unknown)
		result.Reasons = append(result.Reasons, reasons.New(reasons.ConfigPathUnknown, "/etc/containerd/config.toml", "",
			"whether containerd reads /etc/containerd/certs.d depends on its version; to be sure %s", stanza(config)))
		return result
	}
}

// list serves the first directory of a list and the whole text as one literal path: since 2.1
// containerd pulls through a service that does not split the list and looks for a directory with a
// colon in its name.
func list(config Config, value string, effect Effect) Result {
	first, rest, _ := strings.Cut(value, ":")
	rel, ok := belowEtc(first)
	second, _, _ := strings.Cut(rest, ":")
	fallback, _ := belowEtc(second)
	literal, literalOK := belowEtc(value)
	if !ok || !literalOK {
		return say(nil, reasons.ConfigPathUnreachable, "containerd reads %s, which is outside /etc; %s", value, stanza(config))
	}
	result := say([]Root{{rel, Containerd, effect, true, fallback}, {literal, Containerd, effect, true, ""}}, reasons.ConfigPathList,
		"containerd's config_path is the list %s; it is served as a list and as one literal path", value)
	return result
}

func say(roots []Root, word, format string, args ...any) Result {
	where := "/etc/containerd/config.toml"
	if len(roots) > 0 {
		where = path.Join("/etc", roots[0].Path)
	}
	return Result{Roots: roots, Reasons: []reasons.Reason{reasons.New(word, where, "", format, args...)}}
}

// stanza is what an administrator adds to config.toml. The form of version 2 is read by every containerd that
// has the directory; a file that names no version is one of version 1 for all of them.
func stanza(config Config) string {
	const ending = "config_path = %q%s and restart containerd"
	switch directory := "/etc/" + containerdRoot; {
	case config.Version == 0:
		return fmt.Sprintf("begin /etc/containerd/config.toml with version = 2, set in it [plugins.%q.registry] "+ending, pluginCRI, directory, "")
	case config.Version == 2:
		return fmt.Sprintf("set [plugins.%q.registry] "+ending, pluginCRI, directory, " in /etc/containerd/config.toml")
	default:
		return fmt.Sprintf("set [plugins.%q.registry] "+ending, pluginImages, directory, " in /etc/containerd/config.toml")
	}
}

// versionSet holds the distinct containerd versions of the nodes; unknown is true when there is none or
// one could not be understood.
type versionSet struct {
	all     [][2]int
	unknown bool
}

func versionsOf(runtimes []string) versionSet {
	var set versionSet
	for _, runtime := range runtimes {
		text, ok := strings.CutPrefix(runtime, "containerd://")
		if !ok {
			continue
		}
		parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
		if len(parts) < 2 {
			set.unknown = true
			continue
		}
		major, errMajor := strconv.Atoi(parts[0])
		minor, errMinor := strconv.Atoi(strings.TrimRight(parts[1], "+~-abcdefghijklmnopqrstuvwxyz"))
		if errMajor != nil || errMinor != nil {
			set.unknown = true
			continue
		}
		set.all = append(set.all, [2]int{major, minor})
	}
	set.unknown = set.unknown || len(set.all) == 0
	return set
}

func (s versionSet) allFrom(major, minor int) bool  { return s.every(major, minor, false) }
func (s versionSet) allBelow(major, minor int) bool { return s.every(major, minor, true) }

func (s versionSet) every(major, minor int, below bool) bool {
	for _, version := range s.all {
		isBelow := version[0] < major || (version[0] == major && version[1] < minor)
		if isBelow != below {
			return false
		}
	}
	return !s.unknown
}
