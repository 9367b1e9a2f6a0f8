package imagestreamtag

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
)

const (
	shownDigits  = 12
	shownHistory = 5
)

var columns = []metav1.TableColumnDefinition{
	table.Column("Name", "Stream and tag."),
	table.Column("Image Reference", "Pull spec of the image."),
	table.Column("Updated", "Time since the tag moved."),
	table.Wide("Image Name", "Digest of the manifest."),
	table.Wide("History", "Earlier digests of the tag, newest first."),
}

func newTable(clock clock.PassiveClock) *table.Convertor {
	return table.New(columns, func(obj runtime.Object) ([]any, error) {
		tag, ok := obj.(*imageapi.ImageStreamTag)
		if !ok {
			return nil, fmt.Errorf("%T is not an ImageStreamTag", obj)
		}
		updated := table.Age(tag.CreationTimestamp, clock)
		return []any{tag.Name, tag.Image.DockerImageReference, updated, tag.Image.Name, shorten(tag.History)}, nil
	})
}

// shorten shows a few digits of the first few digests and how many more there
// are.
func shorten(digests []string) string {
	shown := make([]string, 0, shownHistory)
	for _, digest := range digests[:min(len(digests), shownHistory)] {
		_, hex, found := strings.Cut(digest, ":")
		if !found {
			hex = digest
		}
		shown = append(shown, hex[:min(len(hex), shownDigits)])
	}
	text := strings.Join(shown, ",")
	if hidden := len(digests) - len(shown); hidden > 0 {
		text += fmt.Sprintf(",+%d", hidden)
	}
	return text
}
