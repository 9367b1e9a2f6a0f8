package repository

import "strings"

// Own splits a pull spec that names a repository of this registry into the
// namespace and name of its stream. ok is false for every other pull spec.
func (h Hosts) Own(pullSpec string) (namespace, name string, ok bool) {
	host, path, found := strings.Cut(pullSpec, "/")
	if !found || !h.Owns(host) {
		return "", "", false
	}
	path, _, _ = strings.Cut(path, "@")
	namespace, name, found = strings.Cut(path, "/")
	if !found {
		return "", "", false
	}
	name, _, _ = strings.Cut(name, ":")
	if namespace == "" || name == "" || strings.Contains(name, "/") || strings.Contains(namespace, ":") {
		return "", "", false
	}
	return namespace, name, true
}

// IsLocal tells whether a pull spec names the stream's own repository on this
// registry. Such a reference in a stream's history says that the content came
// in through that repository, so the repository may give it out.
func (h Hosts) IsLocal(pullSpec, namespace, name string) bool {
	ownNamespace, ownName, ok := h.Own(pullSpec)
	return ok && ownNamespace == namespace && ownName == name
}
