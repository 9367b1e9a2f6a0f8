package imagestreamimage

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
)

var columns = []metav1.TableColumnDefinition{
	table.Column("Name", "Stream and id."),
	table.Column("Updated", "Time since the image was recorded."),
	table.Wide("Image Reference", "Pull spec under which the image was recorded."),
	table.Wide("Image Name", "Digest of the manifest."),
}

func newTable(clock clock.PassiveClock) *table.Convertor {
	return table.New(columns, func(obj runtime.Object) ([]any, error) {
		image, ok := obj.(*imageapi.ImageStreamImage)
		if !ok {
			return nil, fmt.Errorf("%T is not an ImageStreamImage", obj)
		}
		return []any{image.Name, table.Age(image.CreationTimestamp, clock), image.Image.DockerImageReference, image.Image.Name}, nil
	})
}
