package model

import (
	"encoding/json"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/bench/pruner/generate"
)

// use is one reference to an image.
type use struct {
	// stream is "namespace/name"; empty for a bare digest.
	stream string
	// Either tag or digest is set.
	tag, digest string
}

// uses is everything that the workloads say.
type uses struct {
	list []use
	// mentioned are the streams that an unclear string names.
	mentioned []string
	invalid   int
}

func (m *Model) readUses() {
	for _, stream := range m.streams {
		for _, tag := range stream.Spec.Tags {
			if tag.From != nil {
				m.from(stream.Namespace, stream.Name, tag.From)
			}
		}
	}
	for resource, list := range m.cluster.Lists {
		if resource == generate.Images || resource == generate.ImageStreams || resource == generate.LimitRanges {
			continue
		}
		for i := range list.Len() {
			m.root(list.At(i))
		}
	}
}

// root reads one workload.
func (m *Model) root(object runtime.Object) {
	switch o := object.(type) {
	case *corev1.Pod:
		if (o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed) && !m.young(o.CreationTimestamp) {
			return
		}
		m.podSpec(o.ObjectMeta, o.Annotations, o.Spec)
		for _, status := range o.Status.ContainerStatuses {
			m.text(o.Namespace, false, status.ImageID)
			m.text(o.Namespace, false, status.Image)
		}
	case *corev1.ReplicationController:
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *corev1.PodTemplate:
		m.podSpec(o.ObjectMeta, o.Template.Annotations, o.Template.Spec)
	case *appsv1.ReplicaSet:
		ownedByDeployment := slices.ContainsFunc(o.OwnerReferences, func(owner metav1.OwnerReference) bool {
			return owner.Kind == "Deployment" && *owner.Controller
		})
		if m.wishes.IgnoreInactiveReplicaSets && *o.Spec.Replicas == 0 && ownedByDeployment && !m.young(o.CreationTimestamp) {
			return
		}
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *appsv1.Deployment:
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *appsv1.DaemonSet:
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *appsv1.StatefulSet:
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *appsv1.ControllerRevision:
		var data struct {
			Spec struct{ Template *corev1.PodTemplateSpec }
		}
		if json.Unmarshal(o.Data.Raw, &data) == nil && data.Spec.Template != nil {
			m.podSpec(o.ObjectMeta, data.Spec.Template.Annotations, data.Spec.Template.Spec)
		} else {
			m.triggers(o.ObjectMeta, resolves(o.Annotations))
		}
	case *batchv1.Job:
		m.podSpec(o.ObjectMeta, o.Spec.Template.Annotations, o.Spec.Template.Spec)
	case *batchv1.CronJob:
		template := o.Spec.JobTemplate.Spec.Template
		m.podSpec(o.ObjectMeta, template.Annotations, template.Spec)
	default:
		panic("a kind that the generator does not make")
	}
}

// podSpec reads the four places of images, and the triggers of the object around them.
func (m *Model) podSpec(meta metav1.ObjectMeta, template map[string]string, spec corev1.PodSpec) {
	resolve := resolves(meta.Annotations) || resolves(template)
	for _, container := range spec.InitContainers {
		m.text(meta.Namespace, resolve, container.Image)
	}
	for _, container := range spec.Containers {
		m.text(meta.Namespace, resolve, container.Image)
	}
	for _, container := range spec.EphemeralContainers {
		m.text(meta.Namespace, resolve, container.Image)
	}
	for _, volume := range spec.Volumes {
		if volume.Image != nil {
			m.text(meta.Namespace, resolve, volume.Image.Reference)
		}
	}
	m.triggers(meta, resolve)
}

// resolves tells whether annotations lead every name to the streams of the namespace.
func resolves(annotations map[string]string) bool {
	return annotations[imagev1.ResolveNamesAnnotation] == "*"
}

// triggers reads what an object wants to follow.
func (m *Model) triggers(meta metav1.ObjectMeta, resolve bool) {
	var triggers []struct{ From corev1.ObjectReference }
	if text := meta.Annotations[imagev1.TriggersAnnotation]; text != "" && json.Unmarshal([]byte(text), &triggers) == nil {
		for _, trigger := range triggers {
			if trigger.From.Kind == imagev1.KindDockerImage {
				m.text(meta.Namespace, resolve, trigger.From.Name)
			} else {
				m.from(meta.Namespace, "", &trigger.From)
			}
		}
	}
}

// from reads a reference to an object, in a namespace and, for those of tags, in a stream.
func (m *Model) from(namespace, stream string, from *corev1.ObjectReference) {
	if from.Kind == imagev1.KindDockerImage {
		m.text(namespace, false, from.Name)
		return
	}
	if from.Namespace != "" {
		namespace = from.Namespace
	}
	separator := ":"
	if from.Kind == imagev1.KindImageStreamImage {
		separator = "@"
	}
	other, version, found := strings.Cut(from.Name, separator)
	if !found {
		other, version = stream, from.Name
	}
	if separator == ":" {
		m.uses.list = append(m.uses.list, use{stream: namespace + "/" + other, tag: version})
	} else {
		m.uses.list = append(m.uses.list, use{stream: namespace + "/" + other, digest: version})
	}
}

// text reads a string that names an image, of an object in a namespace.
func (m *Model) text(namespace string, resolve bool, text string) {
	n, says, valid := read(text)
	if isPlaceholder(text) || !valid {
		if !isPlaceholder(text) {
			m.uses.invalid++
		}
		for _, stream := range m.streams {
			if key := stream.Namespace + "/" + stream.Name; strings.Contains(text, key) {
				m.uses.mentioned = append(m.uses.mentioned, key)
			}
		}
		return
	}
	if !says {
		return
	}
	if len(n.components) == 0 {
		m.uses.list = append(m.uses.list, use{digest: n.digest})
		return
	}
	if len(n.components) == 2 && m.ours(n.host) {
		m.use(n.components[0]+"/"+n.components[1], n)
	}
	if len(n.components) != 2 && n.digest != "" && m.ours(n.host) {
		m.uses.list = append(m.uses.list, use{digest: n.digest})
	}
	local := namespace + "/" + n.components[len(n.components)-1]
	for _, stream := range m.streams {
		if stream.Namespace+"/"+stream.Name != local {
			continue
		}
		if resolve || len(n.components) == 1 && !n.hosted && stream.Spec.LookupPolicy.Local {
			m.use(local, n)
		}
	}
}

func (m *Model) use(stream string, n name) {
	if n.digest != "" {
		m.uses.list = append(m.uses.list, use{stream: stream, digest: n.digest})
	} else {
		m.uses.list = append(m.uses.list, use{stream: stream, tag: n.tag})
	}
}

// ours tells whether a host means this registry.
func (m *Model) ours(host string) bool {
	if !m.wishes.KnownHosts {
		return true
	}
	known := []string{
		"image-registry.image-registry-system:5000", "image-registry.image-registry-system.svc:5000",
		"image-registry.image-registry-system.svc.cluster.local:5000",
	}
	known = append(known, m.wishes.RegistryHosts...)
	for _, stream := range m.streams {
		for _, repository := range []string{stream.Status.DockerImageRepository, stream.Status.PublicDockerImageRepository} {
			if repository != "" {
				known = append(known, strings.Split(repository, "/")[0])
			}
		}
	}
	return host != "docker.io" && slices.ContainsFunc(known, func(other string) bool {
		return strings.TrimSuffix(other, ":443") == strings.TrimSuffix(host, ":443")
	})
}
