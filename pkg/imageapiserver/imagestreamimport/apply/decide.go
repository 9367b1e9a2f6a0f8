package apply

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
)

// unknownFailure is the message of a condition when the failure has none.
const unknownFailure = "unknown error prevented import"

// change is one request put to one state of a stream.
type change struct {
	stream, basis *imageapi.ImageStream
	background    bool
	now           metav1.Time
	limit         int
	// next is the generation that the stream gets when its spec changes.
	next int64
}

// apply records the outcomes and tells which of them it dropped because
// somebody else changed their tag since basis.
func (c *change) apply(items []item) (dropped []bool) {
	dropped = make([]bool, len(items))
	moved := map[string]bool{}
	for _, item := range items {
		moved[item.Tag] = movedSince(c.basis, c.stream, item.Tag)
	}
	before := c.stream.DeepCopy()
	c.next = c.stream.Generation + 1
	for i := range items {
		switch {
		case items[i].Tag == "":
		case moved[items[i].Tag]:
			dropped[i] = true
		default:
			c.record(&items[i])
		}
	}
	if _, checked := before.Annotations[imagev1.DockerImageRepositoryCheckAnnotation]; !checked || !equality.Semantic.DeepEqual(before, c.stream) {
		if c.stream.Annotations == nil {
			c.stream.Annotations = map[string]string{}
		}
		c.stream.Annotations[imagev1.DockerImageRepositoryCheckAnnotation] = c.now.UTC().Format(time.RFC3339)
	}
	return dropped
}

func (c *change) record(item *item) {
	switch result := item.Result; {
	case result.Unchanged:
		c.unchanged(item)
	case result.Image != nil && result.Err == nil:
		c.success(item)
	case result.Unfinished && !c.background:
		c.unfinished(item)
	default:
		c.failure(item)
	}
}

// success lets the tag show the image that was found.
func (c *change) success(item *item) {
	head, shows := history.Head(c.stream, item.Tag)
	spec := c.stream.Spec.Tags[item.Tag]
	same := shows && head.Image == item.event.Image && head.DockerImageReference == item.event.DockerImageReference
	current := importable(spec) && spec.Generation != nil && *spec.Generation <= head.Generation
	if !same || !current || renewed(spec.ImportPolicy, item.ImportPolicy) {
		c.follow(item)
		event := item.event
		event.Generation = c.next
		history.Add(c.stream, item.Tag, event, c.limit)
	} else {
		spec.ImportPolicy = item.ImportPolicy
		c.setSpec(item.Tag, spec)
	}
	c.setConditions(item.Tag, nil)
}

// unchanged takes back what an earlier failure said: the registry still offers
// what the tag shows.
func (c *change) unchanged(item *item) {
	list, spec := c.stream.Status.Tags[item.Tag], c.stream.Spec.Tags[item.Tag]
	if len(list.Items) > 0 && spec.Generation != nil && list.Items[0].Generation < *spec.Generation {
		list.Items = slices.Clone(list.Items)
		list.Items[0].Generation = *spec.Generation
		c.stream.Status.Tags[item.Tag] = list
	}
	c.setConditions(item.Tag, nil)
}

// failure records a condition, unless the tag says the same already. The
// condition is what keeps the controller from trying again at once, so its
// generation follows that of the spec tag; it never runs ahead of the stream's,
// or the next change of the tag would look like one that was imported.
func (c *change) failure(item *item) {
	reason, message := failureOf(item)
	spec, exists := c.stream.Spec.Tags[item.Tag]
	list := c.stream.Status.Tags[item.Tag]
	known := slices.IndexFunc(list.Conditions, func(condition imageapi.TagEventCondition) bool {
		return condition.Type == imageapi.ImportSuccess && condition.Status == corev1.ConditionFalse &&
			condition.Reason == reason && condition.Message == message
	})
	if known >= 0 && (exists || !item.CreateTag) {
		if exists && spec.Generation != nil && list.Conditions[known].Generation < *spec.Generation {
			conditions := slices.Clone(list.Conditions)
			conditions[known].Generation = *spec.Generation
			c.setConditions(item.Tag, conditions)
		}
		return
	}
	generation := c.next
	switch {
	case !exists && item.CreateTag:
		c.follow(item)
	case exists && importable(spec):
		spec.Generation = new(int64)
		c.setSpec(item.Tag, spec)
	case exists && spec.Generation != nil:
		generation = *spec.Generation
	default:
		generation = max(c.stream.Generation, 1)
	}
	c.setConditions(item.Tag, []imageapi.TagEventCondition{failed(reason, message, generation, c.now)})
}

// unfinished leaves the tag to the controller: a spec tag that was not yet
// looked at.
func (c *change) unfinished(item *item) {
	c.follow(item)
	c.setConditions(item.Tag, nil)
}

// follow makes the spec tag name the source of the item. The generation 0
// becomes that of the stream when it is stored.
func (c *change) follow(item *item) {
	old := c.stream.Spec.Tags[item.Tag]
	spec := imageapi.TagReference{
		Name:            item.Tag,
		Annotations:     old.Annotations,
		From:            &corev1.ObjectReference{Kind: imagev1.KindDockerImage, Name: item.From},
		Generation:      new(int64),
		ImportPolicy:    item.ImportPolicy,
		ReferencePolicy: old.ReferencePolicy,
	}
	if spec.ReferencePolicy.Type == "" {
		spec.ReferencePolicy = item.ReferencePolicy
	}
	if spec.ReferencePolicy.Type == "" {
		spec.ReferencePolicy.Type = imageapi.SourceTagReferencePolicy
	}
	c.setSpec(item.Tag, spec)
}

func (c *change) setSpec(tag string, spec imageapi.TagReference) {
	if c.stream.Spec.Tags == nil {
		c.stream.Spec.Tags = map[string]imageapi.TagReference{}
	}
	c.stream.Spec.Tags[tag] = spec
}

func (c *change) setConditions(tag string, conditions []imageapi.TagEventCondition) {
	list := c.stream.Status.Tags[tag]
	if len(list.Conditions) == 0 && len(conditions) == 0 {
		return
	}
	list.Conditions = conditions
	if c.stream.Status.Tags == nil {
		c.stream.Status.Tags = map[string]imageapi.TagEventList{}
	}
	c.stream.Status.Tags[tag] = list
}

func failed(reason, message string, generation int64, now metav1.Time) imageapi.TagEventCondition {
	return imageapi.TagEventCondition{
		Type: imageapi.ImportSuccess, Status: corev1.ConditionFalse, LastTransitionTime: now,
		Reason: reason, Message: message, Generation: generation,
	}
}

func failureOf(item *item) (reason, message string) {
	if err := item.Result.Err; err != nil {
		reason, message = string(err.Reason), err.Message
	}
	if message == "" {
		message = unknownFailure
	}
	return reason, message
}

// importable tells whether a spec tag is one that is imported.
func importable(spec imageapi.TagReference) bool {
	return spec.From != nil && spec.From.Kind == imagev1.KindDockerImage && !spec.Reference
}

// renewed tells whether the wanted policy gives the tag a new generation, so
// that its event needs one, too.
func renewed(had, wanted imageapi.TagImportPolicy) bool {
	return had.ImportMode != wanted.ImportMode || had.Insecure != wanted.Insecure
}

// movedSince tells whether somebody else changed what a tag imports.
func movedSince(basis, stream *imageapi.ImageStream, tag string) bool {
	if basis == nil {
		basis = &imageapi.ImageStream{}
	}
	was, had := basis.Spec.Tags[tag]
	is, has := stream.Spec.Tags[tag]
	if had != has || !has {
		return had != has
	}
	return !sameSource(was.From, is.From) || was.Reference != is.Reference ||
		was.ImportPolicy.ImportMode != is.ImportPolicy.ImportMode ||
		!equality.Semantic.DeepEqual(was.Generation, is.Generation)
}

func sameSource(a, b *corev1.ObjectReference) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name
}
