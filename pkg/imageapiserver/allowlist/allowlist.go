// Package allowlist decides from which registries images may be imported.
//
// In: one snapshot of the configured list (host names with wildcards), the
// names of this registry, a reference and how it will be reached. Out: yes, or
// an error for the user that names what is allowed.
//
// A List is immutable: requests share it, and one that allows more for the
// length of a request (Allowing) is a new List. An empty list allows
// everything, and this registry itself is always allowed. The package decides
// neither who may pass the list by, nor resolves any name.
package allowlist

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// Transport is how a registry will be reached. It decides on the port that a
// reference without port means.
type Transport int

const (
	// Secure is TLS with a verified certificate, port 443.
	Secure Transport = iota
	// Insecure is plain HTTP, port 80.
	Insecure
	// Any is what works: a reference without port matches entries with either
	// port.
	Any
)

// TransportOf is the transport of a reference whose tag or stream may be
// insecure.
func TransportOf(insecure bool) Transport {
	if insecure {
		return Any
	}
	return Secure
}

// maxNamed is how many entries a refusal names.
const maxNamed = 5

// List is one snapshot of what is allowed.
type List struct {
	entries []Entry
	hosts   repository.Hosts
	// repositories are allowed besides, by their exact name.
	repositories map[string]bool
}

// New makes a List. It fails on an entry that names no registry.
func New(locations []configv1.RegistryLocation, hosts repository.Hosts) (*List, error) {
	list := &List{hosts: hosts}
	for _, location := range locations {
		entry, err := ParseEntry(location)
		if err != nil {
			return nil, err
		}
		list.entries = append(list.entries, entry)
	}
	return list, nil
}

// AllowsAll tells whether nothing is ever refused.
func (l *List) AllowsAll() bool { return l == nil || len(l.entries) == 0 }

// Allows tells whether images may be imported from where ref points.
func (l *List) Allows(ref reference.DockerImageReference, transport Transport) bool {
	if l.AllowsAll() || l.hosts.Owns(ref.Registry) || l.repositories[repositoryOf(ref)] {
		return true
	}
	for _, candidate := range targets(ref, transport) {
		for _, entry := range l.entries {
			if entry.matches(candidate) {
				return true
			}
		}
	}
	return false
}

// Check refuses, on a field, a reference that is not allowed. What cannot be
// parsed is left to validation.
func (l *List) Check(path *field.Path, pullSpec string, transport Transport) *field.Error {
	if l.AllowsAll() {
		return nil
	}
	ref, err := reference.Parse(pullSpec)
	if err != nil || l.Allows(ref, transport) {
		return nil
	}
	return field.Forbidden(path, l.refusal(ref, transport))
}

// Allowing returns a List that also allows the repositories of the pull specs
// given. Those that cannot be parsed allow nothing.
func (l *List) Allowing(pullSpecs []string) *List {
	if l.AllowsAll() || len(pullSpecs) == 0 {
		return l
	}
	more := &List{entries: l.entries, hosts: l.hosts, repositories: make(map[string]bool, len(l.repositories)+len(pullSpecs))}
	for repository := range l.repositories {
		more.repositories[repository] = true
	}
	for _, pullSpec := range pullSpecs {
		if ref, err := reference.Parse(pullSpec); err == nil {
			more.repositories[repositoryOf(ref)] = true
		}
	}
	return more
}

// refusal says what is not allowed and what is.
func (l *List) refusal(ref reference.DockerImageReference, transport Transport) string {
	named := make([]string, 0, maxNamed)
	for i := 0; i < len(l.entries) && i < maxNamed; i++ {
		named = append(named, l.entries[i].String())
	}
	more := ""
	if n := len(l.entries) - len(named); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("images may not be imported from registry %s, only from %s%s",
		targets(ref, transport)[0], strings.Join(named, ", "), more)
}

// repositoryOf is the name by which references to one repository are equal.
func repositoryOf(ref reference.DockerImageReference) string {
	ref = ref.DockerClientDefaults().AsRepository()
	if reference.IsDockerHub(ref.Registry) {
		ref.Registry = reference.DefaultRegistry
	}
	return ref.Exact()
}
