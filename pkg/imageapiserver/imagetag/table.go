package imagetag

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/table"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// What the columns Spec and Status say.
const (
	filledByTag      = "Tag"
	filledByRef      = "Ref"
	filledBySchedule = "Scheduled"
	filledByTrack    = "Track"
	filledByPush     = "Push"

	importing      = "Importing"
	importFailed   = "ImportFailed"
	invalidRefName = "InvalidRefName"
	invalidRefKind = "InvalidRefKind"
)

var columns = []metav1.TableColumnDefinition{
	table.Column("Name", "Stream and tag."),
	table.Column("Spec", "How the tag is filled."),
	table.Column("Status", "What the tag is, or why it is not."),
	table.Column("History", "Number of events."),
	table.Column("Updated", "Time since the tag moved or an import of it ended."),
}

func newTable(clock clock.PassiveClock) *table.Convertor {
	return table.New(columns, func(obj runtime.Object) ([]any, error) {
		tag, ok := obj.(*imageapi.ImageTag)
		if !ok {
			return nil, fmt.Errorf("%T is not an ImageTag", obj)
		}
		updated := ""
		if newest := lastChange(tag); !newest.IsZero() {
			updated = table.Age(newest, clock) + " ago"
		}
		return []any{tag.Name, filledBy(tag), state(tag), historyLength(tag), updated}, nil
	})
}

// head is the newest event of a tag, nil when it has none.
func head(tag *imageapi.ImageTag) *imageapi.TagEvent {
	if tag.Status == nil || len(tag.Status.Items) == 0 {
		return nil
	}
	return &tag.Status.Items[0]
}

// filledBy tells in a word where the content of a tag comes from.
func filledBy(tag *imageapi.ImageTag) string {
	event := head(tag)
	switch {
	case tag.Spec == nil && event != nil:
		return filledByPush
	case tag.Spec == nil:
		return ""
	case tracks(tag.Spec):
		return filledByTrack
	case event != nil && tag.Spec.Generation != nil && event.Generation > *tag.Spec.Generation:
		return filledByPush
	case tag.Spec.From == nil:
		return ""
	case tag.Spec.Reference:
		return filledByRef
	case tag.Spec.ImportPolicy.Scheduled:
		return filledBySchedule
	}
	return filledByTag
}

// tracks tells whether a tag follows another one of the same stream.
func tracks(spec *imageapi.TagReference) bool {
	return spec.From != nil && spec.From.Kind == imagev1.KindImageStreamTag && !strings.Contains(spec.From.Name, ":")
}

// state tells what the tag is: its current content, or what stands in the way.
func state(tag *imageapi.ImageTag) string {
	event := head(tag)
	if problem := malformed(tag); problem != "" && event == nil {
		return problem
	}
	if reason, failed := failure(tag); failed {
		return strings.TrimSpace(importFailed + " " + reason)
	}
	switch {
	case event == nil:
		return source(tag)
	case awaitsImport(tag, event):
		return importing
	case event.Image != "":
		return "image/" + event.Image
	}
	return event.DockerImageReference
}

func failure(tag *imageapi.ImageTag) (reason string, failed bool) {
	if tag.Status == nil {
		return "", false
	}
	for _, condition := range tag.Status.Conditions {
		if condition.Type == imageapi.ImportSuccess && condition.Status == corev1.ConditionFalse {
			if condition.Reason == "" {
				return "", true
			}
			return "(" + condition.Reason + ")", true
		}
	}
	return "", false
}

// awaitsImport tells whether the spec changed after the newest event.
func awaitsImport(tag *imageapi.ImageTag, event *imageapi.TagEvent) bool {
	return tag.Spec != nil && tag.Spec.From != nil && tag.Spec.Generation != nil &&
		event.Generation > 0 && *tag.Spec.Generation > event.Generation
}

// malformed tells in a word what is wrong with the source.
func malformed(tag *imageapi.ImageTag) string {
	if tag.Spec == nil || tag.Spec.From == nil {
		return ""
	}
	name := tag.Spec.From.Name
	var err error
	switch tag.Spec.From.Kind {
	case imagev1.KindDockerImage:
	case imagev1.KindImageStreamTag:
		_, _, err = validation.SplitTagSource("", name)
	case imagev1.KindImageStreamImage:
		_, _, err = validation.SplitImageSource("", name)
	default:
		return invalidRefKind
	}
	if name == "" || err != nil {
		return invalidRefName
	}
	return ""
}

// source names what a tag without events comes from.
func source(tag *imageapi.ImageTag) string {
	if tag.Spec == nil || tag.Spec.From == nil {
		return ""
	}
	from := tag.Spec.From
	switch from.Kind {
	case imagev1.KindImageStreamTag:
		if from.Namespace != "" && from.Namespace != tag.Namespace {
			return "istag " + from.Namespace + "/" + from.Name
		}
		return "istag/" + from.Name
	case imagev1.KindImageStreamImage:
		_, id, err := validation.SplitImageSource("", from.Name)
		if err != nil {
			return invalidRefName
		}
		return "image/" + id
	}
	return from.Name
}

func historyLength(tag *imageapi.ImageTag) string {
	if tag.Status == nil || len(tag.Status.Items) == 0 {
		return ""
	}
	return strconv.Itoa(len(tag.Status.Items))
}

// lastChange is the newer of the newest event and the end of an import.
func lastChange(tag *imageapi.ImageTag) metav1.Time {
	var newest metav1.Time
	if event := head(tag); event != nil {
		newest = event.Created
	}
	if tag.Status != nil {
		for _, condition := range tag.Status.Conditions {
			if condition.LastTransitionTime.After(newest.Time) {
				newest = condition.LastTransitionTime
			}
		}
	}
	return newest
}
