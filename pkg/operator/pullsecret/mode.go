package pullsecret

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// Mode is what is done about pull secrets.
type Mode string

// The modes.
const (
	// Full creates, injects and refreshes.
	Full Mode = "Full"
	// RefreshOnly keeps existing Secrets valid and does nothing else.
	RefreshOnly Mode = "RefreshOnly"
	// Remove takes references and Secrets away.
	Remove Mode = "Remove"
	// Off writes nothing; tokens run out.
	Off Mode = "Off"
)

// EffectiveMode combines the state of Config with the one of its imagePullSecret. A nil config means
// that there is none.
func EffectiveMode(config *imageregistryv1.Config) Mode {
	if config == nil {
		return Remove
	}
	registry := config.Spec.ManagementState
	if config.DeletionTimestamp != nil {
		registry = imageregistryv1.Removed
	}
	pull := config.Spec.ImagePullSecret.ManagementState
	if pull == "" {
		pull = imageregistryv1.Managed
	}
	switch {
	case registry == imageregistryv1.Managed && pull == imageregistryv1.Managed:
		return Full
	case registry == imageregistryv1.Managed && pull == imageregistryv1.Removed:
		return Remove
	case registry == imageregistryv1.Unmanaged && pull == imageregistryv1.Managed:
		return RefreshOnly
	case registry == imageregistryv1.Removed && pull != imageregistryv1.Unmanaged:
		return Remove
	}
	return Off
}

// Scope says which namespaces and ServiceAccounts are served.
type Scope struct {
	// OperandNamespace is always out of scope while system namespaces are ignored.
	OperandNamespace string
	// Ignored are exact names.
	Ignored []string
	// IgnoreSystem leaves out the namespaces of the platform itself.
	IgnoreSystem bool
}

// ScopeOf reads the scope from config; nil means that there is none.
func ScopeOf(config *imageregistryv1.Config, operandNamespace string) Scope {
	scope := Scope{OperandNamespace: operandNamespace, IgnoreSystem: true}
	if config != nil {
		scope.Ignored = config.Spec.ImagePullSecret.IgnoredNamespaces
		if ignore := config.Spec.ImagePullSecret.IgnoreSystemNamespaces; ignore != nil {
			scope.IgnoreSystem = *ignore
		}
	}
	return scope
}

// HasNamespace tells whether ServiceAccounts of namespace are served.
func (s Scope) HasNamespace(namespace *corev1.Namespace) bool {
	switch {
	case namespace.DeletionTimestamp != nil,
		namespace.Labels[IgnoreLabel] == "true",
		slices.Contains(s.Ignored, namespace.Name),
		s.IgnoreSystem && s.isSystem(namespace.Name):
		return false
	}
	return true
}

// systemPrefix begins the names of the namespaces of Kubernetes itself.
const systemPrefix = "kube-"

func (s Scope) isSystem(name string) bool {
	return slices.Contains(s.systemNames(), name) || strings.HasPrefix(name, systemPrefix)
}

func (s Scope) systemNames() []string {
	return []string{s.OperandNamespace, "cpaas-system", "olm", "operators"}
}

// Excluded says the same by names and by beginnings of names, each sorted: for whoever cannot call
// HasNamespace. Labels and deletion are not in it.
func (s Scope) Excluded() (names, prefixes []string) {
	names = slices.Clone(s.Ignored)
	if s.IgnoreSystem {
		names = append(names, s.systemNames()...)
		prefixes = []string{systemPrefix}
	}
	slices.Sort(names)
	return slices.Compact(names), prefixes
}

// ModeFor narrows the mode of the cluster down to one ServiceAccount. What leaves the scope loses its
// credential; what is being deleted is left to the garbage collector.
func (s Scope) ModeFor(mode Mode, namespace *corev1.Namespace, account *Account) Mode {
	if namespace.DeletionTimestamp != nil || account.Deleting {
		return Off
	}
	if s.HasNamespace(namespace) && !account.OptedOut {
		return mode
	}
	if mode == Full {
		return Remove
	}
	if mode == RefreshOnly {
		return Off
	}
	return mode
}
