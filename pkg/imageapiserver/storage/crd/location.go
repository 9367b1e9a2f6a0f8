package crd

import (
	"fmt"
	"strings"

	"k8s.io/apiserver/pkg/storage"
)

// location is where a storage key points to in the Kubernetes API.
type location struct {
	// key is the whole key, for errors.
	key string
	// namespace is empty for cluster-scoped records, and for all namespaces in a list.
	namespace string
	// name is the true name of the object, empty for a collection.
	name string
	// empty marks a prefix below an object, where nothing can be.
	empty bool
}

// object finds the single object that a key names.
func (s *Store) object(key string) (location, error) {
	at, err := s.locate(key, false)
	if err != nil {
		return location{}, err
	}
	if at.name == "" || at.empty {
		return location{}, fmt.Errorf("storage key %q does not name a single object", key)
	}
	return at, nil
}

// locate finds the collection below a key when recursive, else the object that it names.
func (s *Store) locate(key string, recursive bool) (location, error) {
	prepared, err := storage.PrepareKey(s.config.ResourcePrefix, key, recursive)
	if err != nil {
		return location{}, err
	}
	at := location{key: prepared}
	rest := strings.Trim(strings.TrimPrefix(prepared, s.config.ResourcePrefix), "/")
	if s.config.Namespaced {
		at.namespace, rest, _ = strings.Cut(rest, "/")
	}
	at.name = rest
	if recursive {
		at.empty = rest != ""
		return at, nil
	}
	at.empty = rest == "" || strings.Contains(rest, "/")
	return at, nil
}
