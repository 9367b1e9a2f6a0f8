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
)

// What every workload of a large cluster has besides its image, of about the weight that it has in a
// real one. It is shared: nobody changes generated objects.
var (
	environment = variables(20)
	fields      = metav1.NewFieldsV1(`{"f:spec":{` + strings.Repeat(`"f:someField":{".":{},"f:name":{}},`, 40) + `"f:last":{}}}`)
	volumes     = []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "config"}}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
)

func variables(count int) []corev1.EnvVar {
	var list []corev1.EnvVar
	for i := range count {
		list = append(list, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: fmt.Sprintf("https://service-%d.example.svc:8443/path", i)})
	}
	return list
}

func (l large) meta(kind string, number int) metav1.ObjectMeta {
	name := fmt.Sprintf("%s-%06d", kind, number)
	return metav1.ObjectMeta{
		Name: name, Namespace: l.namespace(number), UID: identity(name), ResourceVersion: fmt.Sprint(1000 + number),
		CreationTimestamp: old(number), Labels: map[string]string{"app": name, "pod-template-hash": "6d4b75cb6d", "team": l.namespace(number)},
		ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: fields},
		},
	}
}

// used is the image that a workload of a number names: mostly a tag, often a digest, some of elsewhere.
func (l large) used(number int) string {
	stream := number % max(l.streams, 1)
	switch number % 10 {
	case 0, 1:
		return l.repository(stream) + "@" + l.digest(stream, slotV1+3)
	case 2:
		return l.repository(stream) + ":v2"
	case 3:
		return "quay.io/some/other/image:v1"
	case 4:
		return fmt.Sprintf("mirror-%d.example.test:8443/%s/%s:v1", number%7, l.namespace(stream), l.name(stream))
	}
	return l.repository(stream) + ":v1"
}

func (l large) podSpec(number int) corev1.PodSpec {
	return corev1.PodSpec{
		ServiceAccountName: "default", NodeName: fmt.Sprintf("node-%03d", number%500), Volumes: volumes,
		Containers: []corev1.Container{
			{Name: "main", Image: l.used(number), Command: []string{"/usr/local/bin/server"}, Env: environment},
			{Name: "proxy", Image: "mirror.example.test/mesh/proxy:1.2.3", Env: environment[:5]},
		},
	}
}

func (l large) template(number int) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}}, Spec: l.podSpec(number)}
}

func (l large) pod(number int) *corev1.Pod {
	stream := number % max(l.streams, 1)
	status := func(name, repository, digest string) corev1.ContainerStatus {
		return corev1.ContainerStatus{
			Name: name, Image: repository + ":v1", ImageID: repository + "@" + digest, Ready: true,
			ContainerID: "containerd://" + Digest(fmt.Sprint("container ", number))[len("sha256:"):],
		}
	}
	return &corev1.Pod{
		ObjectMeta: l.meta("pod", number), Spec: l.podSpec(number),
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "198.18.0.1", PodIP: "198.18.1.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{
				status("main", l.repository(stream), l.digest(stream, slotV1)),
				status("proxy", "mirror.example.test/mesh/proxy", Digest("proxy")),
			},
		},
	}
}

func (l large) replicaSet(number int) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: l.meta("set", number), Spec: appsv1.ReplicaSetSpec{Replicas: ptr.To(int32(number % 5)), Template: l.template(number)}}
}

func (l large) deployment(number int) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: l.meta("deployment", number), Spec: appsv1.DeploymentSpec{Template: l.template(number)}}
}

func (l large) daemonSet(number int) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{ObjectMeta: l.meta("daemon", number), Spec: appsv1.DaemonSetSpec{Template: l.template(number)}}
}

func (l large) statefulSet(number int) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{ObjectMeta: l.meta("stateful", number), Spec: appsv1.StatefulSetSpec{Template: l.template(number)}}
}

func (l large) controllerRevision(number int) *appsv1.ControllerRevision {
	template := l.template(number)
	raw, _ := json.Marshal(map[string]any{"spec": map[string]any{"template": template}}) // plain values always have a JSON form
	return &appsv1.ControllerRevision{ObjectMeta: l.meta("revision", number), Revision: 1, Data: runtime.RawExtension{Raw: raw}}
}

func (l large) job(number int) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: l.meta("job", number), Spec: batchv1.JobSpec{Template: l.template(number)}}
}

func (l large) cronJob(number int) *batchv1.CronJob {
	return &batchv1.CronJob{ObjectMeta: l.meta("cron", number), Spec: batchv1.CronJobSpec{
		Schedule: "0 * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: l.template(number)}},
	}}
}
