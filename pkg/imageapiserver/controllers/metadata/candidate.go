package metadata

import (
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// Incomplete tells whether nothing is known of an Image but its name.
func Incomplete(image *imageapi.Image) bool {
	return len(image.DockerImageLayers) == 0 && len(image.DockerImageManifests) == 0 && image.DockerImageMetadata.Size == 0
}

// provesFor tells whether a stream has items by which an index is local, and whether what else its history says
// leaves the children to be proven by reading them: a child that the stream imported from elsewhere could come
// from there.
func provesFor(stream *imageapi.ImageStream, index string, children []string, hosts repository.Hosts) bool {
	local := false
	history.EventsOf(stream, index, func(_ string, event imageapi.TagEvent) {
		local = local || hosts.IsLocal(event.DockerImageReference, stream.Namespace, stream.Name)
	})
	for _, child := range children {
		history.EventsOf(stream, child, func(_ string, event imageapi.TagEvent) {
			if !hosts.IsLocal(event.DockerImageReference, stream.Namespace, stream.Name) {
				local = false
			}
		})
	}
	return local
}
