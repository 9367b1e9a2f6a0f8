package references

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagereference "image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
)

// Ages decides which finished Pods and idle ReplicaSets still count.
type Ages struct {
	// Cutoff: what was created after it is young.
	Cutoff time.Time
	// IgnoreInactiveReplicaSets leaves out old ReplicaSets of Deployments without replicas.
	IgnoreInactiveReplicaSets bool
}

// AddObject records the references of one workload. Kinds that hold none are an error, so that no root
// is forgotten by mistake.
func (x *Index) AddObject(object runtime.Object, ages Ages) error {
	switch o := object.(type) {
	case *corev1.Pod:
		x.addPod(o, ages)
	case *corev1.ReplicationController:
		if o.Spec.Template != nil {
			x.addTemplate(owner{"ReplicationController", &o.ObjectMeta}, "spec.template", o.Spec.Template)
		}
	case *corev1.PodTemplate:
		x.addTemplate(owner{"PodTemplate", &o.ObjectMeta}, "template", &o.Template)
	case *appsv1.ReplicaSet:
		if !ages.ignores(o) {
			x.addTemplate(owner{"ReplicaSet", &o.ObjectMeta}, "spec.template", &o.Spec.Template)
		}
	case *appsv1.Deployment:
		x.addTemplate(owner{"Deployment", &o.ObjectMeta}, "spec.template", &o.Spec.Template)
	case *appsv1.DaemonSet:
		x.addTemplate(owner{"DaemonSet", &o.ObjectMeta}, "spec.template", &o.Spec.Template)
	case *appsv1.StatefulSet:
		x.addTemplate(owner{"StatefulSet", &o.ObjectMeta}, "spec.template", &o.Spec.Template)
	case *appsv1.ControllerRevision:
		x.addRevision(o)
	case *batchv1.Job:
		x.addTemplate(owner{"Job", &o.ObjectMeta}, "spec.template", &o.Spec.Template)
	case *batchv1.CronJob:
		x.addTemplate(owner{"CronJob", &o.ObjectMeta}, "spec.jobTemplate.spec.template", &o.Spec.JobTemplate.Spec.Template)
	default:
		return fmt.Errorf("no references are known in objects of type %T", object)
	}
	return nil
}

// ignores tells whether a ReplicaSet only serves a rollback that the administrator gave up.
func (a Ages) ignores(set *appsv1.ReplicaSet) bool {
	controller := metav1.GetControllerOf(set)
	return a.IgnoreInactiveReplicaSets && set.Spec.Replicas != nil && *set.Spec.Replicas == 0 &&
		controller != nil && controller.Kind == "Deployment" && !set.CreationTimestamp.After(a.Cutoff)
}

type owner struct {
	kind string
	meta *metav1.ObjectMeta
}

func (o owner) source() Source { return Source{o.kind, o.meta.Namespace, o.meta.Name} }

// controller is empty unless the object is a Pod that something controls: of the others the object itself
// says who uses an image.
func (o owner) controller() Source {
	if o.kind != "Pod" {
		return Source{}
	}
	if controller := metav1.GetControllerOf(o.meta); controller != nil {
		return Source{controller.Kind, o.meta.Namespace, controller.Name}
	}
	return Source{}
}

// value is one string of the object.
func (o owner) value(path, text string) value {
	return value{source: o.source(), owner: o.controller(), path: path, text: text}
}

func resolvesNames(annotations map[string]string) bool {
	return annotations[imagev1.ResolveNamesAnnotation] == imagev1.ResolveNamesAll
}

func (x *Index) addTemplate(o owner, path string, template *corev1.PodTemplateSpec) {
	lookup := resolvesNames(o.meta.Annotations) || resolvesNames(template.Annotations)
	x.addPodSpec(o, path+".spec", &template.Spec, lookup)
	x.addTriggers(o)
}

// addPod counts running and unknown Pods always, finished ones while they are young. What actually runs
// is protected beside what was asked for: the tag may have moved on since.
func (x *Index) addPod(pod *corev1.Pod, ages Ages) {
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if finished && !pod.CreationTimestamp.After(ages.Cutoff) {
		return
	}
	o := owner{"Pod", &pod.ObjectMeta}
	x.addPodSpec(o, "spec", &pod.Spec, resolvesNames(pod.Annotations))
	x.addTriggers(o)
	statuses := append(append(append([]corev1.ContainerStatus(nil),
		pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...), pod.Status.EphemeralContainerStatuses...)
	for i := range statuses {
		x.addRunning(o, &statuses[i])
	}
}

// addRunning records what a container and its volumes were really started from.
func (x *Index) addRunning(o owner, status *corev1.ContainerStatus) {
	add := func(field, text string) {
		v := o.value("status."+status.Name+"."+field, text)
		v.lenient = true
		x.add(v)
	}
	add("imageID", status.ImageID)
	add("image", status.Image)
	for _, mount := range status.VolumeMounts {
		if mount.VolumeStatus != nil && mount.VolumeStatus.Image != nil {
			add("volumeMounts["+mount.Name+"].imageRef", mount.VolumeStatus.Image.ImageRef)
		}
	}
}

func (x *Index) addPodSpec(o owner, path string, spec *corev1.PodSpec, lookup bool) {
	add := func(where, text string) {
		v := o.value(path+"."+where, text)
		v.lookup = lookup
		x.add(v)
	}
	root := &place{name: path}
	for i, container := range spec.InitContainers {
		add(fmt.Sprintf("initContainers[%d].image", i), container.Image)
		x.addHandedOn(o, &place{up: &place{up: root, name: "initContainers"}, index: i}, &spec.InitContainers[i])
	}
	for i, container := range spec.Containers {
		add(fmt.Sprintf("containers[%d].image", i), container.Image)
		x.addHandedOn(o, &place{up: &place{up: root, name: "containers"}, index: i}, &spec.Containers[i])
	}
	for i, container := range spec.EphemeralContainers {
		add(fmt.Sprintf("ephemeralContainers[%d].image", i), container.Image)
	}
	for i, volume := range spec.Volumes {
		if volume.Image != nil {
			add(fmt.Sprintf("volumes[%d].image.reference", i), volume.Image.Reference)
		}
	}
}

// addHandedOn records images that a container is told of, because it starts others from them: operators and
// build systems take them as arguments and environment.
func (x *Index) addHandedOn(o owner, at *place, container *corev1.Container) {
	look := func(text, key, field string) {
		if !strings.Contains(text, "/") {
			return
		}
		base := o.value("", "")
		base.lenient, base.scanned = true, true
		scan{x: x, base: base}.text(text, key, &place{up: at, name: field})
	}
	for _, variable := range container.Env {
		key := ""
		if strings.Contains(strings.ToUpper(variable.Name), "IMAGE") {
			key = "image"
		}
		look(variable.Value, key, "env["+variable.Name+"]")
	}
	for _, argument := range container.Args {
		look(argument, "", "args")
	}
	for _, argument := range container.Command {
		look(argument, "", "command")
	}
}

// addRevision reads the template that a DaemonSet or StatefulSet may be rolled back to. Revisions of other
// controllers hold other data, in which every string is looked at.
func (x *Index) addRevision(revision *appsv1.ControllerRevision) {
	o := owner{"ControllerRevision", &revision.ObjectMeta}
	var data struct {
		Spec struct {
			Template *corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(revision.Data.Raw, &data); err == nil && data.Spec.Template != nil {
		x.addTemplate(o, "data.spec.template", data.Spec.Template)
		if len(data.Spec.Template.Spec.Containers) > 0 {
			return
		}
		// The template is one of something else, such as a virtual machine.
	} else {
		x.addTriggers(o)
	}
	var other any
	if err := json.Unmarshal(revision.Data.Raw, &other); err == nil {
		base := o.value("", "")
		base.lenient, base.scanned, base.lookup = true, true, resolvesNames(revision.Annotations)
		scan{x: x, base: base}.walk(other, "", &place{name: "data"})
	}
}

// addTriggers records the streams that an annotation watches for new images.
func (x *Index) addTriggers(o owner) {
	if text := o.meta.Annotations[imagev1.TriggersAnnotation]; text != "" {
		x.addTriggersOf(o.value("", ""), text)
	}
}

// addTriggersOf records the streams of the annotation's text.
func (x *Index) addTriggersOf(v value, text string) {
	v.path, v.text = "metadata.annotations["+imagev1.TriggersAnnotation+"]", text
	var triggers []struct {
		From corev1.ObjectReference `json:"from"`
	}
	if err := json.Unmarshal([]byte(text), &triggers); err != nil {
		x.protectMentioned(v)
		return
	}
	for _, trigger := range triggers {
		v.text, v.lenient = trigger.From.Name, true
		x.addFrom(v, "", &trigger.From)
	}
}

// AddStream records what the wanted tags of a stream come from.
func (x *Index) AddStream(stream *imagev1.ImageStream) {
	source := Source{"ImageStream", stream.Namespace, stream.Name}
	for _, tag := range stream.Spec.Tags {
		if tag.From != nil {
			v := value{source: source, path: "spec.tags[" + tag.Name + "].from", text: tag.From.Name, lenient: true}
			x.addFrom(v, stream.Name, tag.From)
		}
	}
}

// addFrom records an object reference. A bare tag means the stream self.
func (x *Index) addFrom(v value, self string, from *corev1.ObjectReference) {
	namespace := from.Namespace
	if namespace == "" {
		namespace = v.source.Namespace
	}
	switch from.Kind {
	case imagev1.KindDockerImage:
		x.add(v)
	case imagev1.KindImageStreamTag:
		name, tag, err := imagereference.SplitTagSource(from.Name)
		if err != nil {
			return
		}
		if name == "" {
			name = self
		}
		x.mu.Lock()
		x.useTag(Stream{namespace, name}, tag, v)
		x.mu.Unlock()
	case imagev1.KindImageStreamImage:
		name, id, err := imagereference.SplitImageSource(from.Name)
		if err != nil {
			return
		}
		if name == "" {
			name = self
		}
		x.useID(Stream{namespace, name}, id, v)
	}
}

// useID records every image of the stream that the id may mean: it may be the beginning of a digest, with
// or without its algorithm.
func (x *Index) useID(stream Stream, id string, v value) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.useDigest(stream, id, v)
	for _, digest := range x.known.Digests(stream) {
		_, hex, _ := strings.Cut(digest, ":")
		if digest != id && digest != "" && (strings.HasPrefix(digest, id) || strings.HasPrefix(hex, id)) {
			x.useDigest(stream, digest, v)
		}
	}
}
