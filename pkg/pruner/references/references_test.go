package references

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	imagev1 "image.alauda.io/api/image/v1"
)

var (
	now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	dig = "sha256:" + strings.Repeat("ab", 32)
)

// streams are those that exist; the value is local lookup.
type streams map[Stream]bool

func (s streams) Has(stream Stream) (exists, local bool) {
	local, exists = s[stream]
	return exists, local
}

func (s streams) HasNamespace(name string) bool {
	for stream := range s {
		if stream.Namespace == name {
			return true
		}
	}
	return false
}

// Digests: every stream has the image dig.
func (s streams) Digests(Stream) []string { return []string{dig, ""} }

// Behaviours 15, 16, 17 and 18.
func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want Reference
	}{
		{"host:5000/ns/app:v1", Reference{Kind: Tag, Namespace: "ns", Name: "app", Tag: "v1", LastName: "app", Host: "host:5000"}},
		{"h.x/ns/app", Reference{Kind: Tag, Namespace: "ns", Name: "app", Tag: "latest", LastName: "app", Host: "h.x"}},
		{" quay.io/ns/app:v1\n", Reference{Kind: Tag, Namespace: "ns", Name: "app", Tag: "v1", LastName: "app", Host: "quay.io"}},
		{"ns/app:v1", Reference{Kind: Tag, Namespace: "ns", Name: "app", Tag: "v1", LastName: "app", Host: "docker.io"}},
		{"h.x/ns/app:v1@" + dig, Reference{Kind: Digest, Namespace: "ns", Name: "app", Tag: "v1", Digest: dig, LastName: "app", Host: "h.x"}},
		{"docker-pullable://h.x/ns/app@" + dig, Reference{Kind: Digest, Namespace: "ns", Name: "app", Tag: "latest", Digest: dig, LastName: "app", Host: "h.x"}},
		{"docker://" + dig, Reference{Kind: Bare, Digest: dig}},
		{dig, Reference{Kind: Bare, Digest: dig}},
		{"app:v1", Reference{Kind: Local, Tag: "v1", LastName: "app", Host: "docker.io"}},
		{"app@" + dig, Reference{Kind: Local, Tag: "latest", Digest: dig, LastName: "app", Host: "docker.io"}},
		{"h.x/a/b/c:v1", Reference{Kind: None, Tag: "v1", LastName: "c", Host: "h.x"}},
		{"host:5000/app", Reference{Kind: None, Tag: "latest", LastName: "app", Host: "host:5000"}},
		{"localhost/ns/app", Reference{Kind: Tag, Namespace: "ns", Name: "app", Tag: "latest", LastName: "app", Host: "localhost"}},
		{"", Reference{}},
		{"  \t", Reference{}},
	}
	for _, test := range tests {
		got, err := Parse(test.text)
		// A name with a digest keeps its tag for the record only.
		if got.Digest != "" && test.want.Tag == "latest" {
			got.Tag = "latest"
		}
		if err != nil || got != test.want {
			t.Errorf("%q: %+v, %v, want %+v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"a b", "ns/UPPER", "ns/app:", "h.x/ns/app@sha256:12", "://x"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

func podSpec(image string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Image: image}}}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "team", Name: name, CreationTimestamp: metav1.NewTime(now.Add(-48 * time.Hour))}
}

var ages = Ages{Cutoff: now.Add(-time.Hour)}

// Behaviours 11 and 14.
func TestEveryRootKindProtectsByTagAndDigest(t *testing.T) {
	zero := int32(0)
	suspended := true
	kinds := map[string]func(string) runtime.Object{
		"Pod": func(i string) runtime.Object {
			return &corev1.Pod{ObjectMeta: meta("x"), Spec: podSpec(i), Status: corev1.PodStatus{Phase: corev1.PodRunning}}
		},
		"ReplicationController": func(i string) runtime.Object {
			return &corev1.ReplicationController{ObjectMeta: meta("x"), Spec: corev1.ReplicationControllerSpec{Template: &corev1.PodTemplateSpec{Spec: podSpec(i)}}}
		},
		"PodTemplate": func(i string) runtime.Object {
			return &corev1.PodTemplate{ObjectMeta: meta("x"), Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}
		},
		"ReplicaSet without replicas": func(i string) runtime.Object {
			return &appsv1.ReplicaSet{ObjectMeta: meta("x"), Spec: appsv1.ReplicaSetSpec{Replicas: &zero, Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}}
		},
		"Deployment": func(i string) runtime.Object {
			return &appsv1.Deployment{ObjectMeta: meta("x"), Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}}
		},
		"DaemonSet": func(i string) runtime.Object {
			return &appsv1.DaemonSet{ObjectMeta: meta("x"), Spec: appsv1.DaemonSetSpec{Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}}
		},
		"StatefulSet": func(i string) runtime.Object {
			return &appsv1.StatefulSet{ObjectMeta: meta("x"), Spec: appsv1.StatefulSetSpec{Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}}
		},
		"ControllerRevision": func(i string) runtime.Object {
			return &appsv1.ControllerRevision{ObjectMeta: meta("x"), Data: runtime.RawExtension{
				Raw: []byte(`{"spec":{"template":{"$patch":"replace","spec":{"containers":[{"image":"` + i + `"}]}}}}`)}}
		},
		"finished Job": func(i string) runtime.Object {
			return &batchv1.Job{ObjectMeta: meta("x"), Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}, Status: batchv1.JobStatus{Succeeded: 1}}
		},
		"suspended CronJob": func(i string) runtime.Object {
			return &batchv1.CronJob{ObjectMeta: meta("x"), Spec: batchv1.CronJobSpec{Suspend: &suspended,
				JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: podSpec(i)}}}}}
		},
	}
	for kind, object := range kinds {
		t.Run(kind, func(t *testing.T) {
			index := NewIndex(streams{})
			for _, image := range []string{"h.x/ns/app:v1", "h.x/ns/app@" + dig} {
				if err := index.AddObject(object(image), ages); err != nil {
					t.Fatal(err)
				}
			}
			if _, used := index.TagUser(Stream{"ns", "app"}, "v1"); !used {
				t.Error("the tag is not protected")
			}
			if _, used := index.DigestUser(Stream{"ns", "app"}, dig); !used {
				t.Error("the digest is not protected in its stream")
			}
			if _, used := index.AnyDigestUser(dig); !used {
				t.Error("the digest is not protected as an image")
			}
		})
	}
	if err := NewIndex(streams{}).AddObject(&corev1.Secret{}, ages); err == nil {
		t.Error("an unknown kind is no error")
	}
}

// Behaviour 11.
func TestEveryPodSpecFieldProtects(t *testing.T) {
	spec := corev1.PodSpec{
		InitContainers:      []corev1.Container{{Image: "h.x/ns/init:1"}},
		Containers:          []corev1.Container{{Image: "h.x/ns/main:1"}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "h.x/ns/debug:1"}}},
		Volumes:             []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "h.x/ns/volume:1"}}}},
	}
	index := NewIndex(streams{})
	if err := index.AddObject(&corev1.Pod{ObjectMeta: meta("x"), Spec: spec}, ages); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"init", "main", "debug", "volume"} {
		if _, used := index.TagUser(Stream{"ns", name}, "1"); !used {
			t.Errorf("the image of %s is not protected", name)
		}
	}
}

// Behaviours 12 and 13.
func TestPodPhases(t *testing.T) {
	tests := []struct {
		phase corev1.PodPhase
		age   time.Duration
		want  bool
	}{
		{corev1.PodPending, 48 * time.Hour, true}, {corev1.PodRunning, 48 * time.Hour, true}, {corev1.PodUnknown, 48 * time.Hour, true},
		{corev1.PodSucceeded, 48 * time.Hour, false}, {corev1.PodFailed, 48 * time.Hour, false},
		{corev1.PodSucceeded, time.Minute, true}, {corev1.PodFailed, time.Minute, true},
	}
	for _, test := range tests {
		pod := &corev1.Pod{ObjectMeta: meta("x"), Spec: podSpec("h.x/ns/app:v1"), Status: corev1.PodStatus{
			Phase: test.phase, ContainerStatuses: []corev1.ContainerStatus{{ImageID: "h.x/ns/app@" + dig, Image: "not a reference"}},
		}}
		pod.CreationTimestamp = metav1.NewTime(now.Add(-test.age))
		index := NewIndex(streams{})
		if err := index.AddObject(pod, ages); err != nil {
			t.Fatal(err)
		}
		_, tagUsed := index.TagUser(Stream{"ns", "app"}, "v1")
		_, running := index.DigestUser(Stream{"ns", "app"}, dig)
		if tagUsed != test.want || running != test.want || len(index.Invalid()) != 0 {
			t.Errorf("%s, %s old: tag %v, running digest %v, want %v; invalid %v", test.phase, test.age, tagUsed, running, test.want, index.Invalid())
		}
	}
}

// Behaviour 14.
func TestInactiveReplicaSetsCanBeLeftOut(t *testing.T) {
	zero, yes := int32(0), true
	set := &appsv1.ReplicaSet{ObjectMeta: meta("x"), Spec: appsv1.ReplicaSetSpec{Replicas: &zero, Template: corev1.PodTemplateSpec{Spec: podSpec("h.x/ns/app:v1")}}}
	used := func(ages Ages) bool {
		index := NewIndex(streams{})
		if err := index.AddObject(set, ages); err != nil {
			t.Fatal(err)
		}
		_, used := index.TagUser(Stream{"ns", "app"}, "v1")
		return used
	}
	ignoring := Ages{Cutoff: ages.Cutoff, IgnoreInactiveReplicaSets: true}
	if !used(ignoring) {
		t.Error("a ReplicaSet without an owner is left out")
	}
	set.OwnerReferences = []metav1.OwnerReference{{Kind: "Deployment", Name: "d", Controller: &yes}}
	if used(ignoring) || !used(ages) {
		t.Error("an old ReplicaSet of a Deployment counts although it is to be left out, or the other way around")
	}
	set.CreationTimestamp = metav1.NewTime(now)
	if !used(ignoring) {
		t.Error("a young ReplicaSet is left out")
	}
}

// Behaviour 15.
func TestLocalNames(t *testing.T) {
	known := streams{{"team", "local"}: true, {"team", "other"}: false}
	index := NewIndex(known)
	pod := &corev1.Pod{ObjectMeta: meta("x"), Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "local:v1"}, {Image: "other:v1"}}}}
	if err := index.AddObject(pod, ages); err != nil {
		t.Fatal(err)
	}
	if _, used := index.TagUser(Stream{"team", "local"}, "v1"); !used {
		t.Error("a short name does not reach a stream with local lookup")
	}
	if _, used := index.TagUser(Stream{"team", "other"}, "v1"); used {
		t.Error("a short name reaches a stream without local lookup")
	}
	pod.Annotations = map[string]string{imagev1.ResolveNamesAnnotation: "*"}
	if err := index.AddObject(pod, ages); err != nil {
		t.Fatal(err)
	}
	if _, used := index.TagUser(Stream{"team", "other"}, "v1"); !used {
		t.Error("the annotation does not make short names reach a stream")
	}
}

// Behaviours 19 and 20.
func TestInvalidReferencesAndPlaceholders(t *testing.T) {
	known := streams{{"ns", "app"}: false, {"ns", "tmpl"}: false, {"ns", "part"}: false, {"ns", "other"}: false, {"s", "part"}: false}
	index := NewIndex(known)
	pod := &corev1.Pod{ObjectMeta: meta("bad"), Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Image: "h.x/ns/app :v1"}, {Image: "h.x/ns/tmpl:$(TAG)"}, {Image: "{{ .Image }}"}, {Image: " "}, {Image: "PREFIXns/part-${SUFFIX}"},
	}}}
	if err := index.AddObject(pod, ages); err != nil {
		t.Fatal(err)
	}
	invalid := index.Invalid()
	if len(invalid) != 1 || invalid[0].Name != "bad" || invalid[0].Path != "spec.containers[0].image" {
		t.Fatalf("invalid: %+v", invalid)
	}
	index.IgnoreInvalid()
	for name, want := range map[string]bool{"app": true, "tmpl": true, "part": true, "other": false} {
		if _, got := index.Protector(Stream{"ns", name}); got != want {
			t.Errorf("stream %s protected %v, want %v", name, got, want)
		}
	}
}

// Behaviour 21.
func TestStreamSourcesAndTriggers(t *testing.T) {
	index := NewIndex(streams{})
	index.AddStream(&imagev1.ImageStream{ObjectMeta: meta("self"), Spec: imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{
		{Name: "a", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "v1"}},
		{Name: "b", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Namespace: "ns", Name: "app:v2"}},
		{Name: "c", From: &corev1.ObjectReference{Kind: "ImageStreamImage", Name: "app@" + dig}},
		{Name: "d", From: &corev1.ObjectReference{Kind: "DockerImage", Name: "h.x/ns/app:v3"}},
		{Name: "e"},
	}}})
	deployment := &appsv1.Deployment{ObjectMeta: meta("d")}
	deployment.Annotations = map[string]string{imagev1.TriggersAnnotation: `[{"from":{"kind":"ImageStreamTag","name":"app:v4"},"fieldPath":"x"}]`}
	if err := index.AddObject(deployment, ages); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ namespace, name, tag string }{{"team", "self", "v1"}, {"ns", "app", "v2"}, {"ns", "app", "v3"}, {"team", "app", "v4"}} {
		if _, used := index.TagUser(Stream{want.namespace, want.name}, want.tag); !used {
			t.Errorf("%s/%s:%s is not protected", want.namespace, want.name, want.tag)
		}
	}
	if _, used := index.DigestUser(Stream{"team", "app"}, dig); !used {
		t.Error("ImageStreamImage is not protected")
	}
}

// The Image API takes an empty tag for latest, the beginning of a digest for the whole, and a bare id for
// an image of the stream itself.
func TestShortFormsOfStreamSourcesProtect(t *testing.T) {
	hex := strings.TrimPrefix(dig, "sha256:")
	for _, name := range []string{dig, hex[:9], "self@" + dig, "self@" + dig[:15], "self@" + hex[:9]} {
		index := NewIndex(streams{})
		index.AddStream(&imagev1.ImageStream{ObjectMeta: meta("self"), Spec: imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{
			{Name: "a", From: &corev1.ObjectReference{Kind: "ImageStreamImage", Name: name}},
		}}})
		if _, used := index.DigestUser(Stream{"team", "self"}, dig); !used {
			t.Errorf("the image of ImageStreamImage %q is not protected", name)
		}
	}
	index := NewIndex(streams{})
	index.AddStream(&imagev1.ImageStream{ObjectMeta: meta("self"), Spec: imagev1.ImageStreamSpec{Tags: []imagev1.TagReference{
		{Name: "a", From: &corev1.ObjectReference{Kind: "ImageStreamTag", Name: "app:"}},
	}}})
	if _, used := index.TagUser(Stream{"team", "app"}, "latest"); !used {
		t.Error(`the tag latest of ImageStreamTag "app:" is not protected`)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"h.x/ns/app:v1", "a b", dig, "docker://" + dig, "$(X)", "app@" + dig} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := Parse(text)
		if err == nil && (ref.Kind == Tag || ref.Kind == Digest) && (ref.Namespace == "" || ref.Name == "") {
			t.Errorf("%q: %+v has no stream", text, ref)
		}
		index := NewIndex(streams{{"ns", "app"}: true})
		index.add(value{source: Source{"Pod", "ns", "x"}, text: text})
		index.IgnoreInvalid()
	})
}
