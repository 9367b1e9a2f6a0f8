package streams

import (
	"context"
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/registry/route"
)

// Names are the names "<namespace>/<stream>" of all streams, byte-sorted. The list may
// change between two calls.
type Names interface {
	// After returns at most limit names that are greater than a text.
	After(after string, limit int) []string
	// NamespacesAfter returns at most limit namespaces that have such names, in the order
	// of their names. PastNamespace leads to the next ones.
	NamespacesAfter(after string, limit int) []string
}

// PastNamespace is a text that is greater than all names of a namespace and smaller than
// those of the next ones: "0" is what follows "/". It is no name itself.
func PastNamespace(namespace string) string { return namespace + "0" }

// Names returns the names of all streams: as the watch shows them while it is believed,
// else from the API.
func (v *Views) Names(ctx context.Context) (Names, error) {
	if v.known.healthy() {
		return v.known, nil
	}
	names, _, err := v.lists.get(ctx, struct{}{}, true)
	return names, err
}

func (v *Views) list(ctx context.Context, _ struct{}) (sortedNames, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*readTimeout)
	defer cancel()
	list, err := v.options.API.StreamNames(ctx)
	if err != nil {
		return nil, err
	}
	names := make(sortedNames, 0, len(list))
	for _, name := range list {
		names = append(names, name.String())
	}
	slices.Sort(names)
	return names, nil
}

// sortedNames implement Names.
type sortedNames []string

// After implements Names.
func (s sortedNames) After(after string, limit int) []string {
	rest := s.behind(after)
	return slices.Clone(rest[:min(limit, len(rest))])
}

// NamespacesAfter implements Names.
func (s sortedNames) NamespacesAfter(after string, limit int) []string {
	var namespaces []string
	for rest := s.behind(after); len(rest) > 0 && len(namespaces) < limit; {
		namespace, _, _ := strings.Cut(rest[0], "/")
		namespaces = append(namespaces, namespace)
		rest = rest.behind(PastNamespace(namespace))
	}
	return namespaces
}

func (s sortedNames) behind(after string) sortedNames {
	at, found := slices.BinarySearch(s, after)
	if found {
		at++
	}
	return s[at:]
}

// insert returns the list with the name.
func (s sortedNames) insert(name string) sortedNames {
	at, found := slices.BinarySearch(s, name)
	if found {
		return s
	}
	return slices.Insert(s, at, name)
}

// remove returns the list without the name.
func (s sortedNames) remove(name string) sortedNames {
	at, found := slices.BinarySearch(s, name)
	if !found {
		return s
	}
	return slices.Delete(s, at, at+1)
}

// nameOf takes a name apart that came from an object.
func nameOf(namespace, stream string) route.Name {
	return route.Name{Namespace: namespace, Stream: stream}
}
