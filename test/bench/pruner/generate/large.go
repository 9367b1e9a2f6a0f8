package generate

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/api/image/docker10"
	imagev1 "image.alauda.io/api/image/v1"
)

const (
	// ImagesPerStream of a large cluster; the last slots are indexes, children, signatures and orphans.
	ImagesPerStream = 10
	// podsPerImages: three Pods for four images.
	podsPerImages = 0.75

	layersPerImage = 12
	labelsPerImage = 12
	envPerImage    = 18

	// Namespaces over which the streams of a large cluster are spread.
	Namespaces = 50
)

// The places of a stream's images. Each third stream has an index with two children, each third an index
// that it lost, each third a signature and a referrer.
const (
	slotV1     = 0 // five revisions of v1, the newest first
	slotV2     = 5 // two revisions of v2
	slotIndex  = 7
	slotFirst  = 8
	slotSecond = 9
)

// Large is a cluster with so many images: a tenth as many streams, three quarters as many Pods, and the
// workloads that own them.
func Large(images int) *Cluster {
	l := large{images: images, streams: images / ImagesPerStream, pods: int(float64(images) * podsPerImages)}
	return &Cluster{Now: Now, Lists: map[Resource]Objects{
		Images:                 made{l.images, func(i int) runtime.Object { return l.image(i) }},
		ImageStreams:           made{l.streams, func(i int) runtime.Object { return l.stream(i) }},
		LimitRanges:            Slice(nil),
		Pods:                   made{l.pods, func(i int) runtime.Object { return l.pod(i) }},
		PodTemplates:           Slice(nil),
		ReplicationControllers: Slice(nil),
		ReplicaSets:            made{l.pods / 5, func(i int) runtime.Object { return l.replicaSet(i) }},
		Deployments:            made{l.pods / 15, func(i int) runtime.Object { return l.deployment(i) }},
		DaemonSets:             made{min(l.pods/100, 200), func(i int) runtime.Object { return l.daemonSet(i) }},
		StatefulSets:           made{l.pods / 100, func(i int) runtime.Object { return l.statefulSet(i) }},
		ControllerRevisions:    made{l.pods / 50, func(i int) runtime.Object { return l.controllerRevision(i) }},
		Jobs:                   made{l.pods / 50, func(i int) runtime.Object { return l.job(i) }},
		CronJobs:               made{l.pods / 500, func(i int) runtime.Object { return l.cronJob(i) }},
	}}
}

type large struct{ images, streams, pods int }

func (l large) digest(stream, slot int) string {
	return Digest(fmt.Sprint("image ", stream*ImagesPerStream+slot))
}

// Namespace is the name of a namespace of a large cluster.
func Namespace(number int) string { return fmt.Sprintf("team-%02d", number%Namespaces) }

func (l large) namespace(stream int) string { return Namespace(stream) }

func (l large) name(stream int) string { return fmt.Sprintf("app-%06d", stream) }

func (l large) repository(stream int) string {
	return InternalHost + "/" + l.namespace(stream) + "/" + l.name(stream)
}

// old is the time of something that the default settings do not call young.
func old(number int) metav1.Time {
	return metav1.NewTime(Now.Add(-30*24*time.Hour - time.Duration(number%1000)*time.Hour))
}

// image is what the registry stores for an image. Half of the layers of an image are its own.
func (l large) image(number int) *imagev1.Image {
	stream, slot := number/ImagesPerStream, number%ImagesPerStream
	name := l.digest(stream, slot)
	object := &imagev1.Image{
		TypeMeta: metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "Image"},
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: identity(name), ResourceVersion: fmt.Sprint(1000 + number), Generation: 1, CreationTimestamp: old(number),
			Annotations: map[string]string{
				imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
			},
		},
		DockerImageReference:         l.repository(stream) + "@" + name,
		DockerImageMetadataVersion:   "1.0",
		DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
	}
	if slot == slotIndex && stream%3 != 2 {
		object.DockerImageManifestMediaType = "application/vnd.oci.image.index.v1+json"
		for _, child := range []int{slotFirst, slotSecond} {
			object.DockerImageManifests = append(object.DockerImageManifests, imagev1.ImageManifest{
				Digest: l.digest(stream, child), MediaType: "application/vnd.oci.image.manifest.v1+json", ManifestSize: 2000,
				Architecture: "amd64", OS: "linux",
			})
		}
		return object
	}
	if slot == slotFirst && stream%3 == 2 {
		object.Annotations[imagev1.ImageSubjectAnnotation] = l.digest(stream, slotV1)
	}
	object.Annotations[imagev1.ImageConfigDigestAnnotation] = Digest(fmt.Sprint("config ", number))
	object.DockerImageMetadata = runtime.RawExtension{Raw: metadataOf(number)}
	for i := range layersPerImage {
		layer := fmt.Sprint("layer ", i, " of ", number)
		if i < layersPerImage/2 {
			layer = fmt.Sprint("base ", i, " of ", stream%100)
		}
		object.DockerImageLayers = append(object.DockerImageLayers, imagev1.ImageLayer{
			Name: Digest(layer), LayerSize: int64(1000000 + i), MediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
		})
	}
	return object
}

func metadataOf(number int) []byte {
	config := &docker10.DockerConfig{
		Labels: map[string]string{}, Cmd: []string{"/bin/sh", "-c", "exec /usr/local/bin/server"},
		User: "1001", WorkingDir: "/workspace", ExposedPorts: map[string]struct{}{"8080/tcp": {}},
	}
	for i := range labelsPerImage {
		config.Labels[fmt.Sprintf("org.example.label-%d", i)] = fmt.Sprintf("value %d of image %d", i, number)
	}
	for i := range envPerImage {
		config.Env = append(config.Env, fmt.Sprintf("VARIABLE_%d=/some/path/of/a/program/%d", i, number%50))
	}
	metadata, _ := json.Marshal(map[string]any{
		"kind": "DockerImage", "apiVersion": "image.alauda.io/1.0", "Id": Digest(fmt.Sprint("config ", number)), "Created": old(number),
		"Architecture": "amd64", "Os": "linux", "Size": 123456789, "Config": config, "ContainerConfig": map[string]any{},
	}) // plain values always have a JSON form
	return metadata
}

func (l large) stream(number int) *imagev1.ImageStream {
	object := &imagev1.ImageStream{
		TypeMeta: metav1.TypeMeta{APIVersion: imagev1.SchemeGroupVersion.String(), Kind: "ImageStream"},
		ObjectMeta: metav1.ObjectMeta{
			Name: l.name(number), Namespace: l.namespace(number), UID: identity(l.name(number)), Generation: 1,
			ResourceVersion: fmt.Sprint(1000 + number), CreationTimestamp: old(number + 2000), Labels: map[string]string{"app": l.name(number)},
		},
		Status: imagev1.ImageStreamStatus{DockerImageRepository: l.repository(number)},
	}
	if number%4 == 0 {
		generation := int64(1)
		object.Spec.Tags = []imagev1.TagReference{{Name: "v2", Generation: &generation}}
	}
	tag := func(name string, slots ...int) {
		history := imagev1.NamedTagEventList{Tag: name}
		for age, slot := range slots {
			digest := l.digest(number, slot)
			history.Items = append(history.Items, imagev1.TagEvent{
				Created: old(number + age), DockerImageReference: l.repository(number) + "@" + digest, Image: digest, Generation: 1,
			})
		}
		object.Status.Tags = append(object.Status.Tags, history)
	}
	tag("v1", slotV1, slotV1+1, slotV1+2, slotV1+3, slotV1+4)
	tag("v2", slotV2, slotV2+1)
	switch number % 3 {
	case 0:
		tag("multi", slotIndex)
	case 2:
		tag("sha256-"+l.digest(number, slotV1)[len("sha256:"):]+".sig", slotSecond)
	}
	return object
}
