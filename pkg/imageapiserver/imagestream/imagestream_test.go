package imagestream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

const ns = "team-a"

func update(t *testing.T, env *grouptest.Env, stream *imageapi.ImageStream) (*imageapi.ImageStream, error) {
	t.Helper()
	ctx := env.Request("alice", stream.Namespace, "imagestreams")
	obj, _, err := env.Streams().Update(ctx, stream.Name, rest.DefaultUpdatedObjectInfo(stream), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageStream), nil
}

func mustUpdate(t *testing.T, env *grouptest.Env, stream *imageapi.ImageStream) *imageapi.ImageStream {
	t.Helper()
	updated, err := update(t, env, stream)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return updated
}

func create(env *grouptest.Env, stream *imageapi.ImageStream) error {
	ctx := env.Request("alice", stream.Namespace, "imagestreams")
	_, err := env.Streams().Create(ctx, stream, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	return err
}

// Behaviour 11.
func TestCreateDropsStatusAndSetsGenerations(t *testing.T) {
	env := grouptest.New(t)
	env.Hosts.External = []string{"registry.example.com"}
	wanted := grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "docker.io/library/busybox:1"))
	wanted.Generation = 9
	wanted.Status.Tags = map[string]imageapi.TagEventList{"forged": {Items: []imageapi.TagEvent{{DockerImageReference: "a/b", Image: grouptest.Digest("x")}}}}
	stream := env.CreateStream(wanted)
	if stream.Generation != 1 || *stream.Spec.Tags["v1"].Generation != 1 {
		t.Errorf("generations are %d and %v, want 1", stream.Generation, stream.Spec.Tags["v1"].Generation)
	}
	if len(stream.Status.Tags) != 0 {
		t.Errorf("status tags are %v, want none", stream.Status.Tags)
	}
	if got, want := stream.Status.DockerImageRepository, grouptest.Internal+"/team-a/app"; got != want {
		t.Errorf("repository is %q, want %q", got, want)
	}
	if got, want := stream.Status.PublicDockerImageRepository, "registry.example.com/team-a/app"; got != want {
		t.Errorf("public repository is %q, want %q", got, want)
	}

	env.Hosts = repository.Hosts{}
	bare := grouptest.Stream(ns, "bare")
	bare.Spec.DockerImageRepository = "docker.io/library/busybox"
	if got := env.CreateStream(bare).Status.DockerImageRepository; got != "docker.io/library/busybox" {
		t.Errorf("without internal host the repository is %q", got)
	}
	// Behaviour 66: the string follows the configuration, not the store.
	if got := env.Stream(ns, "app").Status.DockerImageRepository; got != "" {
		t.Errorf("after the host name is gone the repository is still %q", got)
	}
}

// Behaviours 12 and 13.
func TestUpdateGenerations(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "docker.io/library/busybox:1")))
	writes := env.Backend.Writes()
	stream = mustUpdate(t, env, stream)
	if env.Backend.Writes() != writes || stream.Generation != 1 {
		t.Errorf("an unchanged stream was written or has generation %d", stream.Generation)
	}

	stream.Labels = map[string]string{"a": "b"}
	stream = mustUpdate(t, env, stream)
	if stream.Generation != 1 {
		t.Errorf("a label changed the generation to %d", stream.Generation)
	}

	tag := stream.Spec.Tags["v1"]
	forged := int64(77)
	tag.Generation = &forged
	stream.Spec.Tags["v1"] = tag
	stream = mustUpdate(t, env, stream)
	if *stream.Spec.Tags["v1"].Generation != 1 || stream.Generation != 1 {
		t.Errorf("a user set generations %d, %d", stream.Generation, *stream.Spec.Tags["v1"].Generation)
	}

	tag = stream.Spec.Tags["v1"]
	zero := int64(0)
	tag.Generation = &zero
	stream.Spec.Tags["v1"] = tag
	stream = mustUpdate(t, env, stream)
	if *stream.Spec.Tags["v1"].Generation != 2 || stream.Generation != 2 {
		t.Errorf("generation 0 led to %d, %d, want 2 and 2", stream.Generation, *stream.Spec.Tags["v1"].Generation)
	}
}

func TestUpdateNeedsAResourceVersion(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app"))
	stream.ResourceVersion = ""
	if _, err := update(t, env, stream); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want Invalid", err)
	}
}

// Behaviour 16.
func TestReferenceTagGetsAnEventWithoutImage(t *testing.T) {
	env := grouptest.New(t)
	tag := grouptest.Tag("ref", "DockerImage", "", "quay.io/org/app:v1")
	tag.Reference = true
	stream := env.CreateStream(grouptest.Stream(ns, "app", tag))
	items := stream.Status.Tags["ref"].Items
	if len(items) != 1 || items[0].Image != "" || items[0].DockerImageReference != "quay.io/org/app:v1" || items[0].Generation != 1 {
		t.Fatalf("events are %+v", items)
	}
	_, err := env.Tags().Get(env.Request("alice", ns, "imagestreamtags"), "app:ref", &metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("get of the tag gave %v, want NotFound", err)
	}
}

// Behaviour 17.
func TestTrackingChainAndCycle(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app",
		grouptest.Tag("b", "ImageStreamTag", "", "a"),
		grouptest.Tag("c", "ImageStreamTag", ns, "app:b"),
		grouptest.Tag("x", "ImageStreamTag", "", "y"),
		grouptest.Tag("y", "ImageStreamTag", "", "x"),
	))
	env.Push(ns, "app", "a", grouptest.Pushed(ns, "app", "one"))
	env.Push(ns, "app", "x", grouptest.Pushed(ns, "app", "two"))
	stream := env.Stream(ns, "app")
	for tag, word := range map[string]string{"a": "one", "b": "one", "c": "one", "x": "two", "y": "two"} {
		if got := stream.Status.Tags[tag].Items; len(got) != 1 || got[0].Image != grouptest.Digest(word) {
			t.Errorf("tag %s is %+v, want %s", tag, got, word)
		}
	}
	ctx := env.Request("alice", ns, "imagestreamtags")
	if _, _, err := env.Tags().Delete(ctx, "app:a", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if stream = env.Stream(ns, "app"); len(stream.Status.Tags["b"].Items) != 1 || len(stream.Status.Tags["a"].Items) != 0 {
		t.Errorf("after deletion of the tracked tag the history is %+v", stream.Status.Tags)
	}
}

// Behaviour 18.
func TestTagFromAnotherNamespace(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream("team-b", "base"))
	env.Push("team-b", "base", "v1", grouptest.Pushed("team-b", "base", "one"))

	err := create(env, grouptest.Stream(ns, "denied", grouptest.Tag("v1", "ImageStreamTag", "team-b", "base:v1"), grouptest.Tag("v2", "ImageStreamTag", "team-b", "missing:v1")))
	if !apierrors.IsInvalid(err) || strings.Contains(err.Error(), "Not found") || strings.Count(err.Error(), "Forbidden") != 2 {
		t.Errorf("denied sources gave %v, want two Forbidden causes and nothing about existence", err)
	}

	env.Reviews.AllowPull("alice", "team-b", "base")
	env.Reviews.AllowPull("alice", "team-b", "missing")
	asked := env.Reviews.Asked
	kept := grouptest.Tag("kept", "ImageStreamTag", "team-b", "base:v1")
	kept.Reference = true
	stream := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "ImageStreamTag", "team-b", "base:v1"), kept, grouptest.Tag("pending", "ImageStreamTag", "team-b", "base:none")))
	if env.Reviews.Asked != asked+1 {
		t.Errorf("%d access reviews for one source stream", env.Reviews.Asked-asked)
	}
	if got, want := stream.Status.Tags["v1"].Items[0].DockerImageReference, grouptest.Internal+"/team-a/app@"+grouptest.Digest("one"); got != want {
		t.Errorf("copied reference is %q, want %q", got, want)
	}
	if got, want := stream.Status.Tags["kept"].Items[0].DockerImageReference, grouptest.Internal+"/team-b/base@"+grouptest.Digest("one"); got != want {
		t.Errorf("kept reference is %q, want %q", got, want)
	}
	if _, found := stream.Status.Tags["pending"]; found {
		t.Error("a source tag without event gave an event")
	}
	err = create(env, grouptest.Stream(ns, "other", grouptest.Tag("v1", "ImageStreamTag", "team-b", "missing:v1")))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Not found") {
		t.Errorf("a missing source that may be pulled gave %v", err)
	}
	env.Reviews.Err = fmt.Errorf("unreachable")
	if err = create(env, grouptest.Stream(ns, "unasked", grouptest.Tag("v1", "ImageStreamTag", "team-b", "base:v1"))); !apierrors.IsInvalid(err) {
		t.Errorf("a failed review gave %v", err)
	}
}

// Behaviour 19.
func TestTagFromAnImage(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "base"))
	env.Push(ns, "base", "v1", grouptest.Pushed(ns, "base", "one"))
	env.Push(ns, "base", "v1", grouptest.Pushed(ns, "base", "two"))
	full := grouptest.Digest("one")
	prefix := strings.TrimPrefix(full, "sha256:")[:9]
	stream := env.CreateStream(grouptest.Stream(ns, "app",
		grouptest.Tag("full", "ImageStreamImage", "", "base@"+full), grouptest.Tag("short", "ImageStreamImage", "", "base@"+prefix)))
	for _, tag := range []string{"full", "short"} {
		if got := stream.Status.Tags[tag].Items; len(got) != 1 || got[0].Image != full {
			t.Errorf("tag %s is %+v", tag, got)
		}
	}
	err := create(env, grouptest.Stream(ns, "none", grouptest.Tag("v", "ImageStreamImage", "", "base@ffffffffffffffff")))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "Not found") {
		t.Errorf("a missing id gave %v", err)
	}
	if err = create(env, grouptest.Stream(ns, "many", grouptest.Tag("v", "ImageStreamImage", "", "base@sha256:"))); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), full) {
		t.Errorf("an ambiguous id gave %v, want a conflict that lists the candidates", err)
	}
}

// Behaviour 20.
func TestRemovedSpecTagKeepsItsHistory(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "", "", "")))
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "one"))
	stream := env.Stream(ns, "app")
	stream.Spec.Tags = nil
	if stream = mustUpdate(t, env, stream); len(stream.Status.Tags["v1"].Items) != 1 {
		t.Errorf("history is %+v", stream.Status.Tags)
	}
}

// Behaviour 21.
func TestStatusUpdate(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "one"))
	env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", "two"))
	status := env.Group.Storage["imagestreams/status"].(*imagestream.StatusREST)
	write := func(user string, change func(*imageapi.ImageStream)) (*imageapi.ImageStream, error) {
		stream := env.Stream(ns, "app")
		change(stream)
		obj, _, err := status.Update(env.Request(user, ns, "imagestreams"), "app", rest.DefaultUpdatedObjectInfo(stream), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
		if err != nil {
			return nil, err
		}
		return obj.(*imageapi.ImageStream), nil
	}
	stream, err := write("pruner", func(s *imageapi.ImageStream) {
		s.Labels = map[string]string{"x": "y"}
		s.Spec.LookupPolicy.Local = true
		list := s.Status.Tags["v1"]
		list.Items = list.Items[:1]
		s.Status.Tags["v1"] = list
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(stream.Labels) != 0 || stream.Spec.LookupPolicy.Local || stream.Generation != 1 || len(stream.Status.Tags["v1"].Items) != 1 {
		t.Errorf("status writer led to %+v", stream)
	}
	forge := func(s *imageapi.ImageStream) {
		s.Status.Tags["forged"] = imageapi.TagEventList{Items: []imageapi.TagEvent{{
			DockerImageReference: grouptest.Internal + "/team-a/app@" + grouptest.Digest("secret"), Image: grouptest.Digest("secret"), Created: metav1.Now(),
		}}}
	}
	if _, err = write("pruner", forge); !apierrors.IsForbidden(err) {
		t.Errorf("a forged local event gave %v, want Forbidden", err)
	}
	younger := func(s *imageapi.ImageStream) {
		items := s.Status.Tags["v1"].Items
		items[0].Created = metav1.NewTime(items[0].Created.Add(time.Hour))
	}
	if _, err = write("pruner", younger); !apierrors.IsForbidden(err) {
		t.Errorf("a local event made younger gave %v, want Forbidden", err)
	}
	if _, err = write("registry", forge); !apierrors.IsConflict(err) {
		t.Errorf("an event for an Image that does not exist gave %v, want Conflict", err)
	}
}

// Behaviour 22.
func TestNames(t *testing.T) {
	env := grouptest.New(t)
	long := strings.Repeat("a", 255-len(ns)-1)
	tests := map[string]bool{"a__b": true, "a--b": true, "a..b": false, "Upper": false, "-a": false, "a.b_c": true, long: true, long + "a": false}
	for name, valid := range tests {
		if err := create(env, grouptest.Stream(ns, name)); (err == nil) != valid {
			t.Errorf("name %q gave %v, want valid %t", name, err, valid)
		}
	}
}

// Behaviour 23.
func TestSizeGuard(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app"))
	stream.Annotations = map[string]string{"a": strings.Repeat("x", 200<<10)}
	stream = mustUpdate(t, env, stream)
	for i := range 9000 {
		tag := grouptest.Tag(fmt.Sprintf("tag-%d", i), "", "", "")
		if stream.Spec.Tags == nil {
			stream.Spec.Tags = map[string]imageapi.TagReference{}
		}
		stream.Spec.Tags[tag.Name] = tag
	}
	if _, err := update(t, env, stream); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("a huge stream gave %v, want 413", err)
	}
}

// Behaviour 23.
func TestHistoryLimit(t *testing.T) {
	env := grouptest.New(t)
	env.MaxTagHistory = 2
	env.CreateStream(grouptest.Stream(ns, "app"))
	for _, word := range []string{"one", "two", "three"} {
		env.Push(ns, "app", "v1", grouptest.Pushed(ns, "app", word))
	}
	if items := env.Stream(ns, "app").Status.Tags["v1"].Items; len(items) != 2 || items[0].Image != grouptest.Digest("three") {
		t.Errorf("events are %+v", items)
	}
}

// Behaviour 24.
func TestFieldSelectors(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	other := grouptest.Stream(ns, "other")
	other.Spec.DockerImageRepository = "docker.io/library/busybox"
	env.CreateStream(other)
	for selector, want := range map[string]int{
		"metadata.name=app": 1,
		"spec.dockerImageRepository=docker.io/library/busybox":                 1,
		"status.dockerImageRepository=" + grouptest.Internal + "/team-a/other": 1,
		"metadata.namespace=team-a":                                            2,
	} {
		list, err := env.Streams().FindList(env.Request("alice", ns, "imagestreams"), &metainternal.ListOptions{FieldSelector: fields.ParseSelectorOrDie(selector)})
		if err != nil || len(list.Items) != want {
			t.Errorf("%s gave %d streams and %v, want %d", selector, len(list.Items), err, want)
		}
	}
}

// Watch events are shared between watchers, so decoration must work on copies.
func TestWatchDecoratesCopies(t *testing.T) {
	env := grouptest.New(t)
	ctx, cancel := context.WithCancel(env.Request("alice", ns, "imagestreams"))
	defer cancel()
	raw, err := env.Streams().Store.Watch(ctx, &metainternal.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	decorated, err := env.Streams().Watch(ctx, &metainternal.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	env.CreateStream(grouptest.Stream(ns, "app"))
	stored := (<-raw.ResultChan()).Object.(*imageapi.ImageStream)
	before := stored.Status.DockerImageRepository
	env.Hosts.Internal = "renamed.example.com"
	if got := repositoryOf(t, (<-decorated.ResultChan()).Object); !strings.HasSuffix(got, "/team-a/app") {
		t.Errorf("the watcher got repository %q", got)
	}
	if stored.Status.DockerImageRepository != before {
		t.Error("decoration changed the object of another watcher")
	}
}

func repositoryOf(t *testing.T, obj runtime.Object) string {
	t.Helper()
	return obj.(*imageapi.ImageStream).Status.DockerImageRepository
}

// Behaviour 33b.
func TestCopyStampsTheImage(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "base"))
	env.Push(ns, "base", "v1", grouptest.Pushed(ns, "base", "one"))
	image := func() *imageapi.Image {
		found, err := env.Group.Images.Find(env.Request("alice", "", "images"), grouptest.Digest("one"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	const key = "image.alauda.io/lastReferencedTime"
	env.CreateStream(grouptest.Stream(ns, "young", grouptest.Tag("v1", "ImageStreamTag", "", "base:v1")))
	if stamp := image().Annotations[key]; stamp != "" {
		t.Errorf("an Image of this minute was stamped: %s", stamp)
	}
	env.Clock.Step(2 * time.Minute)
	dry := grouptest.Stream(ns, "dry", grouptest.Tag("v1", "ImageStreamTag", "", "base:v1"))
	if _, err := env.Streams().Create(env.Request("alice", ns, "imagestreams"), dry, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Fatal(err)
	}
	if stamp := image().Annotations[key]; stamp != "" {
		t.Errorf("a dry run stamped: %s", stamp)
	}
	env.CreateStream(grouptest.Stream(ns, "old", grouptest.Tag("v1", "ImageStreamTag", "", "base:v1")))
	if got, want := image().Annotations[key], env.Clock.Now().UTC().Format(time.RFC3339); got != want {
		t.Errorf("stamp is %q, want %q", got, want)
	}
	ctx := env.Request("alice", "", "images")
	if _, _, err := env.Group.Images.Delete(ctx, grouptest.Digest("one"), rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := create(env, grouptest.Stream(ns, "late", grouptest.Tag("v1", "ImageStreamTag", "", "base:v1")))
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "push or import it again") {
		t.Errorf("a copy of a removed Image gave %v, want Conflict", err)
	}
}
