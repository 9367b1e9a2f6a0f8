package imagestreammapping_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const ns = "team-a"

func head(t *testing.T, env *grouptest.Env, namespace, stream, tag string) imageapi.TagEvent {
	t.Helper()
	items := env.Stream(namespace, stream).Status.Tags[tag].Items
	if len(items) == 0 {
		t.Fatalf("%s/%s:%s has no event", namespace, stream, tag)
	}
	return items[0]
}

// Behaviour 34: the registry creates a stream on exactly this answer.
func TestMissingStreamIsNamedInTheAnswer(t *testing.T) {
	env := grouptest.New(t)
	err := env.Map("registry", ns, "absent", "v1", grouptest.Pushed(ns, "absent", "one"))
	status, ok := err.(apierrors.APIStatus)
	if !ok || !apierrors.IsNotFound(err) {
		t.Fatalf("got %v, want NotFound", err)
	}
	details := status.Status().Details
	if details.Group != "image.alauda.io" || details.Kind != "imagestreammappings" || details.Name != "absent" {
		t.Errorf("details are %+v", details)
	}
}

// Behaviours 15 and 34.
func TestPushOfManagedImages(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	env.CreateStream(grouptest.Stream("team-b", "app"))
	image := grouptest.Pushed(ns, "app", "one")
	env.Push(ns, "app", "v1", image)
	writes := env.Backend.Writes()
	env.Clock.Step(10 * time.Second)
	env.Push(ns, "app", "v1", image)
	if got := env.Backend.Writes(); got != writes {
		t.Errorf("the same push again wrote %d times", got-writes)
	}
	// The registry of another repository knows the image already.
	env.Push("team-b", "app", "v1", image)
	if got, want := head(t, env, "team-b", "app", "v1").DockerImageReference, grouptest.Internal+"/team-b/app@"+image.Name; got != want {
		t.Errorf("reference is %q, want %q", got, want)
	}
	stored, err := env.Group.Images.Find(env.Request("alice", "", "images"), image.Name)
	if err != nil || stored.DockerImageReference != image.DockerImageReference || stored.Namespace != "" {
		t.Errorf("stored image is %+v, %v", stored, err)
	}
}

// Behaviour 34.
func TestConcurrentMappings(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	const pushes = 50
	errs := make([]error, 2*pushes)
	var group sync.WaitGroup
	for i := range pushes {
		image := grouptest.Pushed(ns, "app", fmt.Sprint("image ", i))
		group.Go(func() { errs[i] = env.Map("registry", ns, "app", fmt.Sprint("tag-", i), image) })
		group.Go(func() { errs[pushes+i] = env.Map("registry", ns, "app", "same", image) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("mapping %d: %v", i, err)
		}
	}
	stream := env.Stream(ns, "app")
	if len(stream.Status.Tags) != pushes+1 || len(stream.Status.Tags["same"].Items) != pushes {
		t.Errorf("%d tags, %d events of the shared tag", len(stream.Status.Tags), len(stream.Status.Tags["same"].Items))
	}
}

// Behaviour 34.
func TestResourceVersionIsAPrecondition(t *testing.T) {
	env := grouptest.New(t)
	stream := env.CreateStream(grouptest.Stream(ns, "app"))
	mapping := func(version string) error {
		m := &imageapi.ImageStreamMapping{Image: *grouptest.Pushed(ns, "app", "one"), Tag: "v1"}
		m.Namespace, m.Name, m.ResourceVersion = ns, "app", version
		_, err := env.Mappings().Create(env.Request("registry", ns, "imagestreammappings"), m, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
		return err
	}
	if err := mapping("9999"); !apierrors.IsConflict(err) {
		t.Errorf("a stale resourceVersion gave %v, want Conflict", err)
	}
	if err := mapping(stream.ResourceVersion); err != nil {
		t.Errorf("the current resourceVersion gave %v", err)
	}
}

// Behaviours 33a and 34.
func TestBackfillByAnAdministrator(t *testing.T) {
	env := grouptest.New(t)
	env.Hosts.External = []string{"old.example.com"}
	env.CreateStream(grouptest.Stream(ns, "app"))
	image := &imageapi.Image{DockerImageReference: "old.example.com/team-a/app@" + grouptest.Digest("one"), DockerImageManifestMediaType: "application/vnd.docker.distribution.manifest.v2+json"}
	image.Name = grouptest.Digest("one")
	for range 2 {
		env.Push(ns, "app", "v1", image)
		if got := head(t, env, ns, "app", "v1"); got.DockerImageReference != image.DockerImageReference || got.Image != image.Name {
			t.Errorf("head is %+v", got)
		}
	}
	stored, err := env.Group.Images.Find(env.Request("alice", "", "images"), image.Name)
	if err != nil || stored.DockerImageManifestMediaType != image.DockerImageManifestMediaType {
		t.Errorf("stored image is %+v, %v", stored, err)
	}
	// After a push of the same image only the reference of the head changes.
	pushed := grouptest.Pushed(ns, "app", "two")
	env.Push(ns, "app", "v2", pushed)
	again := &imageapi.Image{DockerImageReference: "old.example.com/team-a/app@" + pushed.Name}
	again.Name = pushed.Name
	env.Push(ns, "app", "v2", again)
	if items := env.Stream(ns, "app").Status.Tags["v2"].Items; len(items) != 1 || items[0].DockerImageReference != again.DockerImageReference {
		t.Errorf("events are %+v", items)
	}
}

// Behaviour 33a.
func TestEditorsCanOnlyCopyWhatTheyMayPull(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "mine"))
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Reviews.AllowPull("editor", ns, "mine")
	env.Push("team-b", "theirs", "child", grouptest.Pushed("team-b", "theirs", "child"))
	env.Push("team-b", "theirs", "index", grouptest.PushedIndex("team-b", "theirs", "index", "child"))
	imported := grouptest.Pushed("team-b", "theirs", "imported")
	imported.Annotations = nil
	imported.DockerImageReference = "quay.io/org/app@" + imported.Name
	env.Push("team-b", "theirs", "imported", imported)

	refused := []*imageapi.Image{
		grouptest.Pushed("team-b", "theirs", "unknown"),
		grouptest.Pushed("team-b", "theirs", "index"),
		grouptest.Pushed("team-b", "absent", "index"),
		imported,
		grouptest.Pushed(ns, "mine", "index"),
	}
	var messages []string
	for _, image := range refused {
		err := env.Map("editor", ns, "mine", "v1", image)
		if !apierrors.IsForbidden(err) {
			t.Fatalf("%s gave %v, want Forbidden", image.DockerImageReference, err)
		}
		messages = append(messages, strings.ReplaceAll(err.Error(), image.Name, "DIGEST"))
	}
	for _, message := range messages {
		if message != messages[0] {
			t.Errorf("refusals differ: %q and %q", message, messages[0])
		}
	}

	env.Reviews.AllowPull("editor", "team-b", "theirs")
	for _, word := range []string{"index", "child"} {
		if err := env.Map("editor", ns, "mine", word, grouptest.Pushed("team-b", "theirs", word)); err != nil {
			t.Fatalf("copy of %s: %v", word, err)
		}
		if got, want := head(t, env, ns, "mine", word).DockerImageReference, grouptest.Internal+"/team-a/mine@"+grouptest.Digest(word); got != want {
			t.Errorf("reference of %s is %q, want %q", word, got, want)
		}
	}
	// An import stays an import, also when it is named by the stream's own name.
	imported.DockerImageReference = grouptest.Internal + "/team-b/theirs@" + imported.Name
	if err := env.Map("editor", ns, "mine", "imported", imported); err != nil {
		t.Fatal(err)
	}
	imported.DockerImageReference = ""
	if err := env.Map("editor", ns, "mine", "again", imported); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"imported", "again"} {
		if got, want := head(t, env, ns, "mine", tag).DockerImageReference, "quay.io/org/app@"+imported.Name; got != want {
			t.Errorf("reference of %s is %q, want %q", tag, got, want)
		}
	}
	contents, err := env.Group.Layers.Layers(env.Request("editor", ns, "imagestreams"), env.Stream(ns, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if contents.Images[imported.Name].Local || !contents.Images[grouptest.Digest("index")].Local {
		t.Errorf("local marks are wrong: %+v", contents.Images)
	}
}

// Behaviour 33b.
func TestImageRemovedDuringThePushIsCreatedAgain(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	image := grouptest.Pushed(ns, "app", "one")
	env.Push(ns, "app", "v1", image)
	env.Clock.Step(time.Hour)
	if _, _, err := env.Group.Images.Delete(env.Request("pruner", "", "images"), image.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	env.Push(ns, "app", "v2", image)
	if _, err := env.Group.Images.Find(env.Request("alice", "", "images"), image.Name); err != nil {
		t.Errorf("the Image is gone: %v", err)
	}
}

func TestDryRunStoresNothing(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	writes := env.Backend.Writes()
	mapping := &imageapi.ImageStreamMapping{Image: *grouptest.Pushed(ns, "app", "one"), Tag: "v1"}
	mapping.Namespace, mapping.Name = ns, "app"
	_, err := env.Mappings().Create(env.Request("registry", ns, "imagestreammappings"), mapping, rest.ValidateAllObjectFunc, &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil || env.Backend.Writes() != writes {
		t.Errorf("got %v and %d writes", err, env.Backend.Writes()-writes)
	}
}

func TestInvalidMappings(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app"))
	broken := grouptest.Pushed(ns, "app", "one")
	broken.DockerImageManifest = "{}"
	for name, err := range map[string]error{
		"bad tag":         env.Map("registry", ns, "app", "a b", grouptest.Pushed(ns, "app", "one")),
		"no tag":          env.Map("registry", ns, "app", "", grouptest.Pushed(ns, "app", "one")),
		"other manifest":  env.Map("registry", ns, "app", "v1", broken),
		"image no name":   env.Map("registry", ns, "app", "v1", &imageapi.Image{DockerImageReference: "a/b"}),
		"image reference": env.Map("registry", ns, "app", "v1", &imageapi.Image{ObjectMeta: metav1.ObjectMeta{Name: grouptest.Digest("x")}, DockerImageReference: "no spaces please"}),
	} {
		if !apierrors.IsInvalid(err) {
			t.Errorf("%s gave %v, want Invalid", name, err)
		}
	}
}
