package imagestream

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// importedStrategy creates a stream together with what was imported into it.
// No user reaches it: the status comes from the server itself.
type importedStrategy struct{ strategy }

var _ rest.RESTCreateStrategy = importedStrategy{}

// PrepareForCreate keeps the status.
func (s importedStrategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	stream := obj.(*imageapi.ImageStream)
	dropEmptyTags(stream)
	firstGenerations(stream)
	s.decorate(stream)
}
