package imagestream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

const (
	manyTags = 5000
	// tooLong is what no request may take, on a machine however slow.
	tooLong = time.Minute
)

// compressing has streams weigh what they weigh in the store.
func compressing(_ *grouptest.Env, deps *apigroup.Deps) {
	deps.StoredSize = func(json []byte) (int, error) {
		var packed bytes.Buffer
		writer := gzip.NewWriter(&packed)
		if _, err := writer.Write(json); err != nil {
			return 0, err
		}
		err := writer.Close()
		return packed.Len(), err
	}
}

// timed fails the test when a step takes longer than tooLong, and says how long it took.
func timed(t *testing.T, what string, step func()) {
	t.Helper()
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		step()
	}()
	select {
	case <-done:
		t.Logf("%s: %s", what, time.Since(start).Round(time.Millisecond))
	case <-time.After(tooLong):
		t.Fatalf("%s takes longer than %s", what, tooLong)
	}
}

// store writes a stream past all strategies.
func store(t *testing.T, env *grouptest.Env, stream *imageapi.ImageStream) {
	t.Helper()
	stream.UID, stream.CreationTimestamp, stream.Generation = "uid", metav1.Now(), 1
	key, err := env.Streams().KeyFunc(env.Request("alice", stream.Namespace, "imagestreams"), stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.Streams().Storage.Create(t.Context(), key, stream, &imageapi.ImageStream{}, 0, false); err != nil {
		t.Fatal(err)
	}
}

// manyImages stores a stream with as many tags, each with an image of its own.
func manyImages(t *testing.T, env *grouptest.Env, name string) {
	t.Helper()
	stream := grouptest.Stream(ns, name)
	stream.Status.Tags = map[string]imageapi.TagEventList{}
	for i := range manyTags {
		image := grouptest.Pushed(ns, name, fmt.Sprint("image ", i))
		if _, err := env.Group.Images.Record(env.Request("registry", "", "images"), image, nil); err != nil {
			t.Fatal(err)
		}
		stream.Status.Tags[fmt.Sprint("t", i)] = imageapi.TagEventList{Items: []imageapi.TagEvent{{
			Created: metav1.NewTime(env.Clock.Now()), DockerImageReference: image.DockerImageReference, Image: image.Name, Generation: 1,
		}}}
	}
	store(t, env, stream)
}

// A user decides how many tags a stream has and where they come from: nothing may cost the square of their
// number.
func TestManyTags(t *testing.T) {
	env := grouptest.New(t, compressing)
	manyImages(t, env, "base")
	env.Clock.Step(time.Hour) // all images have to be stamped
	from := func(kind string, name func(int) string) *imageapi.ImageStream {
		stream := grouptest.Stream(ns, strings.ToLower(kind))
		stream.Spec.Tags = map[string]imageapi.TagReference{}
		for i := range manyTags {
			tag := grouptest.Tag(fmt.Sprint("t", i), kind, "", name(i))
			stream.Spec.Tags[tag.Name] = tag
		}
		return stream
	}
	digest := func(i int) string { return grouptest.Digest(fmt.Sprint("image ", i)) }

	byTag := from("ImageStreamTag", func(i int) string { return fmt.Sprint("base:t", i) })
	byDigest := from("ImageStreamImage", func(i int) string { return "base@" + digest(i) })
	byPrefix := from("ImageStreamImage", func(i int) string { return "base@" + digest(i)[len("sha256:"):][:20] })
	byPrefix.Name = "prefix"
	external := from("DockerImage", func(i int) string { return fmt.Sprint("registry.example.test/app:", i) })
	for _, stream := range []*imageapi.ImageStream{byTag, byDigest, byPrefix, external} {
		timed(t, "create "+stream.Name, func() {
			if err := create(env, stream); err != nil {
				t.Error(err)
			}
		})
		want := manyTags
		if stream == external {
			want = 0
		}
		if got := env.Stream(ns, stream.Name); len(got.Status.Tags) != want || len(got.Spec.Tags) != manyTags {
			t.Errorf("%s has %d tags in status and %d in spec, want %d and %d", stream.Name, len(got.Status.Tags), len(got.Spec.Tags), want, manyTags)
		}
	}
	// Each tag tracks the one before it.
	chain := from("ImageStreamTag", func(i int) string { return fmt.Sprint("t", i-1) })
	chain.Name = "chain"
	chain.Spec.Tags["t0"] = grouptest.Tag("t0", "ImageStreamTag", "", "base:t0")
	timed(t, "create chain", func() {
		if err := create(env, chain); err != nil {
			t.Error(err)
		}
	})
	if last := env.Stream(ns, "chain").Status.Tags[fmt.Sprint("t", manyTags-1)].Items; len(last) != 1 || last[0].Image != digest(0) {
		t.Errorf("the end of the chain is %+v, want %s", last, digest(0))
	}
	timed(t, "push to the chain", func() { env.Push(ns, "chain", "t0", grouptest.Pushed(ns, "chain", "next")) })
	if last := env.Stream(ns, "chain").Status.Tags[fmt.Sprint("t", manyTags-1)].Items; len(last) != 2 {
		t.Errorf("after a push the end of the chain is %+v, want two events", last)
	}

	timed(t, "mapping", func() { env.Push(ns, "base", "t1", grouptest.Pushed(ns, "base", "pushed")) })
	timed(t, "list of tags", func() {
		obj, err := env.Tags().List(env.Request("alice", ns, "imagestreamtags"), nil)
		if err != nil {
			t.Error(err)
		} else if got := len(obj.(*imageapi.ImageStreamTagList).Items); got != 5*manyTags {
			t.Errorf("%d tags, want %d", got, 5*manyTags)
		}
	})
	timed(t, "layers", func() {
		contents, err := env.Group.Layers.Layers(env.Request("alice", ns, "imagestreams"), env.Stream(ns, "base"))
		if err != nil || len(contents.Images) != manyTags+1 {
			t.Errorf("%v, want %d images", err, manyTags+1)
		}
	})
	timed(t, "update of all tags", func() {
		stream := env.Stream(ns, external.Name)
		for name, tag := range stream.Spec.Tags {
			tag.From.Name += "-next"
			stream.Spec.Tags[name] = tag
		}
		mustUpdate(t, env, stream)
	})
	timed(t, "delete of a tag", func() {
		if _, _, err := env.Tags().Delete(env.Request("alice", ns, "imagestreamtags"), "base:t2", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// Every tag of a request may be wrong; the answer must not grow with what they might have meant.
func TestManyMistakes(t *testing.T) {
	env := grouptest.New(t, compressing)
	manyImages(t, env, "base")
	for what, test := range map[string]struct {
		from  string
		check func(error) bool
	}{
		"ambiguous": {"base@sha256:", apierrors.IsConflict},
		"missing":   {"base@" + grouptest.Digest("absent"), apierrors.IsInvalid},
		"no id":     {"base@a@b", apierrors.IsInvalid},
	} {
		stream := grouptest.Stream(ns, "app")
		stream.Spec.Tags = map[string]imageapi.TagReference{}
		for i := range manyTags {
			tag := grouptest.Tag(fmt.Sprint("t", i), "ImageStreamImage", "", test.from)
			stream.Spec.Tags[tag.Name] = tag
		}
		timed(t, what, func() {
			err := create(env, stream)
			if !test.check(err) {
				t.Errorf("%s: %.300v", what, err)
			}
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				t.Errorf("%s: no status: %.300v", what, err)
			} else if answer := status.Status(); len(answer.Message) > 256<<10 || len(answer.Details.Causes) > validation.MaxErrors+1 {
				t.Errorf("%s: the answer has %d bytes and %d causes", what, len(answer.Message), len(answer.Details.Causes))
			}
		})
	}
}

// An image is stamped once for each request, and an error ends it whatever else is under way.
func TestManyCopiesOfARemovedImage(t *testing.T) {
	env := grouptest.New(t, compressing)
	manyImages(t, env, "base")
	env.Clock.Step(time.Hour)
	removed := grouptest.Digest("image 77")
	if _, _, err := env.Group.Images.Delete(env.Request("pruner", "", "images"), removed, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stream := grouptest.Stream(ns, "app")
	stream.Spec.Tags = map[string]imageapi.TagReference{}
	for i := range manyTags {
		tag := grouptest.Tag(fmt.Sprint("t", i), "ImageStreamTag", "", fmt.Sprint("base:t", i))
		stream.Spec.Tags[tag.Name] = tag
	}
	timed(t, "create", func() {
		if err := create(env, stream.DeepCopy()); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), removed) {
			t.Errorf("%v, want a conflict that names %s", err, removed)
		}
	})
	cancelled, cancel := context.WithCancel(env.Request("alice", ns, "imagestreams"))
	cancel()
	timed(t, "create that is given up", func() {
		if _, err := env.Streams().Create(cancelled, stream, rest.ValidateAllObjectFunc, &metav1.CreateOptions{}); err == nil {
			t.Error("a request that was given up succeeded")
		}
	})
}
