package crd

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
)

// matching applies a predicate to watch events. Kube-apiserver has evaluated the label selector and
// made the right event types of it; a field selector over fields that change needs the state before
// the event, so the objects that match are remembered.
type matching struct {
	predicate storage.SelectionPredicate
	// tracks tells that the predicate selects by fields that may change.
	tracks bool
	known  map[string]runtime.Object
}

func newMatching(predicate storage.SelectionPredicate) *matching {
	m := &matching{predicate: predicate}
	if predicate.Field == nil {
		return m
	}
	for _, requirement := range predicate.Field.Requirements() {
		if requirement.Field != "metadata.name" && requirement.Field != "metadata.namespace" {
			m.tracks = true
		}
	}
	if m.tracks {
		m.known = map[string]runtime.Object{}
	}
	return m
}

// add remembers an object that matches.
func (m *matching) add(obj runtime.Object) {
	if m.tracks {
		m.known[objectKey(obj)] = obj.DeepCopyObject()
	}
}

// filter returns the event as the receiver shall see it, or nil.
func (m *matching) filter(event watch.Event) *watch.Event {
	if m.predicate.Empty() {
		return &event
	}
	matched, err := m.predicate.Matches(event.Object)
	matched = matched && err == nil
	if !m.tracks {
		// Deletions are passed on unasked: with a label selector the last state may not match.
		if event.Type != watch.Deleted && !matched {
			return nil
		}
		return &event
	}
	return m.transition(event, matched)
}

// transition turns an event into what happened to the set of matching objects.
func (m *matching) transition(event watch.Event, matched bool) *watch.Event {
	key := objectKey(event.Object)
	before, known := m.known[key]
	if event.Type == watch.Deleted {
		matched = false
	}
	switch {
	case matched:
		m.add(event.Object)
		if !known {
			return &watch.Event{Type: watch.Added, Object: event.Object}
		}
		return &watch.Event{Type: watch.Modified, Object: event.Object}
	case known:
		delete(m.known, key)
		copyVersion(event.Object, before)
		return &watch.Event{Type: watch.Deleted, Object: before}
	default:
		return nil
	}
}

func objectKey(obj runtime.Object) string {
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return "" // API objects have metadata
	}
	return metadata.GetNamespace() + "/" + metadata.GetName()
}

// copyVersion gives the last matching state the version of the event that ended the match.
func copyVersion(from, to runtime.Object) {
	source, err := meta.Accessor(from)
	if err != nil {
		return
	}
	if target, err := meta.Accessor(to); err == nil {
		target.SetResourceVersion(source.GetResourceVersion())
	}
}
