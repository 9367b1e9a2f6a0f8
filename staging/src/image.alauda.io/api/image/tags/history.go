package tags

import imagev1 "image.alauda.io/api/image/v1"

// AddEvent makes event the newest of a tag and reports whether anything
// changed. It is the only way in which a history may change.
//
// An event that differs from the head in its image or in its reference alone
// updates the head, which keeps its time of creation. One that differs in both
// goes before the head. Every change clears the conditions of the tag, because
// they were about the state before.
func AddEvent(status *imagev1.ImageStreamStatus, tag string, event imagev1.TagEvent) bool {
	for i := range status.Tags {
		if status.Tags[i].Tag == tag {
			return addEvent(&status.Tags[i], event)
		}
	}
	status.Tags = append(status.Tags, imagev1.NamedTagEventList{Tag: tag, Items: []imagev1.TagEvent{event}})
	return true
}

func addEvent(list *imagev1.NamedTagEventList, event imagev1.TagEvent) bool {
	if len(list.Items) == 0 {
		list.Items = []imagev1.TagEvent{event}
		list.Conditions = nil
		return true
	}
	head := &list.Items[0]
	sameReference := head.DockerImageReference == event.DockerImageReference
	sameImage := head.Image == event.Image
	switch {
	case sameReference && sameImage && head.Generation == event.Generation:
		return false
	case sameReference:
		head.Image = event.Image
		head.Generation = event.Generation
	case sameImage:
		head.DockerImageReference = event.DockerImageReference
		head.Generation = event.Generation
	default:
		// A new list: the old one may be shared with a cached object.
		list.Items = append([]imagev1.TagEvent{event}, list.Items...)
	}
	list.Conditions = nil
	return true
}

// Truncate keeps the newest events of a history, at most limit. A limit below 1
// keeps all. It reports whether events were dropped.
func Truncate(list *imagev1.NamedTagEventList, limit int) bool {
	if limit < 1 || len(list.Items) <= limit {
		return false
	}
	list.Items = list.Items[:limit:limit]
	return true
}

// ObservedGeneration is the newest generation of a spec tag that its history
// has dealt with, by an event or by a failed import. It is 0 for no history.
func ObservedGeneration(list *imagev1.NamedTagEventList) int64 {
	if list == nil {
		return 0
	}
	var observed int64
	if len(list.Items) > 0 {
		observed = list.Items[0].Generation
	}
	for _, condition := range list.Conditions {
		if condition.Type == imagev1.ImportSuccess {
			observed = max(observed, condition.Generation)
		}
	}
	return observed
}

// Importable tells whether a spec tag follows an image elsewhere.
func Importable(tag *imagev1.TagReference) bool {
	return tag != nil && tag.From != nil && tag.From.Kind == imagev1.KindDockerImage && !tag.Reference
}

// NeedsImport tells whether the spec of a tag asks for an import that its
// history has not seen yet. A generation that is unset has not been stored yet
// and asks for nothing.
func NeedsImport(tag *imagev1.TagReference, list *imagev1.NamedTagEventList) bool {
	return Importable(tag) && tag.Generation != nil && *tag.Generation > ObservedGeneration(list)
}
