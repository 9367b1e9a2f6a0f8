package imagestream

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
)

// tagsWidth is how many characters of tags the table shows.
const tagsWidth = 40

var columns = []metav1.TableColumnDefinition{
	table.Column("Name", "Name of the repository in its namespace."),
	table.Column("Image Repository", "Where clients pull from."),
	table.Column("Tags", "Tags, the one moved last first."),
	table.Column("Updated", "Time since a tag moved last."),
}

// newTable prints streams.
func newTable(clock clock.PassiveClock) *table.Convertor {
	return table.New(columns, func(obj runtime.Object) ([]any, error) {
		stream, ok := obj.(*imageapi.ImageStream)
		if !ok {
			return nil, fmt.Errorf("%T is not an ImageStream", obj)
		}
		tags, newest := newestFirst(stream)
		updated := ""
		if !newest.IsZero() {
			updated = table.Age(newest, clock) + " ago"
		}
		return []any{stream.Name, repositoryOf(stream), fit(tags, tagsWidth), updated}, nil
	})
}

func repositoryOf(stream *imageapi.ImageStream) string {
	switch {
	case stream.Status.PublicDockerImageRepository != "":
		return stream.Status.PublicDockerImageRepository
	case stream.Spec.DockerImageRepository != "":
		return stream.Spec.DockerImageRepository
	}
	return stream.Status.DockerImageRepository
}

// newestFirst returns the status tags by the age of their newest event, and
// the time of the newest.
func newestFirst(stream *imageapi.ImageStream) ([]string, metav1.Time) {
	created := map[string]metav1.Time{}
	tags := make([]string, 0, len(stream.Status.Tags))
	var newest metav1.Time
	for tag, list := range stream.Status.Tags {
		tags = append(tags, tag)
		if len(list.Items) == 0 {
			continue
		}
		created[tag] = list.Items[0].Created
		if list.Items[0].Created.After(newest.Time) {
			newest = list.Items[0].Created
		}
	}
	slices.SortFunc(tags, func(a, b string) int {
		if order := created[b].Compare(created[a].Time); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return tags, newest
}

// fit joins tags with commas within width. The first is always shown; the one
// that crosses the limit is shown when little is lost by it: a quarter of the
// width would stay empty otherwise, and it sticks out by no more than that.
func fit(tags []string, width int) string {
	shown := 0
	length := 0
	for i, tag := range tags {
		next := length + len(tag)
		if i > 0 {
			next++
		}
		if i > 0 && next > width {
			slack := width / 4
			if width-length >= slack && next-width <= slack {
				shown++
			}
			break
		}
		shown, length = i+1, next
	}
	text := strings.Join(tags[:shown], ",")
	if hidden := len(tags) - shown; hidden > 0 {
		text += fmt.Sprintf(" + %d more...", hidden)
	}
	return text
}
