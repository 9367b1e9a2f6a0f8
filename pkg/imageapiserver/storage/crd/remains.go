package crd

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// remains returns what is known of an object whose damaged record was deleted: its name and labels. Who
// watches knew the object before the damage and must learn that it is gone. It is false when the record
// does not even tell the name.
func (s *Store) remains(r *record) (runtime.Object, bool) {
	name, found := nameOf(r)
	if !found {
		return nil, false
	}
	obj := s.config.NewFunc()
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return nil, false
	}
	version, err := s.versioner.ParseResourceVersion(r.ResourceVersion)
	if err != nil {
		return nil, false
	}
	metadata.SetName(name)
	metadata.SetNamespace(r.Namespace)
	metadata.SetLabels(r.Labels)
	return obj, s.versioner.UpdateObject(obj, version) == nil
}

// nameOf finds the true name of a record's object: in the annotation when it belongs to the record's
// name, else in that name itself unless it is an escaped one.
func nameOf(r *record) (string, bool) {
	if name, found := r.Annotations[nameAnnotation]; found && recordName(name) == r.Name {
		return name, true
	}
	if digest, found := strings.CutPrefix(r.Name, digestNamePrefix); found && isHexDigest(digest) {
		return digestPrefix + digest, true
	}
	return r.Name, isPlainName(r.Name)
}
