package imagestream_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

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
	_, err := update(t, env, stream)
	if !apierrors.IsRequestEntityTooLargeError(err) || !strings.Contains(err.Error(), "prune its history") {
		t.Errorf("a huge stream gave %v, want 413 and what to do", err)
	}
}

// Behaviour 23: what is too large already, because the limits were others, can be made smaller in steps, and
// not larger.
func TestTooLargeStreamsCanShrink(t *testing.T) {
	env := grouptest.New(t)
	stream := grouptest.Stream(ns, "app")
	first := int64(1)
	stream.Spec.Tags = map[string]imageapi.TagReference{}
	for i := range 30_000 {
		tag := grouptest.Tag(fmt.Sprintf("tag-%d", i), "DockerImage", "", fmt.Sprintf("registry.example.test/org/a-repository-with-a-long-name:%d", i))
		tag.Generation = &first
		stream.Spec.Tags[tag.Name] = tag
	}
	store(t, env, stream)
	larger := env.Stream(ns, "app")
	larger.Spec.Tags["another"] = grouptest.Tag("another", "DockerImage", "", "registry.example.test/org/app:1")
	if _, err := update(t, env, larger); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("a larger stream gave %v, want 413", err)
	}
	smaller := env.Stream(ns, "app")
	delete(smaller.Spec.Tags, "tag-0")
	if smaller = mustUpdate(t, env, smaller); len(smaller.Spec.Tags) != 29_999 {
		t.Errorf("%d tags are left, want 29999", len(smaller.Spec.Tags))
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
	var renamed atomic.Bool // watchers ask for the hosts at any time
	env := grouptest.New(t, func(_ *grouptest.Env, deps *apigroup.Deps) {
		deps.Hosts = func() repository.Hosts {
			if renamed.Load() {
				return repository.Hosts{Internal: "renamed.example.com"}
			}
			return repository.Hosts{Internal: grouptest.Internal}
		}
	})
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
	renamed.Store(true)
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
