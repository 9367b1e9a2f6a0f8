package limits

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

func limitRange(kind corev1.LimitType, pairs ...string) *corev1.LimitRange {
	item := corev1.LimitRangeItem{Type: kind, Max: corev1.ResourceList{}}
	for i := 0; i < len(pairs); i += 2 {
		item.Max[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return &corev1.LimitRange{Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}
}

// stream has the spec tags given, and for each history "tag: digests".
func stream(spec []string, histories map[string][]string) *imageapi.ImageStream {
	made := &imageapi.ImageStream{}
	made.Spec.Tags = map[string]imageapi.TagReference{}
	for _, tag := range spec {
		made.Spec.Tags[tag] = imageapi.TagReference{Name: tag}
	}
	made.Status.Tags = map[string]imageapi.TagEventList{}
	for tag, digests := range histories {
		list := imageapi.TagEventList{}
		for _, digest := range digests {
			list.Items = append(list.Items, imageapi.TagEvent{Image: digest})
		}
		made.Status.Tags[tag] = list
	}
	return made
}

func TestUsageOf(t *testing.T) {
	usage := UsageOf(stream([]string{"a", "both"}, map[string][]string{
		"both": {"sha256:1", "sha256:2"}, "pushed": {"sha256:1", ""}, "failed": nil,
	}))
	if len(usage.Images) != 2 || !usage.Images["sha256:1"] || !usage.Images["sha256:2"] {
		t.Errorf("images are %v, want two digests once each", usage.Images)
	}
	if len(usage.Tags) != 3 || usage.Tags["failed"] {
		t.Errorf("tags are %v, want a, both and pushed", usage.Tags)
	}
	if empty := UsageOf(nil); len(empty.Images)+len(empty.Tags) != 0 {
		t.Errorf("no stream counts %v", empty)
	}
}

// Behaviour 51.
func TestCheckImage(t *testing.T) {
	const kind = "alauda.io/Image"
	tests := []struct {
		name   string
		ranges []*corev1.LimitRange
		size   int64
		want   string
	}{
		{"no limit", nil, 1 << 40, ""},
		{"equal", []*corev1.LimitRange{limitRange(kind, "storage", "1Gi")}, 1 << 30, ""},
		{"above", []*corev1.LimitRange{limitRange(kind, "storage", "1Gi")}, 1<<30 + 1<<20,
			"requested usage of storage exceeds the maximum limit per alauda.io/Image (1025Mi > 1Gi)"},
		{"one byte above", []*corev1.LimitRange{limitRange(kind, "storage", "1Ki")}, 1025,
			"requested usage of storage exceeds the maximum limit per alauda.io/Image (1025 > 1Ki)"},
		{"decimal limit", []*corev1.LimitRange{limitRange(kind, "storage", "1M")}, 1 << 20,
			"requested usage of storage exceeds the maximum limit per alauda.io/Image (1Mi > 1000000)"},
		{"the smallest of several", []*corev1.LimitRange{limitRange(kind, "storage", "3Ki"), limitRange(kind, "storage", "2Ki"), limitRange("Container", "storage", "1")}, 3 << 10,
			"requested usage of storage exceeds the maximum limit per alauda.io/Image (3Ki > 2Ki)"},
		{"another type", []*corev1.LimitRange{limitRange("alauda.io/ImageStream", "storage", "1")}, 5, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := text(CheckImage(test.ranges, test.size)); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// Behaviour 52.
func TestCheckStream(t *testing.T) {
	const kind = "alauda.io/ImageStream"
	two := limitRange(kind, "alauda.io/images", "2", "alauda.io/image-tags", "2")
	full := stream([]string{"a"}, map[string][]string{"b": {"1", "2"}})
	over := stream([]string{"a", "x"}, map[string][]string{"b": {"1", "2", "3"}})
	both := "requested usage of alauda.io/images exceeds the maximum limit per alauda.io/ImageStream (3 > 2), " +
		"requested usage of alauda.io/image-tags exceeds the maximum limit per alauda.io/ImageStream (3 > 2)"
	tests := []struct {
		name        string
		ranges      []*corev1.LimitRange
		stream, old *imageapi.ImageStream
		want        string
	}{
		{"no limit", nil, over, nil, ""},
		{"equal", []*corev1.LimitRange{two}, full, nil, ""},
		{"both above on create", []*corev1.LimitRange{two}, over, nil, both},
		{"both above on update", []*corev1.LimitRange{two}, over, full, both},
		{"the smallest of several", []*corev1.LimitRange{limitRange(kind, "alauda.io/images", "5"), limitRange(kind, "alauda.io/images", "1")}, full, nil,
			"requested usage of alauda.io/images exceeds the maximum limit per alauda.io/ImageStream (2 > 1)"},
		{"nothing added", []*corev1.LimitRange{two}, over, over, ""},
		{"only removed", []*corev1.LimitRange{limitRange(kind, "alauda.io/image-tags", "1")}, full, over, ""},
		{"as many, but another one", []*corev1.LimitRange{two}, stream([]string{"a", "x"}, map[string][]string{"b": {"1", "2", "4"}}), over, both},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := text(CheckStream(test.ranges, test.stream, test.old)); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
