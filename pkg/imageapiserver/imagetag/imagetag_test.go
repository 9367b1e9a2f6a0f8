package imagetag_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagetag"
)

const ns = "team-a"

func storage(env *grouptest.Env) *imagetag.REST {
	return env.Group.Storage["imagetags"].(*imagetag.REST)
}

func external(name string) *imageapi.TagReference {
	tag := grouptest.Tag(name, "DockerImage", "", "docker.io/library/busybox:1")
	return &tag
}

func object(name string, spec *imageapi.TagReference) *imageapi.ImageTag {
	tag := &imageapi.ImageTag{Spec: spec}
	tag.Namespace, tag.Name = ns, name
	return tag
}

func get(env *grouptest.Env, name string) (*imageapi.ImageTag, error) {
	obj, err := storage(env).Get(env.Request("alice", ns, "imagetags"), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageTag), nil
}

func mustGet(t *testing.T, env *grouptest.Env, name string) *imageapi.ImageTag {
	t.Helper()
	tag, err := get(env, name)
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return tag
}

func create(env *grouptest.Env, tag *imageapi.ImageTag, dryRun ...string) (*imageapi.ImageTag, error) {
	obj, err := storage(env).Create(env.Request("alice", ns, "imagetags"), tag, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageTag), nil
}

func update(env *grouptest.Env, tag *imageapi.ImageTag, dryRun ...string) (*imageapi.ImageTag, bool, error) {
	obj, created, err := storage(env).Update(env.Request("alice", ns, "imagetags"), tag.Name, rest.DefaultUpdatedObjectInfo(tag), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{DryRun: dryRun})
	if err != nil {
		return nil, false, err
	}
	return obj.(*imageapi.ImageTag), created, nil
}

// Behaviour 16.
func TestGet(t *testing.T) {
	env := grouptest.New(t)
	reference := grouptest.Tag("ref", "DockerImage", "", "quay.io/org/app:1")
	reference.Reference = true
	local := grouptest.Tag("local", "", "", "")
	local.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
	local.Annotations = map[string]string{"note": "spec"}
	stream := grouptest.Stream(ns, "app", reference, *external("pending"), local)
	stream.Labels = map[string]string{"team": "a"}
	stream.Annotations = map[string]string{"of": "stream"}
	env.CreateStream(stream)
	image := grouptest.Pushed(ns, "app", "one")
	image.DockerImageReference = "quay.io/org/app@" + image.Name
	env.Push(ns, "app", "local", image)
	env.Push(ns, "app", "pushed", image)
	stored := env.Stream(ns, "app")

	tag := mustGet(t, env, "app:ref")
	if tag.Spec == nil || tag.Image != nil || tag.Status.Items[0].Image != "" || tag.Status.Items[0].DockerImageReference != "quay.io/org/app:1" {
		t.Errorf("reference tag is %+v", tag)
	}
	if _, err := env.Tags().Get(env.Request("alice", ns, "imagestreamtags"), "app:ref", &metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("ImageStreamTag of a reference gave %v", err)
	}
	if tag = mustGet(t, env, "app:pending"); tag.Spec == nil || tag.Status != nil || tag.Image != nil {
		t.Errorf("tag without event is %+v", tag)
	}
	if tag = mustGet(t, env, "app:pushed"); tag.Spec != nil || tag.Status.Tag != "pushed" || len(tag.Status.Items) != 1 || tag.Image.Name != image.Name {
		t.Errorf("pushed tag is %+v", tag)
	}
	tag = mustGet(t, env, "app:local")
	if want := grouptest.Internal + "/team-a/app@" + image.Name; tag.Image.DockerImageReference != want || tag.Image.Annotations["note"] != "spec" {
		t.Errorf("image of a local tag is %+v, want reference %s", tag.Image, want)
	}
	if tag.Name != "app:local" || tag.UID != stored.UID || tag.ResourceVersion != stored.ResourceVersion || tag.Labels["team"] != "a" ||
		tag.Annotations["of"] != "stream" || tag.Generation != stored.Generation || !tag.CreationTimestamp.Equal(&stored.CreationTimestamp) {
		t.Errorf("metadata is %+v, want that of the stream", tag.ObjectMeta)
	}
	for name, check := range map[string]func(error) bool{
		"app:absent": apierrors.IsNotFound, "absent:v1": apierrors.IsNotFound, "app": apierrors.IsBadRequest, "app:": apierrors.IsBadRequest, ":v": apierrors.IsBadRequest,
	} {
		if _, err := get(env, name); !check(err) {
			t.Errorf("get %s gave %v", name, err)
		}
	}

	if _, _, err := env.Group.Images.Delete(env.Request("registry", "", "images"), image.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if tag = mustGet(t, env, "app:pushed"); tag.Image != nil || len(tag.Status.Items) != 1 {
		t.Errorf("tag whose image is gone is %+v", tag)
	}
}

func TestList(t *testing.T) {
	env := grouptest.New(t)
	for _, name := range []string{"b", "a"} {
		stream := grouptest.Stream(ns, name, *external("wanted"), *external("both"))
		stream.Labels = map[string]string{"name": name}
		env.CreateStream(stream)
		env.Push(ns, name, "both", grouptest.Pushed(ns, name, "one"))
		env.Push(ns, name, "pushed", grouptest.Pushed(ns, name, "one"))
	}
	tests := []struct{ field, label, want string }{
		{"", "", "[a:both a:pushed a:wanted b:both b:pushed b:wanted]"},
		{"metadata.name=b:pushed", "", "[b:pushed]"},
		{"metadata.name!=b:pushed", "", "[a:both a:pushed a:wanted b:both b:wanted]"},
		{"metadata.name=b", "", "[]"},
		{"metadata.name=b:absent", "", "[]"},
		{"", "name=a", "[a:both a:pushed a:wanted]"},
	}
	for _, test := range tests {
		options := &metainternal.ListOptions{}
		if test.field != "" {
			options.FieldSelector = fields.ParseSelectorOrDie(test.field)
		}
		if test.label != "" {
			options.LabelSelector, _ = labels.Parse(test.label)
		}
		obj, err := storage(env).List(env.Request("alice", ns, "imagetags"), options)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, item := range obj.(*imageapi.ImageTagList).Items {
			names = append(names, item.Name)
			if item.Image != nil {
				t.Errorf("%s is listed with its image", item.Name)
			}
		}
		if fmt.Sprint(names) != test.want || obj.(*imageapi.ImageTagList).ResourceVersion == "" {
			t.Errorf("list %q %q gave %v, want %s", test.field, test.label, names, test.want)
		}
	}
}

func TestCreate(t *testing.T) {
	env := grouptest.New(t)
	writes := env.Backend.Writes()
	if _, err := create(env, object("app:v1", external("")), metav1.DryRunAll); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}
	created, err := create(env, object("app:v1", external("")))
	if err != nil || created.Spec.Name != "v1" || *created.Spec.Generation != 1 || created.UID != env.Stream(ns, "app").UID {
		t.Fatalf("create on a missing stream: %+v, %v", created, err)
	}
	if _, err = create(env, object("app:v1", external("v1"))); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create again gave %v", err)
	}
	env.Push(ns, "app", "pushed", grouptest.Pushed(ns, "app", "one"))
	if created, err = create(env, object("app:pushed", external("pushed"))); err != nil || created.Image == nil || created.Status == nil {
		t.Errorf("create over a status-only tag: %+v, %v", created, err)
	}
	if _, err = create(env, object("app:v2", external("other"))); !apierrors.IsInvalid(err) {
		t.Errorf("another name in spec gave %v", err)
	}
	if _, err = create(env, object("app:v2", nil)); !apierrors.IsInvalid(err) {
		t.Errorf("no spec gave %v", err)
	}
	if _, err = create(env, object("app", external(""))); !apierrors.IsBadRequest(err) {
		t.Errorf("a name without tag gave %v", err)
	}
}

// Behaviour 30.
func TestUpdate(t *testing.T) {
	env := grouptest.New(t)
	stream := grouptest.Stream(ns, "app", *external("v1"))
	stream.Labels = map[string]string{"team": "a"}
	env.CreateStream(stream)
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "one"))

	current := mustGet(t, env, "app:v1")
	stale := current.DeepCopy()
	current.Spec.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
	updated, created, err := update(env, current)
	if err != nil || created || updated.Spec.ReferencePolicy.Type != imageapi.LocalTagReferencePolicy {
		t.Fatalf("update: %+v, created %t, %v", updated, created, err)
	}
	stale.Spec.ImportPolicy.Scheduled = true
	if _, _, err = update(env, stale); !apierrors.IsConflict(err) {
		t.Errorf("stale resourceVersion gave %v", err)
	}
	if _, _, err = update(env, object("app:v1", external(""))); err != nil {
		t.Errorf("unconditional update with nothing but a spec: %v", err)
	}

	for what, change := range map[string]func(*imageapi.ImageTag){
		"labels":      func(tag *imageapi.ImageTag) { tag.Labels = map[string]string{"team": "b"} },
		"annotations": func(tag *imageapi.ImageTag) { tag.Annotations = map[string]string{"a": "b"} },
		"UID":         func(tag *imageapi.ImageTag) { tag.UID = types.UID("other") },
		"history":     func(tag *imageapi.ImageTag) { tag.Status.Items[0].Image = grouptest.Digest("forged") },
		"conditions": func(tag *imageapi.ImageTag) {
			tag.Status.Conditions = []imageapi.TagEventCondition{{Type: imageapi.ImportSuccess, Status: "True"}}
		},
	} {
		tag := mustGet(t, env, "app:v1")
		change(tag)
		if _, _, err := update(env, tag); !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
			t.Errorf("changed %s gave %v, want a refusal", what, err)
		}
	}

	writes := env.Backend.Writes()
	removal := mustGet(t, env, "app:v1")
	removal.Spec = nil
	if _, _, err = update(env, removal.DeepCopy(), metav1.DryRunAll); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}
	updated, created, err = update(env, removal)
	if err != nil || created || updated.Spec != nil || len(updated.Status.Items) != 1 {
		t.Errorf("spec null: %+v, created %t, %v", updated, created, err)
	}
	if left := env.Stream(ns, "app"); len(left.Spec.Tags) != 0 || len(left.Status.Tags["v1"].Items) != 1 {
		t.Errorf("the stream is %+v", left)
	}
	if _, _, err = update(env, object("app:absent", nil)); !apierrors.IsBadRequest(err) {
		t.Errorf("spec null of a tag that is not there gave %v", err)
	}
	if _, created, err = update(env, object("app:v2", external(""))); err != nil || !created {
		t.Errorf("a new tag: created %t, %v", created, err)
	}
	versioned := object("absent:v1", external(""))
	versioned.ResourceVersion = "1"
	if _, _, err = update(env, versioned); !apierrors.IsNotFound(err) {
		t.Errorf("resourceVersion without stream gave %v", err)
	}
	if _, created, err = update(env, object("absent:v1", external(""))); err != nil || !created {
		t.Errorf("update creates the stream: %t, %v", created, err)
	}
}

func TestDelete(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app", *external("v1")))
	remove := func(name string, options *metav1.DeleteOptions) error {
		_, _, err := storage(env).Delete(env.Request("alice", ns, "imagetags"), name, rest.ValidateAllObjectFunc, options)
		return err
	}
	other := types.UID("other")
	if err := remove("app:v1", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
		t.Errorf("another UID gave %v", err)
	}
	writes := env.Backend.Writes()
	if err := remove("app:v1", &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}
	if err := remove("app:v1", &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &stream.UID}}); err != nil {
		t.Errorf("delete gave %v", err)
	}
	err := remove("app:v1", nil)
	if status, ok := err.(apierrors.APIStatus); !ok || !apierrors.IsNotFound(err) || status.Status().Details.Kind != "imagetags" {
		t.Errorf("a missing tag gave %v", err)
	}
}

// What was applied to a stream, and who owns its fields, grows with its tags; a list would repeat it for each.
func TestTagsLeaveOutWhatSpeaksOfTheStreamsFields(t *testing.T) {
	env := grouptest.New(t)
	stream := grouptest.Stream(ns, "app", grouptest.Tag("v1", "", "", ""))
	stream.Annotations = map[string]string{"note": "kept", corev1.LastAppliedConfigAnnotation: "{}"}
	stream.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "m", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "image.alauda.io/v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1("{}")}}
	env.CreateStream(stream)
	obj, err := storage(env).Get(env.Request("alice", ns, "imagetags"), "app:v1", &metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tag := obj.(*imageapi.ImageTag)
	if len(tag.ManagedFields) != 0 || len(tag.Annotations) != 1 || tag.Annotations["note"] != "kept" {
		t.Errorf("the tag has annotations %v and owners %v", tag.Annotations, tag.ManagedFields)
	}
	if got := env.Stream(ns, "app"); got.Annotations[corev1.LastAppliedConfigAnnotation] != "{}" {
		t.Errorf("the stream has annotations %v", got.Annotations)
	}
}
