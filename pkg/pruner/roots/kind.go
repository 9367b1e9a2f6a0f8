package roots

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/pruner/references"
)

// Origin says how a kind came to be a root.
type Origin string

// The origins.
const (
	BuiltIn    Origin = "built in"
	Preset     Origin = "preset"
	Configured Origin = "configured"
	Discovered Origin = "discovered"
)

// Kind is a kind of objects that may use images.
type Kind struct {
	Group, Version, Resource string
	// Kind is its name in objects; empty if the API server does not serve it.
	Kind       string
	Namespaced bool
	Origin     Origin
	// Detail says why: of discovered kinds where in the schema images are named.
	Detail string
	// Required: a run that cannot list the objects must not go on.
	Required bool
	// Unlistable says why the objects cannot be listed, whatever the rights of the caller; empty if they can.
	Unlistable string
	// Watchable: changes of the objects can be followed.
	Watchable bool
	// Selections say what is read of the objects; empty means everything.
	Selections []Selection
}

// Selection is a part of the objects of a kind.
type Selection struct {
	// Namespaces; empty means all.
	Namespaces []string
	// LabelSelector; empty means all.
	LabelSelector string
	// Paths are the fields that hold images; empty means that every string is looked at.
	Paths []*references.Path
}

// Name returns "resource.group", as kubectl writes it.
func (k Kind) Name() string { return nameOf(k.Group, k.Resource) }

// Namespaces are those whose objects are read; empty means all.
func (k Kind) Namespaces() []string {
	var all []string
	for _, selection := range k.Selections {
		if len(selection.Namespaces) == 0 {
			return nil
		}
		all = append(all, selection.Namespaces...)
	}
	return all
}

// GVR returns the resource to read.
func (k Kind) GVR() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}
}

func nameOf(group, resource string) string {
	if group == "" {
		return resource
	}
	return resource + "." + group
}

// own are the groups that the pruner reads by other means, or that describe the registry itself.
var own = []string{imagev1.SchemeGroupVersion.Group, imageregistryv1.SchemeGroupVersion.Group}

// BuiltIns are the kinds of Kubernetes itself that use images, by group. They are always read.
func BuiltIns() map[string][]string {
	return map[string][]string{
		"":      {"pods", "replicationcontrollers", "podtemplates"},
		"apps":  {"replicasets", "deployments", "daemonsets", "statefulsets", "controllerrevisions"},
		"batch": {"jobs", "cronjobs"},
	}
}

func isBuiltIn(group, resource string) bool { return slices.Contains(BuiltIns()[group], resource) }

// harmless are groups served by programs beside the API server that hold figures about other objects. When
// such a program is away for a while, no user of images is unknown.
var harmless = []string{"metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"}

// Exclusions are kinds that the administrator leaves out: "group" or "resource.group".
type Exclusions []string

// Has tells whether the kind is left out.
func (e Exclusions) Has(group, resource string) bool {
	for _, excluded := range e {
		if excluded == group || excluded == nameOf(group, resource) {
			return true
		}
	}
	return false
}

// hasGroup tells whether a whole group is left out.
func (e Exclusions) hasGroup(group string) bool {
	for _, excluded := range e {
		if excluded == group {
			return true
		}
	}
	return false
}

// unused lists the exclusions that match none of the kinds, which are probably spelled wrong.
func (e Exclusions) unused(served []served) []string {
	var unused []string
	for _, excluded := range e {
		matches := false
		for _, s := range served {
			matches = matches || excluded == s.group || strings.EqualFold(excluded, nameOf(s.group, s.resource))
		}
		if !matches {
			unused = append(unused, excluded)
		}
	}
	return unused
}
