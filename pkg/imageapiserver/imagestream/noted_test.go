package imagestream

import (
	"fmt"
	"strings"
	"testing"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Behaviour 67, the tags in audit entries.
func TestChangedTagsAreNamedWithTheirImage(t *testing.T) {
	type heads map[string]string
	stream := func(spec []string, status heads) *imageapi.ImageStream {
		s := &imageapi.ImageStream{}
		s.Spec.Tags, s.Status.Tags = map[string]imageapi.TagReference{}, map[string]imageapi.TagEventList{}
		for _, tag := range spec {
			name, annotation, _ := strings.Cut(tag, " ")
			s.Spec.Tags[name] = imageapi.TagReference{Name: name, Annotations: map[string]string{"note": annotation}}
		}
		for tag, image := range status {
			event := imageapi.TagEvent{Image: image}
			if !strings.HasPrefix(image, "sha256:") {
				event = imageapi.TagEvent{DockerImageReference: image}
			}
			s.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{event, {Image: "sha256:older"}}}
		}
		return s
	}
	for name, c := range map[string]struct {
		old, new *imageapi.ImageStream
		want     string
	}{
		"nothing":           {stream([]string{"a"}, heads{"a": "sha256:1"}), stream([]string{"a"}, heads{"a": "sha256:1"}), ""},
		"first push":        {stream(nil, nil), stream(nil, heads{"v1": "sha256:1"}), "v1=sha256:1"},
		"next push":         {stream(nil, heads{"v1": "sha256:1", "v0": "sha256:0"}), stream(nil, heads{"v1": "sha256:2", "v0": "sha256:0"}), "v1=sha256:2"},
		"reference":         {stream(nil, nil), stream(nil, heads{"r": "quay.io/a/b:c"}), "r=quay.io/a/b:c"},
		"new spec tag":      {stream(nil, nil), stream([]string{"b", "a"}, nil), "a, b"},
		"changed spec tag":  {stream([]string{"a x"}, nil), stream([]string{"a y"}, nil), "a"},
		"removed":           {stream([]string{"a"}, heads{"a": "sha256:1"}), stream(nil, nil), "a"},
		"removed spec only": {stream([]string{"a"}, heads{"a": "sha256:1"}), stream(nil, heads{"a": "sha256:1"}), "a"},
	} {
		if got := changedTags(c.new, c.old); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	many := heads{}
	for i := range 1000 {
		many[fmt.Sprintf("v%d", i)] = "sha256:1"
	}
	got := changedTags(stream(nil, many), stream(nil, nil))
	if count := strings.Count(got, "="); count != mostAuditedTags || !strings.HasSuffix(got, ", …") {
		t.Errorf("of a thousand tags %d are named, want %d and a sign that there are more: %s", count, mostAuditedTags, got)
	}
}
