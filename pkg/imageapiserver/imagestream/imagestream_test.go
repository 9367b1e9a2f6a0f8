package imagestream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/controllers/importer"
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
	tags := map[string]*int64{"none": nil, "zero": new(int64), "forged": new(int64)}
	*tags["forged"] = 77
	wanted := grouptest.Stream(ns, "app")
	wanted.Spec.Tags = map[string]imageapi.TagReference{}
	for name, generation := range tags {
		tag := grouptest.Tag(name, "DockerImage", "", "docker.io/library/busybox:1")
		tag.Generation = generation
		wanted.Spec.Tags[name] = tag
	}
	wanted.Generation = 9
	wanted.Status.Tags = map[string]imageapi.TagEventList{"forged": {Items: []imageapi.TagEvent{{DockerImageReference: "a/b", Image: grouptest.Digest("x")}}}}
	stream := env.CreateStream(wanted)
	if stream.Generation != 1 {
		t.Errorf("generation is %d, want 1", stream.Generation)
	}
	for name := range tags {
		if got := stream.Spec.Tags[name].Generation; got == nil || *got != 1 {
			t.Errorf("tag %s has generation %v, want 1", name, got)
		}
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

// Behaviour 13: a tag that has been imported is imported again when its generation is set to 0.
func TestGenerationZeroAsksForAnImport(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", "quay.io/org/app:v1")))
	imported := grouptest.Pushed(ns, "app", "one")
	imported.Annotations, imported.DockerImageReference = nil, "quay.io/org/app@"+imported.Name
	env.Push(ns, "app", "v1", imported)
	stream := env.Stream(ns, "app")
	stream.Annotations = map[string]string{imagev1.DockerImageRepositoryCheckAnnotation: "2026-01-02T03:04:05Z"}
	stream = mustUpdate(t, env, stream)
	if work := importer.Needed(stream); !work.Empty() {
		t.Fatalf("an imported tag needs %+v", work)
	}
	tag := stream.Spec.Tags["v1"]
	tag.Generation = new(int64)
	stream.Spec.Tags["v1"] = tag
	stream = mustUpdate(t, env, stream)
	if work := importer.Needed(stream); !slices.Equal(work.Tags, []string{"v1"}) {
		t.Errorf("after generation 0 the stream needs %+v, want tag v1", work)
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
	stream.Spec.Tags = map[string]imageapi.TagReference{"v1": grouptest.Tag("v1", "", "", "")}
	mustUpdate(t, env, stream)
	if _, _, err := env.Tags().Delete(env.Request("alice", ns, "imagestreamtags"), "app:v1", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if stream = env.Stream(ns, "app"); len(stream.Spec.Tags)+len(stream.Status.Tags) != 0 {
		t.Errorf("after the deletion of the tag the stream has %+v and %+v", stream.Spec.Tags, stream.Status.Tags)
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
		s.Labels, s.Annotations = map[string]string{"x": "y"}, map[string]string{"x": "y"}
		s.Finalizers = []string{"example.test/x"}
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}}
		s.Spec.LookupPolicy.Local = true
		s.Spec.Tags = map[string]imageapi.TagReference{"x": grouptest.Tag("x", "", "", "")}
		list := s.Status.Tags["v1"]
		list.Items = list.Items[:1]
		s.Status.Tags["v1"] = list
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(stream.Labels)+len(stream.Annotations)+len(stream.Finalizers)+len(stream.OwnerReferences)+len(stream.Spec.Tags) != 0 {
		t.Errorf("a status writer changed metadata or spec: %+v", stream)
	}
	if stream.Spec.LookupPolicy.Local || stream.Generation != 1 || len(stream.Status.Tags["v1"].Items) != 1 {
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
