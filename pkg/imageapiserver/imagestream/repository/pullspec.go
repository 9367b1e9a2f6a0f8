package repository

import (
	"strings"

	"image.alauda.io/api/image/reference"
)

// Own splits a pull spec that names a repository of this registry into the
// namespace and name of its stream. ok is false for every other pull spec.
func (h Hosts) Own(pullSpec string) (namespace, name string, ok bool) {
	ref, err := reference.Parse(pullSpec)
	if err != nil || !h.Owns(ref.Registry) || ref.Namespace == "" || ref.Name == "" || strings.Contains(ref.Name, "/") {
		return "", "", false
	}
	return ref.Namespace, ref.Name, true
}

// IsLocal tells whether a pull spec names the stream's own repository on this
// registry. Such a reference in a stream's history says that the content came
// in through that repository, so the repository may give it out.
func (h Hosts) IsLocal(pullSpec, namespace, name string) bool {
	ownNamespace, ownName, ok := h.Own(pullSpec)
	return ok && ownNamespace == namespace && ownName == name
}
