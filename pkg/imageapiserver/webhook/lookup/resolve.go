package lookup

import (
	"fmt"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/api/image/tags"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// Streams reads image streams from memory. What it returns is shared and must not be changed.
type Streams interface {
	Get(namespace, name string) (*imageapi.ImageStream, bool)
}

// replacement is one image to be changed.
type replacement struct {
	pointer, image string
}

// resolve returns the images to be replaced in an object of a namespace, and what its owner should know. old
// is nil for a new object.
func resolve(streams Streams, namespace string, current object, old *object) (changes []replacement, warnings []string) {
	if current.controlled() {
		return nil, nil
	}
	all := current.resolvesAll()
	candidates := current.images()
	// Asking for resolution by annotation means the images that are there already, too.
	if old != nil && (!all || old.resolvesAll()) {
		candidates = current.changed(*old)
	}
	for _, candidate := range candidates {
		name, warning := resolveName(streams, namespace, candidate.name, all)
		if name != candidate.name {
			changes = append(changes, replacement{candidate.pointer, name})
		}
		if warning != "" {
			warnings = append(warnings, fmt.Sprintf("container %q: %s", candidate.container, warning))
		}
	}
	return changes, warnings
}

// resolveName returns what an image name stands for in a namespace, which is the name itself if no stream
// has to do with it. all tries the last segment of every name, and streams without local lookup.
func resolveName(streams Streams, namespace, name string, all bool) (resolved, warning string) {
	streamName, tag, single := tags.LocalName(name)
	if !single {
		var usable bool
		if streamName, tag, usable = tags.LastName(name); !all || !usable {
			return name, ""
		}
	}
	stream, found := streams.Get(namespace, streamName)
	if !found || !all && !stream.Spec.LookupPolicy.Local {
		return name, ""
	}
	if event, found := history.Head(stream, tag); found {
		if pullSpec := tagview.Reference(stream, tag, event); pullSpec != "" {
			return tags.Pinned(pullSpec, event.Image), ""
		}
	}
	// A name with a registry or a namespace of its own is only tried.
	if !single || stream.Status.DockerImageRepository == "" {
		return name, ""
	}
	// The pull fails where everybody can see it, or succeeds after the push. It must not go to Docker Hub,
	// where anybody could own this name.
	missing := stream.Status.DockerImageRepository + ":" + tag
	return missing, fmt.Sprintf("image stream tag %s/%s has no image yet, the Pod can start once it has one",
		namespace, reference.JoinStreamTag(streamName, tag))
}
