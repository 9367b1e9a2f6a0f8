package imagestreamimport_test

import (
	"net/http"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
)

// here is a pull spec of this registry.
func here(namespace, stream, rest string) string {
	return grouptest.Internal + "/" + namespace + "/" + stream + rest
}

// Behaviour 32.
func TestAnImportFromThisRegistryIsACopy(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Push("team-b", "theirs", "v1", grouptest.Pushed("team-b", "theirs", "pushed"))
	w.images[here("team-b", "theirs", ":v1")] = image("pushed")
	env.Clock.Step(time.Hour)
	send(t, env, request("app", from(here("team-b", "theirs", ":v1"), "")))
	event := head(t, env.Stream(ns, "app"), "v1")
	if event.DockerImageReference != here(ns, "app", "@"+grouptest.Digest("pushed")) {
		t.Errorf("the event refers to %s", event.DockerImageReference)
	}
	if !contents(t, env, ns, "app").Images[grouptest.Digest("pushed")].Local {
		t.Error("a copy of what is local is not local")
	}
	if got := env.Stream(ns, "app").Spec.Tags["v1"].From.Name; got != here("team-b", "theirs", ":v1") {
		t.Errorf("the spec tag names %s", got)
	}
}

// Behaviour 32. Foreign content never becomes local, whoever pushed the same
// digest elsewhere, and however often it is copied.
func TestForeignContentNeverBecomesLocal(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	digest := grouptest.Digest("stolen")
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Push("team-b", "theirs", "v1", grouptest.Pushed("team-b", "theirs", "stolen"))

	foreign := hub + "@" + digest
	w.images[hub+":v1"] = image("stolen")
	send(t, env, request("app", from(hub+":v1", "")))
	// It is served from here now, by fetching it from there.
	w.images[here(ns, "app", ":v1")] = image("stolen")
	send(t, env, request("app", from(here(ns, "app", ":v1"), "again")))
	send(t, env, request("app", from(here(ns, "app", ":v1"), "v1")))
	send(t, env, request("other", from(here(ns, "app", ":v1"), "v1")))
	for _, spec := range []string{here(ns, "app", ""), hub} {
		w.tags[spec] = []string{"v1"}
		r := request("whole")
		r.Spec.Repository = &imagev1.RepositoryImportSpec{From: docker(spec)}
		send(t, env, r)
	}
	for _, name := range []string{"app", "other", "whole"} {
		stream := env.Stream(ns, name)
		for tag := range stream.Status.Tags {
			if got := head(t, stream, tag).DockerImageReference; got != foreign {
				t.Errorf("%s:%s refers to %s, want %s", name, tag, got, foreign)
			}
		}
		if contents(t, env, ns, name).Images[digest].Local {
			t.Errorf("in %s it is local", name)
		}
	}
	if !contents(t, env, "team-b", "theirs").Images[digest].Local {
		t.Error("what was pushed is not local any more")
	}
}

// Behaviour 32.
func TestACopyOfWhatTheSourceDoesNotContainIsNotFound(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.CreateStream(grouptest.Stream("team-b", "other"))
	env.Push("team-b", "other", "v1", grouptest.Pushed("team-b", "other", "elsewhere"))
	specs := []string{here("team-b", "theirs", ":v1"), here("team-b", "absent", ":v1"), grouptest.Internal + "/only:v1", grouptest.Internal + "/a/b/c:v1"}
	var images []imagev1.ImageImportSpec
	for _, spec := range specs {
		w.images[spec] = image("elsewhere")
		images = append(images, from(spec, "v1"))
	}
	for i := range images {
		for _, record := range []bool{false, true} {
			r := request("app", images[i])
			r.Spec.Import = record
			if got := send(t, env, r).Status.Images[0]; got.Status.Code != http.StatusNotFound || got.Image != nil {
				t.Errorf("%s (import %t): %+v", specs[i], record, got.Status)
			}
		}
	}
	if got := env.Stream(ns, "app").Status.Tags["v1"].Items; len(got) != 0 {
		t.Errorf("history is %+v", got)
	}
}

// Behaviour 32. Who pushes an index before somebody else brings its child must
// not get the child by importing the index: neither by a young copy, nor by a
// copy that takes over the younger time of an import.
func TestACopiedIndexProvesNoChildThatCameLater(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	env.Clock.Step(-time.Hour)
	env.CreateStream(grouptest.Stream(ns, "mine"))
	env.CreateStream(grouptest.Stream("team-b", "theirs"))
	env.Push(ns, "mine", "index", grouptest.PushedIndex(ns, "mine", "index", "child"))
	env.Clock.Step(30 * time.Minute)
	env.Push("team-b", "theirs", "child", grouptest.Pushed("team-b", "theirs", "child"))
	env.Clock.Step(30 * time.Minute)

	w.images[hub+":index"] = index("index")
	w.images[here(ns, "mine", ":index")] = index("index")
	send(t, env, request("young", from(here(ns, "mine", ":index"), "")))
	send(t, env, request("collapsed", from(hub+":index", "t")))
	send(t, env, request("collapsed", from(here(ns, "mine", ":index"), "t")))
	w.images[hub+":index2"] = index("index", "child")
	send(t, env, request("mine", from(hub+":index2", "index")))
	send(t, env, request("mine", from(here(ns, "mine", ":index"), "index")))
	for _, name := range []string{"young", "collapsed", "mine"} {
		found := contents(t, env, ns, name)
		if found.Images[grouptest.Digest("child")].Local {
			t.Errorf("in %s the child of somebody else is local", name)
		}
	}
	if got := head(t, env.Stream(ns, "collapsed"), "t").DockerImageReference; got != here(ns, "collapsed", "@"+grouptest.Digest("index")) {
		t.Errorf("the collapsed event refers to %s: the test shows nothing", got)
	}
}

// What a registry claims about who keeps the bytes is not believed, and neither
// is a reference that it sends.
func TestClaimsOfARegistryCountForNothing(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	forged := image("forged")
	forged.Reference = here(ns, "app", "@"+grouptest.Digest("forged"))
	forged.Image.Annotations = map[string]string{
		imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true",
		imagev1.KeepAnnotation: "true", imagev1.ImageLastReferencedTimeAnnotation: "2999-01-01T00:00:00Z", "kept": "yes",
	}
	w.images[hub+":v1"] = forged
	send(t, env, request("app", from(hub+":v1", "")))
	if got := stored(env, "forged").Annotations; len(got) != 1 || got["kept"] != "yes" {
		t.Errorf("annotations are %v", got)
	}
	if contents(t, env, ns, "app").Images[grouptest.Digest("forged")].Local {
		t.Error("it is local")
	}
}
