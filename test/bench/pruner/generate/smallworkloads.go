package generate

import (
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	imagev1 "image.alauda.io/api/image/v1"
)

var hosts = []string{
	InternalHost, InternalHost, "image-registry.image-registry-system.svc.cluster.local:5000", "image-registry.image-registry-system:5000",
	"registry.example.test", "registry.example.test:443", "quay.io", "localhost", "mirror:5000", "docker.io",
}

// validReference is a name that can be read, of this registry or of another.
func (s *small) validReference() string {
	name := s.anyStream()
	path := name.namespace + "/" + name.name
	switch s.IntN(12) {
	case 0:
		path = name.name
	case 1:
		path = "deep/" + path
	}
	text := path
	switch s.IntN(6) {
	case 0: // without tag
	case 1:
		text += "@" + s.digest()
	case 2:
		text += ":" + pick(s, smallTags) + "@" + s.digest()
	default:
		text += ":" + pick(s, smallTags)
	}
	if !s.one(5) {
		text = pick(s, hosts) + "/" + text
	}
	return text
}

// reference is what a workload names: mostly something valid.
func (s *small) reference() string {
	text := s.validReference()
	switch s.IntN(60) {
	case 0:
		return text + " "
	case 1:
		return "docker://" + text
	case 2:
		return " "
	case 3:
		return s.digest()
	case 4:
		return strings.Replace(text, "/", "/ ", 1)
	case 5:
		return strings.ToUpper(text)
	case 6:
		return "$(REGISTRY)/" + text
	case 7:
		return text + "-${VERSION}"
	case 8:
		return "{{ .Values.prefix }}" + text
	case 9:
		return text + "@sha256:short"
	}
	return text
}

func (s *small) podSpec() corev1.PodSpec {
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: s.reference()}}}
	if s.one(4) {
		spec.InitContainers = []corev1.Container{{Name: "init", Image: s.reference()}}
	}
	if s.one(6) {
		spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: s.reference()}}}
	}
	if s.one(6) {
		spec.Volumes = []corev1.Volume{
			{Name: "other"},
			{Name: "image", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: s.reference()}}},
		}
	}
	return spec
}

func (s *small) template() corev1.PodTemplateSpec {
	template := corev1.PodTemplateSpec{Spec: s.podSpec()}
	if s.one(8) {
		template.Annotations = map[string]string{imagev1.ResolveNamesAnnotation: "*"}
	}
	return template
}

// workload is the metadata of an object with images, sometimes with annotations that name more.
func (s *small) workload(kind string) metav1.ObjectMeta {
	object := s.meta(pick(s, smallNamespaces), kind)
	object.Annotations = map[string]string{}
	if s.one(8) {
		object.Annotations[imagev1.ResolveNamesAnnotation] = pick(s, []string{"*", "*", "app"})
	}
	if s.one(6) {
		name := s.anyStream()
		trigger := map[string]any{"from": map[string]string{
			"kind": pick(s, []string{imagev1.KindImageStreamTag, imagev1.KindImageStreamTag, imagev1.KindDockerImage}),
			"name": name.name + ":" + pick(s, smallTags), "namespace": pick(s, []string{name.namespace, ""}),
		}, "fieldPath": "spec.template.spec.containers[0].image"}
		raw, _ := json.Marshal([]any{trigger}) // plain values always have a JSON form
		object.Annotations[imagev1.TriggersAnnotation] = string(raw)
	}
	return object
}

func (s *small) workloads() {
	for range s.IntN(7) {
		s.add(Pods, s.pod())
	}
	for range s.IntN(3) {
		s.add(ReplicaSets, s.replicaSet())
	}
	for range s.IntN(2) {
		s.add(Deployments, &appsv1.Deployment{ObjectMeta: s.workload("deployment"), Spec: appsv1.DeploymentSpec{Template: s.template()}})
	}
	if s.one(4) {
		s.add(DaemonSets, &appsv1.DaemonSet{ObjectMeta: s.workload("daemon"), Spec: appsv1.DaemonSetSpec{Template: s.template()}})
	}
	if s.one(4) {
		s.add(StatefulSets, &appsv1.StatefulSet{ObjectMeta: s.workload("stateful"), Spec: appsv1.StatefulSetSpec{Template: s.template()}})
	}
	if s.one(4) {
		s.add(ReplicationControllers, &corev1.ReplicationController{
			ObjectMeta: s.workload("controller"), Spec: corev1.ReplicationControllerSpec{Template: ptr.To(s.template())},
		})
	}
	if s.one(4) {
		s.add(PodTemplates, &corev1.PodTemplate{ObjectMeta: s.workload("template"), Template: s.template()})
	}
	if s.one(4) {
		s.add(Jobs, &batchv1.Job{ObjectMeta: s.workload("job"), Spec: batchv1.JobSpec{Template: s.template(), Suspend: ptr.To(true)}})
	}
	if s.one(4) {
		s.add(CronJobs, &batchv1.CronJob{ObjectMeta: s.workload("cron"), Spec: batchv1.CronJobSpec{
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: s.template()}},
		}})
	}
	if s.one(4) {
		raw, _ := json.Marshal(map[string]any{"spec": map[string]any{"template": s.template()}}) // plain values always have a JSON form
		if s.one(3) {
			raw = []byte(`{"state":{"of":"another controller"}}`)
		}
		s.add(ControllerRevisions, &appsv1.ControllerRevision{ObjectMeta: s.workload("revision"), Data: runtime.RawExtension{Raw: raw}})
	}
}

func (s *small) replicaSet() *appsv1.ReplicaSet {
	set := &appsv1.ReplicaSet{ObjectMeta: s.workload("set"), Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(s.IntN(2))), Template: s.template()}}
	if !s.one(3) {
		set.OwnerReferences = []metav1.OwnerReference{{
			Kind: pick(s, []string{"Deployment", "Deployment", "Rollout"}), Name: "owner", Controller: ptr.To(!s.one(6)),
		}}
	}
	return set
}

func (s *small) pod() *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: s.workload("pod"), Spec: s.podSpec()}
	pod.Status.Phase = pick(s, []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodUnknown, corev1.PodSucceeded, corev1.PodFailed})
	for i := range s.IntN(3) {
		name := s.anyStream()
		id := pick(s, []string{
			"", s.digest(), "docker-pullable://" + InternalHost + "/" + name.namespace + "/" + name.name + "@" + s.digest(),
			pick(s, hosts) + "/" + name.namespace + "/" + name.name + "@" + s.digest(),
		})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: fmt.Sprint("c", i), Image: pick(s, []string{"", s.digest(), s.validReference()}), ImageID: id,
		})
	}
	return pod
}
