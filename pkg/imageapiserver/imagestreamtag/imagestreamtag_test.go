package imagestreamtag_test

import (
	"fmt"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

const ns = "team-a"

func tagObject(name string, tag *imageapi.TagReference) *imageapi.ImageStreamTag {
	obj := &imageapi.ImageStreamTag{Tag: tag}
	obj.Namespace, obj.Name = ns, name
	return obj
}

func external(name string) *imageapi.TagReference {
	tag := grouptest.Tag(name, "DockerImage", "", "docker.io/library/busybox:1")
	return &tag
}

func create(env *grouptest.Env, tag *imageapi.ImageStreamTag, dryRun ...string) (*imageapi.ImageStreamTag, error) {
	obj, err := env.Tags().Create(env.Request("alice", ns, "imagestreamtags"), tag, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: dryRun})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageStreamTag), nil
}

func update(env *grouptest.Env, tag *imageapi.ImageStreamTag) (*imageapi.ImageStreamTag, bool, error) {
	obj, created, err := env.Tags().Update(env.Request("alice", ns, "imagestreamtags"), tag.Name, rest.DefaultUpdatedObjectInfo(tag), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		return nil, false, err
	}
	return obj.(*imageapi.ImageStreamTag), created, nil
}

func get(t *testing.T, env *grouptest.Env, name string) *imageapi.ImageStreamTag {
	t.Helper()
	obj, err := env.Tags().Get(env.Request("alice", ns, "imagestreamtags"), name, &metav1.GetOptions{})
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return obj.(*imageapi.ImageStreamTag)
}

// Behaviour 26.
func TestCreate(t *testing.T) {
	env := grouptest.New(t)
	writes := env.Backend.Writes()
	if _, err := create(env, tagObject("app:v1", external("")), metav1.DryRunAll); err != nil || env.Backend.Writes() != writes {
		t.Errorf("dry run gave %v and %d writes", err, env.Backend.Writes()-writes)
	}
	created, err := create(env, tagObject("app:v1", external("")))
	if err != nil || created.Tag.Name != "v1" || env.Stream(ns, "app").Spec.Tags["v1"].From == nil {
		t.Fatalf("create on a missing stream: %+v, %v", created, err)
	}
	if _, err = create(env, tagObject("app:v2", external("v2"))); err != nil {
		t.Errorf("create on an existing stream: %v", err)
	}
	if _, err = create(env, tagObject("app:v2", external("v2"))); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create again gave %v", err)
	}
	env.Push(ns, "app", "pushed", grouptest.Pushed(ns, "app", "one"))
	if _, err = create(env, tagObject("app:pushed", external("pushed"))); err != nil {
		t.Errorf("create over a status-only tag: %v", err)
	}
	annotated := tagObject("app:v3", external("v3"))
	annotated.Annotations, annotated.Tag.Annotations = map[string]string{"a": "1"}, map[string]string{"a": "2"}
	if _, err = create(env, annotated); !apierrors.IsInvalid(err) {
		t.Errorf("different annotations gave %v", err)
	}
	for _, name := range []string{"app", "app:", ":v1", "app:v1:v2", "app@v1:x"} {
		if _, err = create(env, tagObject(name, external(""))); !apierrors.IsBadRequest(err) {
			t.Errorf("name %q gave %v, want BadRequest", name, err)
		}
	}
}

// Behaviour 27.
func TestUpdate(t *testing.T) {
	env := grouptest.New(t)
	labelled := grouptest.Stream(ns, "app")
	labelled.Labels = map[string]string{"team": "a"}
	env.CreateStream(labelled)
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "one"))

	unconditional := tagObject("app:v1", external("v1"))
	unconditional.Annotations = map[string]string{"a": "b"}
	updated, created, err := update(env, unconditional)
	if err != nil || !created || updated.Labels["team"] != "a" || updated.Image.Annotations["a"] != "b" {
		t.Fatalf("unconditional update: %+v, created %t, %v", updated, created, err)
	}
	if got := env.Stream(ns, "app").Spec.Tags["v1"].Annotations["a"]; got != "b" {
		t.Errorf("annotation of the spec tag is %q", got)
	}
	current := get(t, env, "app:v1")
	stale := current.DeepCopy()
	current.Tag.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
	if _, created, err = update(env, current); err != nil || created {
		t.Errorf("update with resourceVersion: created %t, %v", created, err)
	}
	stale.Annotations = map[string]string{"late": "yes"}
	if _, _, err = update(env, stale); !apierrors.IsConflict(err) {
		t.Errorf("stale resourceVersion gave %v", err)
	}
	relabelled := get(t, env, "app:v1")
	relabelled.Labels = map[string]string{"team": "b"}
	if _, _, err = update(env, relabelled); !apierrors.IsInvalid(err) {
		t.Errorf("changed labels gave %v", err)
	}
	env.Push(ns, "app", "pushed", grouptest.Pushed(ns, "app", "two"))
	if _, _, err = update(env, tagObject("app:pushed", nil)); !apierrors.IsBadRequest(err) {
		t.Errorf("no tag gave %v", err)
	}
	versioned := tagObject("absent:v1", external("v1"))
	versioned.ResourceVersion = "1"
	if _, _, err = update(env, versioned); !apierrors.IsNotFound(err) {
		t.Errorf("resourceVersion without stream gave %v", err)
	}
	versioned.ResourceVersion = ""
	if _, created, err = update(env, versioned); err != nil || !created {
		t.Errorf("update creates the stream: %t, %v", created, err)
	}
}

// Behaviour 28.
func TestDelete(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app", *external("v1")))
	remove := func(name string, conditions *metav1.Preconditions) error {
		_, _, err := env.Tags().Delete(env.Request("alice", ns, "imagestreamtags"), name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: conditions})
		return err
	}
	other := types.UID("other")
	old := "99999"
	if err := remove("app:v1", &metav1.Preconditions{UID: &other}); !apierrors.IsConflict(err) {
		t.Errorf("another UID gave %v", err)
	}
	if err := remove("app:v1", &metav1.Preconditions{ResourceVersion: &old}); !apierrors.IsConflict(err) {
		t.Errorf("another resourceVersion gave %v", err)
	}
	if err := remove("app:v1", &metav1.Preconditions{UID: &stream.UID, ResourceVersion: &stream.ResourceVersion}); err != nil {
		t.Errorf("matching preconditions gave %v", err)
	}
	err := remove("app:v1", nil)
	if status, ok := err.(apierrors.APIStatus); !ok || !apierrors.IsNotFound(err) || status.Status().Details.Kind != "imagestreamtags" {
		t.Errorf("a missing tag gave %v", err)
	}

	const count = 30
	for i := range count {
		env.Push(ns, "app", fmt.Sprint("t", i), grouptest.Pushed(ns, "app", "one"))
	}
	errs := make([]error, count)
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { errs[i] = remove(fmt.Sprint("app:t", i), nil) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("delete %d: %v", i, err)
		}
	}
	if left := len(env.Stream(ns, "app").Status.Tags); left != 0 {
		t.Errorf("%d tags are left", left)
	}
}

// Behaviour 29: what was pushed and what was imported, read alone and in lists, with and without a name of the
// registry.
func TestReferencePolicy(t *testing.T) {
	env := grouptest.New(t)
	stream := grouptest.Stream(ns, "app")
	stream.Spec.Tags = map[string]imageapi.TagReference{}
	for _, name := range []string{"imported", "pushed"} {
		for _, policy := range []imageapi.TagReferencePolicyType{imageapi.LocalTagReferencePolicy, imageapi.SourceTagReferencePolicy} {
			tag := grouptest.Tag(name+"-"+string(policy), "", "", "")
			tag.ReferencePolicy.Type = policy
			stream.Spec.Tags[tag.Name] = tag
		}
	}
	env.CreateStream(stream)
	imported, pushed := grouptest.Pushed(ns, "app", "one"), grouptest.Pushed(ns, "app", "two")
	imported.Annotations = nil
	imported.DockerImageReference = "quay.io/org/app@" + imported.Name
	here := func(image *imageapi.Image) string { return grouptest.Internal + "/team-a/app@" + image.Name }
	for tag, image := range map[string]*imageapi.Image{"imported-Local": imported, "imported-Source": imported, "pushed-Local": pushed, "pushed-Source": pushed, "unwanted": imported} {
		env.Push(ns, "app", tag, image)
	}
	check := func(what string, want map[string]string) {
		t.Helper()
		obj, err := env.Tags().List(env.Request("alice", ns, "imagestreamtags"), nil)
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]string{}
		for _, item := range obj.(*imageapi.ImageStreamTagList).Items {
			listed[item.Name] = item.Image.DockerImageReference
		}
		if len(listed) != len(want) {
			t.Errorf("%s: listed %v", what, listed)
		}
		for tag, reference := range want {
			if got := get(t, env, "app:"+tag).Image.DockerImageReference; got != reference {
				t.Errorf("%s: get of %s gave %q, want %q", what, tag, got, reference)
			}
			if got := listed["app:"+tag]; got != reference {
				t.Errorf("%s: list gave %q for %s, want %q", what, got, tag, reference)
			}
		}
	}
	check("with internal host", map[string]string{
		"imported-Local": here(imported), "imported-Source": imported.DockerImageReference, "unwanted": imported.DockerImageReference,
		"pushed-Local": here(pushed), "pushed-Source": here(pushed),
	})
	env.Hosts = repository.Hosts{}
	check("without internal host", map[string]string{
		"imported-Local": imported.DockerImageReference, "imported-Source": imported.DockerImageReference, "unwanted": imported.DockerImageReference,
		"pushed-Local": here(pushed), "pushed-Source": here(pushed),
	})
}

func TestList(t *testing.T) {
	env := grouptest.New(t)
	for _, stream := range []string{"b", "a"} {
		env.CreateStream(grouptest.Stream(ns, stream, *external("pending")))
		for _, tag := range []string{"v2", "v1"} {
			env.Push(ns, stream, tag, grouptest.Pushed(ns, stream, stream+tag))
		}
	}
	list := func(selector string) []string {
		options := &metainternal.ListOptions{}
		if selector != "" {
			options.FieldSelector = fields.ParseSelectorOrDie(selector)
		}
		obj, err := env.Tags().List(env.Request("alice", ns, "imagestreamtags"), options)
		if err != nil {
			t.Fatal(err)
		}
		found := obj.(*imageapi.ImageStreamTagList)
		if found.ResourceVersion == "" {
			t.Error("the list has no resourceVersion")
		}
		var names []string
		for _, item := range found.Items {
			names = append(names, item.Name)
		}
		return names
	}
	for selector, want := range map[string]string{"": "[a:v1 a:v2 b:v1 b:v2]", "metadata.name=b:v1": "[b:v1]", "metadata.name=b": "[]", "metadata.name=c:v1": "[]"} {
		if got := fmt.Sprint(list(selector)); got != want {
			t.Errorf("list %q gave %s, want %s", selector, got, want)
		}
	}
}

// Behaviour 31.
func TestImageOfAStream(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "old"))
	env.Push(ns, "app", "v1", grouptest.PushedIndex(ns, "app", "index", "child"))
	if _, err := env.Group.Images.Record(env.Request("registry", ns, "images"), grouptest.Pushed(ns, "app", "child"), nil); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"old", "index", "child"} {
		obj, err := env.StreamImages().Get(env.Request("alice", ns, "imagestreamimages"), "app@"+grouptest.Digest(word)[:16], &metav1.GetOptions{})
		if err != nil {
			t.Errorf("%s: %v", word, err)
			continue
		}
		if got := obj.(*imageapi.ImageStreamImage).Image.Name; got != grouptest.Digest(word) {
			t.Errorf("%s gave %s", word, got)
		}
	}
	for name, check := range map[string]func(error) bool{
		"app@sha256:": apierrors.IsConflict, "app@ffffffffffffff": apierrors.IsNotFound, "app": apierrors.IsBadRequest, "app@": apierrors.IsBadRequest, "absent@ff": apierrors.IsNotFound,
	} {
		if _, err := env.StreamImages().Get(env.Request("alice", ns, "imagestreamimages"), name, &metav1.GetOptions{}); !check(err) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}
