package importer

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// tagAt is a spec tag with a generation.
func tagAt(name, kind, from string, generation int64) imageapi.TagReference {
	tag := grouptest.Tag(name, kind, "", from)
	tag.Generation = &generation
	return tag
}

// Behaviour 46: what leads to an import, and what does not.
func TestNeededFollowsGenerations(t *testing.T) {
	external := tagAt("latest", "DockerImage", "registry.example/app:latest", 2)
	reference := tagAt("latest", "DockerImage", "registry.example/app:latest", 2)
	reference.Reference = true
	young := grouptest.Tag("latest", "DockerImage", "", "registry.example/app:latest")
	event := func(generation int64) imageapi.TagEventList {
		return imageapi.TagEventList{Items: []imageapi.TagEvent{{Image: grouptest.Digest("a"), Generation: generation}}}
	}
	condition := func(generation int64) imageapi.TagEventList {
		return imageapi.TagEventList{Conditions: []imageapi.TagEventCondition{{
			Type: imageapi.ImportSuccess, Status: corev1.ConditionFalse, Reason: "NotFound", Generation: generation,
		}}}
	}
	tests := map[string]struct {
		tag        imageapi.TagReference
		status     imageapi.TagEventList
		repository string
		unchecked  bool
		want       Work
	}{
		"new tag":                        {tag: external, want: Work{Tags: []string{"latest"}}},
		"imported":                       {tag: external, status: event(2)},
		"changed since the import":       {tag: external, status: event(1), want: Work{Tags: []string{"latest"}}},
		"failed":                         {tag: external, status: condition(2)},
		"changed since the failure":      {tag: external, status: condition(1), want: Work{Tags: []string{"latest"}}},
		"reference":                      {tag: reference},
		"from another stream":            {tag: tagAt("latest", "ImageStreamTag", "other:latest", 2)},
		"from an image":                  {tag: tagAt("latest", "ImageStreamImage", "other@"+grouptest.Digest("a"), 2)},
		"pushed only":                    {tag: tagAt("latest", "", "", 2)},
		"no generation, never looked at": {tag: young, unchecked: true, want: Work{Tags: []string{"latest"}}},
		"no generation":                  {tag: young},
		"observed, never looked at":      {tag: external, status: event(2), unchecked: true},
		"repository, never looked at": {
			tag: external, status: event(2), repository: "registry.example/app", unchecked: true,
			want: Work{Repository: true, Tags: []string{"latest"}},
		},
		"repository, looked at": {tag: external, status: event(2), repository: "registry.example/app"},
	}
	for name, test := range tests {
		stream := grouptest.Stream("team-a", "app", test.tag)
		stream.Spec.DockerImageRepository = test.repository
		stream.Status.Tags = map[string]imageapi.TagEventList{"latest": test.status}
		if !test.unchecked {
			stream.Annotations = map[string]string{imagev1.DockerImageRepositoryCheckAnnotation: "2026-01-02T03:04:05Z"}
		}
		if got := Needed(stream); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: needs %+v, want %+v", name, got, test.want)
		}
	}
}
