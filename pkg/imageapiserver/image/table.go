package image

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
)

var columns = []metav1.TableColumnDefinition{
	table.Column("Name", "Digest of the manifest."),
	table.Column("Image Reference", "Pull spec under which the image was recorded."),
	table.Wide("Size", "Bytes of config and distinct layers."),
	table.Wide("Layers", "Number of layers, or of manifests of an index."),
	table.Wide("Media Type", "Media type of the manifest."),
	table.Wide("Age", "Time since the image was recorded."),
}

// newTable prints images.
func newTable(clock clock.PassiveClock) *table.Convertor {
	return table.New(columns, func(obj runtime.Object) ([]any, error) {
		image, ok := obj.(*imageapi.Image)
		if !ok {
			return nil, fmt.Errorf("%T is not an Image", obj)
		}
		return []any{
			image.Name,
			image.DockerImageReference,
			table.Size(image.DockerImageMetadata.Size),
			parts(image),
			image.DockerImageManifestMediaType,
			table.Age(image.CreationTimestamp, clock),
		}, nil
	})
}

func parts(image *imageapi.Image) string {
	if count := len(image.DockerImageManifests); count > 0 {
		return fmt.Sprintf("%d manifests", count)
	}
	return strconv.Itoa(len(image.DockerImageLayers))
}
