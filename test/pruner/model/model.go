package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

// referenceGrace protects what was taken up shortly before the run.
const referenceGrace = 5 * time.Minute

// Wishes are the flags of `pruner images`.
type Wishes struct {
	KeepTagRevisions          int
	KeepYoungerThan           time.Duration
	All                       bool
	Whitelist                 string
	Namespace                 string
	OverSize                  bool
	IgnoreInvalid             bool
	IgnoreInactiveReplicaSets bool
	KnownHosts                bool
	RegistryHosts             []string
}

// Verdict is what may go. Revisions read "namespace/name:tag[index]@digest", images are digests.
type Verdict struct {
	// Refused: invalid references stop the run.
	Refused           bool
	Revisions, Images []string
}

// Model decides about one cluster.
type Model struct {
	cluster *generate.Cluster
	wishes  Wishes
	streams []*imagev1.ImageStream
	images  []*imagev1.Image
	limits  []*corev1.LimitRange
	uses    uses
}

// Decide says what may go.
func Decide(cluster *generate.Cluster, wishes Wishes) Verdict {
	m := &Model{
		cluster: cluster, wishes: wishes,
		streams: all[*imagev1.ImageStream](cluster, generate.ImageStreams),
		images:  all[*imagev1.Image](cluster, generate.Images),
		limits:  all[*corev1.LimitRange](cluster, generate.LimitRanges),
	}
	m.readUses()
	if m.uses.invalid > 0 && !wishes.IgnoreInvalid {
		return Verdict{Refused: true}
	}
	var verdict Verdict
	listed := map[string]bool{}
	for _, stream := range m.streams {
		kept := m.ordinary(stream)
		for _, tag := range stream.Status.Tags {
			for i, item := range tag.Items {
				if m.keepRevision(stream, tag, i, kept) {
					listed[item.Image] = true
				} else {
					verdict.Revisions = append(verdict.Revisions, fmt.Sprintf("%s/%s:%s[%d]@%s", stream.Namespace, stream.Name, tag.Tag, i, item.Image))
				}
			}
		}
	}
	if wishes.Namespace == "" {
		verdict.Images = m.unneeded(listed)
	}
	slices.Sort(verdict.Revisions)
	slices.Sort(verdict.Images)
	return verdict
}

func all[T any](cluster *generate.Cluster, resource generate.Resource) []T {
	var objects []T
	list := cluster.Lists[resource]
	for i := range list.Len() {
		objects = append(objects, list.At(i).(T))
	}
	return objects
}

func (m *Model) young(at metav1.Time) bool {
	return at.After(m.cluster.Now.Add(-m.wishes.KeepYoungerThan))
}

func (m *Model) find(digest string) *imagev1.Image {
	for _, image := range m.images {
		if image.Name == digest {
			return image
		}
	}
	return nil
}

// ordinary is what the status of the stream names after the decisions on ordinary tags, with what the
// indexes among it contain: a client that signs an index signs its children, too.
func (m *Model) ordinary(stream *imagev1.ImageStream) []string {
	var kept []string
	for _, tag := range stream.Status.Tags {
		for i, item := range tag.Items {
			if subjectOf(tag.Tag) == "" && m.keepRevision(stream, tag, i, nil) {
				kept = append(kept, m.within(item.Image)...)
			}
		}
	}
	return kept
}

// within is an image with everything that it contains as an index.
func (m *Model) within(digest string) []string {
	found := []string{digest}
	if image := m.find(digest); image != nil {
		for _, child := range image.DockerImageManifests {
			found = append(found, m.within(child.Digest)...)
		}
	}
	return found
}

// keepRevision goes through the thirteen rules for revisions. kept is for the sixth.
func (m *Model) keepRevision(stream *imagev1.ImageStream, tag imagev1.NamedTagEventList, i int, kept []string) bool {
	key := stream.Namespace + "/" + stream.Name
	item := tag.Items[i]
	var declared *imagev1.TagReference
	for n := range stream.Spec.Tags {
		if stream.Spec.Tags[n].Name == tag.Tag {
			declared = &stream.Spec.Tags[n]
		}
	}
	if m.wishes.Namespace != "" && stream.Namespace != m.wishes.Namespace {
		return true
	}
	// 1
	if stream.Annotations[imagev1.KeepAnnotation] == "true" || slices.Contains(m.uses.mentioned, key) ||
		declared != nil && declared.Annotations[imagev1.KeepAnnotation] == "true" ||
		m.wishes.Whitelist != "" && regexp.MustCompile(m.wishes.Whitelist).MatchString(key) {
		return true
	}
	// 2 and 3
	created := item.Created
	if created.IsZero() {
		created = stream.CreationTimestamp
	}
	if !m.wishes.OverSize && (m.young(stream.CreationTimestamp) || m.young(created)) {
		return true
	}
	// 4
	if i == 0 && slices.Contains(m.uses.list, use{stream: key, tag: tag.Tag}) {
		return true
	}
	// 5
	if i == 0 && declared != nil && !m.wishes.OverSize {
		return true
	}
	// 6
	if subject := subjectOf(tag.Tag); subject != "" {
		there := slices.Contains(kept, subject) || m.used(subject)
		switch {
		case there && i == 0:
			return true
		case !there && !m.young(created):
			return m.usedIn(key, item.Image)
		}
	}
	image := m.find(item.Image)
	managed := image != nil && isManaged(image)
	switch {
	case image == nil && item.Image != "": // 7
		return false
	case image != nil && image.Annotations[imagev1.KeepAnnotation] == "true": // 8
		return true
	case !m.wishes.All && !managed: // 9
		return true
	case m.wishes.OverSize && !m.exceeds(stream.Namespace, item.Image): // 10
		return true
	case !m.wishes.OverSize && i < m.wishes.KeepTagRevisions: // 11
		return true
	}
	return m.usedIn(key, item.Image) // 12, 13
}

// usedIn: somebody names the image, or one that it contains, by digest in the stream.
func (m *Model) usedIn(stream, digest string) bool {
	for _, one := range m.within(digest) {
		for _, name := range []string{one, configOf(m.find(one))} {
			if name != "" && (slices.Contains(m.uses.list, use{stream: stream, digest: name}) || slices.Contains(m.uses.list, use{digest: name})) {
				return true
			}
		}
	}
	return false
}

// used: somebody names the digest, in whatever stream.
func (m *Model) used(digest string) bool {
	return digest != "" && slices.ContainsFunc(m.uses.list, func(u use) bool { return u.digest == digest })
}

// configOf is the digest of the configuration, by which some runtimes name an image.
func configOf(image *imagev1.Image) string {
	if image == nil {
		return ""
	}
	if config := image.Annotations[imagev1.ImageConfigDigestAnnotation]; config != "" {
		return config
	}
	d, _ := describe(image)
	return d.ID
}

func isManaged(image *imagev1.Image) bool {
	return image.Annotations["alauda.io/image.managed"] == "true" || image.Annotations["image.alauda.io/managed"] == "true"
}

type described struct {
	ID   string `json:"Id"`
	Size int64
}

func describe(image *imagev1.Image) (d described, readable bool) {
	if len(image.DockerImageMetadata.Raw) == 0 {
		return d, true
	}
	err := json.Unmarshal(image.DockerImageMetadata.Raw, &d)
	return d, err == nil
}

func isIncomplete(image *imagev1.Image) bool {
	d, readable := describe(image)
	return !readable || len(image.DockerImageLayers) == 0 && len(image.DockerImageManifests) == 0 && d.ID == "" &&
		image.Annotations[imagev1.ImageConfigDigestAnnotation] == "" && image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] != "true"
}

func (m *Model) exceeds(namespace, digest string) bool {
	for _, limit := range m.limits {
		for _, item := range limit.Spec.Limits {
			most, limited := item.Max[corev1.ResourceStorage]
			if limit.Namespace == namespace && item.Type == imagev1.LimitTypeImage && limited && most.Value() < m.size(digest) {
				return true
			}
		}
	}
	return false
}

// size is that of the largest child for an index.
func (m *Model) size(digest string) int64 {
	image := m.find(digest)
	if image == nil {
		return 0
	}
	if len(image.DockerImageManifests) == 0 {
		d, _ := describe(image)
		layers := map[string]int64{}
		for _, layer := range image.DockerImageLayers {
			layers[layer.Name] = max(layer.LayerSize, 0)
		}
		sum := int64(0)
		for _, size := range layers {
			sum += size
		}
		return max(d.Size, sum) // as when it was pushed
	}
	largest := int64(0)
	for _, child := range image.DockerImageManifests {
		largest = max(largest, m.size(child.Digest))
	}
	return largest
}

// unneeded are the images that the second stage deletes.
func (m *Model) unneeded(listed map[string]bool) []string {
	kept := map[string]bool{}
	for digest := range listed {
		kept[digest] = true
	}
	for _, one := range m.uses.list {
		kept[one.digest] = true // of an Image, or of a subject that is missing for now
	}
	for _, image := range m.images {
		if m.keepImage(image) {
			kept[image.Name] = true
		}
	}
	for grown := true; grown; {
		grown = false
		keep := func(digest string) {
			if !kept[digest] {
				kept[digest], grown = true, true
			}
		}
		for _, image := range m.images {
			if kept[image.Name] {
				for _, child := range image.DockerImageManifests {
					keep(child.Digest)
				}
			}
			if subject := image.Annotations[imagev1.ImageSubjectAnnotation]; subject != "" && kept[subject] {
				keep(image.Name)
			}
		}
	}
	var gone []string
	for _, image := range m.images {
		if !kept[image.Name] {
			gone = append(gone, image.Name)
		}
	}
	return gone
}

// keepImage: a reason of the image itself, in no stream.
func (m *Model) keepImage(image *imagev1.Image) bool {
	taken := image.CreationTimestamp.Time
	if at, err := time.Parse(time.RFC3339, image.Annotations[imagev1.ImageLastReferencedTimeAnnotation]); err == nil && at.After(taken) {
		taken = at
	}
	return m.used(configOf(image)) || image.Annotations[imagev1.KeepAnnotation] == "true" || !m.wishes.All && !isManaged(image) || isIncomplete(image) ||
		!m.wishes.OverSize && m.young(metav1.NewTime(taken)) || taken.After(m.cluster.Now.Add(-referenceGrace))
}
