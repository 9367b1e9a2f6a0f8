package imagestreammapping_test

import (
	"testing"
	"time"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
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
