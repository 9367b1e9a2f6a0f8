package imagestream

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/audit"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// AuditTags is the annotation of audit entries that tells which tags a request changed, and what their
// current image is when that changed: "v1=sha256:…, v2". The entry itself names user and stream only; which
// tag a push or an import moved is in the body, and bodies are not audited.
const AuditTags = "image.alauda.io/tags"

// mostAuditedTags bounds the annotation: one import may change a thousand tags.
const mostAuditedTags = 50

// changedTags lists what AuditTags says.
func changedTags(stream, old *imageapi.ImageStream) string {
	names := map[string]bool{}
	for _, of := range []*imageapi.ImageStream{stream, old} {
		for name := range of.Spec.Tags {
			names[name] = true
		}
		for name := range of.Status.Tags {
			names[name] = true
		}
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		current := currentImage(stream, name)
		switch {
		case current != "" && current != currentImage(old, name):
			changed = append(changed, name+"="+current)
		case (current == "") != (currentImage(old, name) == ""), specTagChanged(stream, old, name):
			changed = append(changed, name)
		}
	}
	if len(changed) > mostAuditedTags {
		changed = append(changed[:mostAuditedTags], "…")
	}
	return strings.Join(changed, ", ")
}

// currentImage is the digest of a tag's newest event, or its reference when that has no image.
func currentImage(stream *imageapi.ImageStream, tag string) string {
	items := stream.Status.Tags[tag].Items
	if len(items) == 0 {
		return ""
	}
	if items[0].Image != "" {
		return items[0].Image
	}
	return items[0].DockerImageReference
}

func specTagChanged(stream, old *imageapi.ImageStream, tag string) bool {
	now, is := stream.Spec.Tags[tag]
	before, was := old.Spec.Tags[tag]
	return is != was || !equality.Semantic.DeepEqual(now, before)
}

// note records a write that was stored.
func (p *passage) note(ctx context.Context) {
	if p.tags != "" {
		audit.AddAuditAnnotation(ctx, AuditTags, p.tags)
	}
	if p.size > 0 {
		encodedBytes.Observe(float64(p.size))
	}
}
