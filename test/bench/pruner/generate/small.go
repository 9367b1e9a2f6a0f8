package generate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

// Small is a cluster of a few streams, images and workloads that holds what is rare and odd.
func Small(seed uint64) *Cluster {
	s := &small{Rand: rand.New(rand.NewPCG(seed, 1)), seed: seed, cluster: &Cluster{Now: Now, Lists: map[Resource]Objects{}}}
	for _, resource := range Resources {
		s.cluster.Lists[resource] = Slice(nil)
	}
	s.images()
	s.streams()
	s.limits()
	s.workloads()
	return s.cluster
}

type small struct {
	*rand.Rand
	seed    uint64
	cluster *Cluster
	digests []string
	names   []streamName
	serial  int
}

type streamName struct{ namespace, name string }

var (
	smallNamespaces = []string{"team-a", "team-b", "cpaas-system"}
	smallStreams    = []string{"app", "app-2", "web", "db"}
	smallTags       = []string{"v1", "v2", "latest"}
	// ages lie on both sides of every limit that a test sets, and on it.
	ages = []time.Duration{
		-time.Minute, 10 * time.Second, 4 * time.Minute, 5 * time.Minute, 6 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 72 * time.Hour, 90 * 24 * time.Hour,
	}
)

func (s *small) add(resource Resource, object runtime.Object) {
	s.cluster.Lists[resource] = append(s.cluster.Lists[resource].(Slice), object)
}

// one in so many times.
func (s *small) one(of int) bool { return s.IntN(of) == 0 }

func pick[T any](s *small, from []T) T { return from[s.IntN(len(from))] }

// oldOr is mostly old.
func (s *small) oldOr(of int) metav1.Time {
	if s.one(of) {
		return metav1.NewTime(Now.Add(-pick(s, ages)))
	}
	return metav1.NewTime(Now.Add(-90 * 24 * time.Hour))
}

func (s *small) meta(namespace, kind string) metav1.ObjectMeta {
	s.serial++
	name := fmt.Sprintf("%s-%d", kind, s.serial)
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: identity(name), ResourceVersion: fmt.Sprint(s.serial), CreationTimestamp: s.oldOr(3)}
}

// unknown is a digest without an Image.
func (s *small) unknown() string { return Digest(fmt.Sprint("unknown ", s.seed, s.IntN(3))) }

// digest is mostly that of an Image.
func (s *small) digest() string {
	if len(s.digests) == 0 || s.one(12) {
		return s.unknown()
	}
	return pick(s, s.digests)
}

func (s *small) images() {
	for i := range 8 + s.IntN(25) {
		name := Digest(fmt.Sprint("image ", s.seed, i))
		image := &imagev1.Image{
			TypeMeta: metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "Image"},
			ObjectMeta: metav1.ObjectMeta{
				Name: name, UID: identity(name), ResourceVersion: fmt.Sprint(100 + i), CreationTimestamp: s.oldOr(4), Annotations: map[string]string{},
			},
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
		}
		s.annotate(image)
		s.content(image)
		s.add(Images, image)
		s.digests = append(s.digests, name)
	}
}

func (s *small) annotate(image *imagev1.Image) {
	notes := image.Annotations
	switch s.IntN(8) {
	case 0:
		notes[imagev1.ManagedByAlaudaAnnotation] = "false"
	case 1:
		notes["image.alauda.io/managed"] = "true"
	case 2: // not managed
	default:
		notes[imagev1.ManagedByAlaudaAnnotation] = "true"
	}
	switch s.IntN(12) {
	case 0:
		notes[imagev1.KeepAnnotation] = "true"
	case 1:
		notes[imagev1.KeepAnnotation] = "yes"
	}
	switch s.IntN(6) {
	case 0:
		notes[imagev1.ImageLastReferencedTimeAnnotation] = Now.Add(-pick(s, ages)).Format(time.RFC3339)
	case 1:
		notes[imagev1.ImageLastReferencedTimeAnnotation] = "some time"
	}
	if s.one(6) {
		notes[imagev1.ImageSubjectAnnotation] = s.digest()
	}
}

// content makes an image, an index, or one whose content is not known.
func (s *small) content(image *imagev1.Image) {
	metadata := map[string]any{"kind": "DockerImage", "Size": 100 * (1 + s.IntN(4))}
	switch kind := s.IntN(10); {
	case kind < 2 && len(s.digests) > 0:
		image.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
		for range 1 + s.IntN(3) {
			image.DockerImageManifests = append(image.DockerImageManifests, imagev1.ImageManifest{Digest: s.digest(), MediaType: "application/vnd.oci.image.manifest.v1+json"})
		}
	case kind == 2: // nothing is known
	case kind == 3:
		image.DockerImageMetadata = runtime.RawExtension{Raw: []byte(`{"Size":"large"}`)}
		image.DockerImageLayers = []imagev1.ImageLayer{{Name: Digest("layer")}}
		return
	case kind == 4:
		image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] = "true"
	case kind == 5:
		image.Annotations[imagev1.ImageConfigDigestAnnotation] = Digest("config")
	case kind == 6:
		metadata["Id"] = Digest("config")
	default:
		image.DockerImageLayers = []imagev1.ImageLayer{{Name: Digest("layer"), LayerSize: 7}}
	}
	if !s.one(8) {
		image.DockerImageMetadata.Raw, _ = json.Marshal(metadata) // plain values always have a JSON form
	}
}

func (s *small) streams() {
	for _, namespace := range smallNamespaces {
		for _, name := range smallStreams {
			if s.one(3) {
				s.names = append(s.names, streamName{namespace, name})
			}
		}
	}
	for i, name := range s.names {
		stream := &imagev1.ImageStream{
			TypeMeta: metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "ImageStream"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: name.namespace, Name: name.name, UID: identity(fmt.Sprint("stream ", i)), ResourceVersion: fmt.Sprint(500 + i),
				CreationTimestamp: s.oldOr(5), Annotations: map[string]string{},
			},
		}
		if s.one(12) {
			stream.Annotations[imagev1.KeepAnnotation] = "true"
		}
		stream.Spec.LookupPolicy.Local = s.one(3)
		if s.one(2) {
			stream.Status.DockerImageRepository = InternalHost + "/" + name.namespace + "/" + name.name
		}
		if s.one(6) {
			stream.Status.PublicDockerImageRepository = "registry.example.test/" + name.namespace + "/" + name.name
		}
		s.wanted(stream)
		s.histories(stream)
		s.add(ImageStreams, stream)
	}
}

// wanted fills spec.tags.
func (s *small) wanted(stream *imagev1.ImageStream) {
	for _, name := range smallTags {
		if !s.one(4) {
			continue
		}
		tag := imagev1.TagReference{Name: name}
		if s.one(4) {
			tag.Annotations = map[string]string{imagev1.KeepAnnotation: "true"}
		}
		other := s.anyStream()
		switch s.IntN(5) {
		case 0:
			tag.From = &corev1.ObjectReference{Kind: imagev1.KindDockerImage, Name: s.validReference()}
		case 1:
			tag.From = &corev1.ObjectReference{Kind: imagev1.KindImageStreamTag, Name: pick(s, smallTags)}
		case 2:
			tag.From = &corev1.ObjectReference{Kind: imagev1.KindImageStreamTag, Namespace: other.namespace, Name: other.name + ":" + pick(s, smallTags)}
		case 3:
			tag.From = &corev1.ObjectReference{Kind: imagev1.KindImageStreamImage, Name: other.name + "@" + s.digest()}
		}
		stream.Spec.Tags = append(stream.Spec.Tags, tag)
	}
}

func (s *small) anyStream() streamName {
	if len(s.names) == 0 || s.one(10) {
		return streamName{pick(s, smallNamespaces), "nobody"}
	}
	return pick(s, s.names)
}

// histories fills status.tags, with tags of signatures among them.
func (s *small) histories(stream *imagev1.ImageStream) {
	names := append([]string(nil), smallTags...)
	for range s.IntN(3) {
		suffix := pick(s, []string{"", ".sig", ".att", ".sbom", ".txt"})
		names = append(names, "sha256-"+s.digest()[len("sha256:"):]+suffix)
	}
	seen := map[string]bool{}
	for _, name := range names {
		if seen[name] || s.one(4) {
			continue
		}
		seen[name] = true
		tag := imagev1.NamedTagEventList{Tag: name, Items: []imagev1.TagEvent{}}
		for range s.IntN(5) {
			event := imagev1.TagEvent{Image: s.digest(), Created: s.oldOr(5)}
			if s.one(15) {
				event.Created = metav1.Time{}
			}
			if s.one(25) {
				event.Image = "" // the tag was only a reference
			}
			tag.Items = append(tag.Items, event)
		}
		if len(tag.Items) == 0 || s.one(6) {
			tag.Conditions = []imagev1.TagEventCondition{{Type: imagev1.ImportSuccess, Status: corev1.ConditionFalse, Generation: 1}}
		}
		stream.Status.Tags = append(stream.Status.Tags, tag)
	}
}

func (s *small) limits() {
	for _, namespace := range smallNamespaces {
		for range s.IntN(3) {
			limit := &corev1.LimitRange{ObjectMeta: s.meta(namespace, "limit")}
			limit.Spec.Limits = []corev1.LimitRangeItem{{
				Type: pick(s, []corev1.LimitType{imagev1.LimitTypeImage, imagev1.LimitTypeImage, corev1.LimitTypePod}),
				Max:  corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(100*s.IntN(5)), resource.DecimalSI)},
			}}
			s.add(LimitRanges, limit)
		}
	}
}
