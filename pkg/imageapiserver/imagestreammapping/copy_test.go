package imagestreammapping_test

import (
	"testing"
	"time"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// Behaviour 33a. Who pushes an index that names an image of somebody else before that is pushed must
// not get it by making a younger event out of the old one.
func TestACopiedIndexProvesNoChildThatCameLater(t *testing.T) {
	env := grouptest.New(t)
	env.Clock.Step(-time.Hour)
	env.CreateStream(grouptest.Stream(ns, "mine"))
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Push(ns, "mine", "index", grouptest.PushedIndex(ns, "mine", "index", "child"))
	env.Clock.Step(time.Hour)
	env.Push("team-b", "theirs", "child", grouptest.Pushed("team-b", "theirs", "child"))

	env.Reviews.AllowPull("editor", ns, "mine")
	if err := env.Map("editor", ns, "mine", "again", grouptest.Pushed(ns, "mine", "index")); err != nil {
		t.Fatal(err)
	}
	index := grouptest.Digest("index")
	env.CreateStream(grouptest.Stream(ns, "copy", grouptest.Tag("v1", "ImageStreamImage", "", "mine@"+index)))
	for _, name := range []string{"mine", "copy"} {
		contents, err := env.Group.Layers.Layers(env.Request("editor", ns, "imagestreams"), env.Stream(ns, name))
		if err != nil {
			t.Fatal(err)
		}
		if !contents.Images[index].Local || contents.Images[grouptest.Digest("child")].Local {
			t.Errorf("in %s the index is local %t, the child that came later %t, want true and false",
				name, contents.Images[index].Local, contents.Images[grouptest.Digest("child")].Local)
		}
	}

	// What is whole is as young as the copy.
	env.Push("team-b", "theirs", "whole", grouptest.PushedIndex("team-b", "theirs", "whole", "child"))
	env.Reviews.AllowPull("editor", "team-b", "theirs")
	env.Clock.Step(time.Hour)
	if err := env.Map("editor", ns, "mine", "whole", grouptest.Pushed("team-b", "theirs", "whole")); err != nil {
		t.Fatal(err)
	}
	if got := head(t, env, ns, "mine", "whole").Created.Time; !got.Equal(env.Clock.Now()) {
		t.Errorf("the copy is from %s, want %s", got, env.Clock.Now())
	}
}

// layersOf are the contents of a stream.
func layersOf(t *testing.T, env *grouptest.Env, namespace, name string) *imageapi.ImageStreamLayers {
	t.Helper()
	contents, err := env.Group.Layers.Layers(env.Request("registry", namespace, "imagestreams"), env.Stream(namespace, name))
	if err != nil {
		t.Fatal(err)
	}
	return contents
}

// Behaviour 32. An image that somebody imported, then named in an index, then
// pushed by its owner, is nobody's by the index: its bytes came later.
func TestAnImportedChildIsLocalOnlyToIndexesThatCameAfterItsBytes(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "mine"))
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	child := grouptest.Digest("child")
	imported := grouptest.Pushed("team-b", "theirs", "child")
	imported.Annotations = nil
	imported.DockerImageReference = "quay.io/org/app@" + child
	env.Push("team-b", "theirs", "imported", imported)
	if layersOf(t, env, "team-b", "theirs").Images[child].Local {
		t.Error("an import is local")
	}
	env.Clock.Step(time.Minute)
	env.Push(ns, "mine", "index", grouptest.PushedIndex(ns, "mine", "index", "child"))
	if layersOf(t, env, ns, "mine").Images[child].Local {
		t.Error("a child whose bytes were never pushed is local")
	}
	env.Clock.Step(time.Minute)
	env.Push("team-b", "theirs", "pushed", grouptest.Pushed("team-b", "theirs", "child"))
	stored, err := env.Group.Images.Find(env.Request("registry", "", "images"), child)
	if err != nil || stored.Annotations["alauda.io/image.managed"] != "true" || stored.Annotations["image.alauda.io/manifestBlobStored"] != "true" ||
		stored.Annotations["image.alauda.io/managedTime"] != env.Clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("after the push the image has annotations %v, %v", stored.Annotations, err)
	}
	if layersOf(t, env, ns, "mine").Images[child].Local {
		t.Error("the bytes that another tenant pushed later are local to an older index")
	}
	if !layersOf(t, env, "team-b", "theirs").Images[child].Local {
		t.Error("a pushed image is not local")
	}
	env.Push("team-b", "theirs", "index", grouptest.PushedIndex("team-b", "theirs", "second index", "child"))
	theirs := layersOf(t, env, "team-b", "theirs")
	if !theirs.Images[grouptest.Digest("second index")].Local || !theirs.Images[child].Local {
		t.Error("an index whose children were all pushed does not prove them")
	}
}

// Behaviour 32. An index whose children are not all there proves none that
// comes in the same second.
func TestASparseIndexIsDatedBack(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "mine"))
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Push(ns, "mine", "index", grouptest.PushedIndex(ns, "mine", "index", "child"))
	env.Push("team-b", "theirs", "child", grouptest.Pushed("team-b", "theirs", "child"))
	if layersOf(t, env, ns, "mine").Images[grouptest.Digest("child")].Local {
		t.Error("a child that another tenant pushed within the second of the index is local")
	}
}
