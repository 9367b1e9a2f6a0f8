package importer

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
)

const source = "registry.example/app:latest"

func (b *bench) update(stream *imageapi.ImageStream) {
	b.t.Helper()
	ctx := b.Request("alice", stream.Namespace, "imagestreams")
	_, _, err := b.Streams().Update(ctx, stream.Name, rest.DefaultUpdatedObjectInfo(stream),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		b.t.Fatalf("update stream %s/%s: %v", stream.Namespace, stream.Name, err)
	}
}

// expectHead fails unless a tag shows the image made from a word.
func (b *bench) expectHead(namespace, name, tag, word string) {
	b.t.Helper()
	items := b.Stream(namespace, name).Status.Tags[tag].Items
	if len(items) == 0 || items[0].Image != grouptest.Digest(word) {
		b.t.Errorf("%s/%s:%s shows %+v, want %s (%s)", namespace, name, tag, items, word, grouptest.Digest(word))
	}
}

// Behaviour 46: a stream is imported when it is created, when a tag comes, and when its annotation goes.
func TestImportFollowsTheSpec(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, found("one"))
	b.registries.answer("registry.example/app:v2", found("two"))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "latest", "one")
	if b.Stream("team-a", "app").Annotations[imagev1.DockerImageRepositoryCheckAnnotation] == "" {
		t.Error("the time of the check is not noted")
	}

	b.change("team-a", "app", func(stream *imageapi.ImageStream) {
		stream.Spec.Tags["v2"] = grouptest.Tag("v2", "DockerImage", "", "registry.example/app:v2")
		mirror := grouptest.Tag("mirror", "DockerImage", "", "registry.example/app:v3")
		mirror.Reference = true
		stream.Spec.Tags["mirror"] = mirror
		stream.Spec.Tags["copy"] = grouptest.Tag("copy", "ImageStreamTag", "", "app:latest")
	})
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "v2", "two")
	if n := b.registries.count(source); n != 1 {
		t.Errorf("a tag that did not change was imported %d times", n)
	}
	if n := b.registries.count("registry.example/app:v3"); n != 0 {
		t.Errorf("a reference was imported %d times", n)
	}

	b.registries.tags = []engine.ItemResult{found("three"), found("four")}
	b.registries.tags[0].Tag, b.registries.tags[1].Tag = "v3", "v2"
	b.change("team-a", "app", func(stream *imageapi.ImageStream) {
		stream.Spec.DockerImageRepository = "registry.example/other"
		recheck(stream)
	})
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "v3", "three")
	b.expectHead("team-a", "app", "v2", "two")
	if n := b.registries.count(source); n != 2 {
		t.Errorf("without its annotation the stream was imported %d times, want all tags again", n)
	}

	version := b.Stream("team-a", "app").ResourceVersion
	b.look("team-a", "app")
	if again := b.Stream("team-a", "app").ResourceVersion; again != version {
		t.Error("a stream that needs nothing was written")
	}
}

// Behaviour 46: a failure that does not pass is recorded once and not repeated until somebody asks.
func TestPermanentFailureIsNotRepeated(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonNotFound, Code: 404, Message: "no such tag"}))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	stream := b.Stream("team-a", "app")
	if condition := failed(stream, "latest"); condition == nil || condition.Message != "no such tag" {
		t.Fatalf("the failure is not recorded: %+v", stream.Status.Tags["latest"])
	}
	for range 5 {
		b.look("team-a", "app")
		b.pass(time.Hour, "team-a", "app")
	}
	if n := b.registries.count(source); n != 1 {
		t.Errorf("imported %d times, want 1", n)
	}
	if version := b.Stream("team-a", "app").ResourceVersion; version != stream.ResourceVersion {
		t.Error("the stream was written again")
	}
	if event := <-b.events.Events; !strings.Contains(event, EventImportFailed) || !strings.Contains(event, "no such tag") {
		t.Errorf("event is %q", event)
	}

	// Asked again, it fails again with the same words: no second condition, no second event.
	b.change("team-a", "app", func(stream *imageapi.ImageStream) {
		tag := stream.Spec.Tags["latest"]
		tag.Generation = new(int64)
		stream.Spec.Tags["latest"] = tag
	})
	b.look("team-a", "app")
	b.look("team-a", "app")
	if n := b.registries.count(source); n != 2 {
		t.Errorf("imported %d times after generation 0, want 2", n)
	}
	select {
	case event := <-b.events.Events:
		t.Errorf("the same failure was told again: %s", event)
	default:
	}
}

// Behaviour 46: what passes by itself is tried again with growing pauses while its condition stands.
func TestPassingFailuresAreRetriedWithGrowingPauses(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonTimeout, Code: 504, Message: "no answer", Transient: true}))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	version := b.Stream("team-a", "app").ResourceVersion
	for i, minutes := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		before := b.registries.count(source)
		b.look("team-a", "app")
		b.pass(minutes*time.Minute-time.Second, "team-a", "app")
		if n := b.registries.count(source); n != before {
			t.Fatalf("retry %d came before %d min", i+1, minutes)
		}
		b.pass(time.Second, "team-a", "app")
		if n := b.registries.count(source); n != before+1 {
			t.Fatalf("retry %d did not come after %d min", i+1, minutes)
		}
	}
	if again := b.Stream("team-a", "app").ResourceVersion; again != version {
		t.Error("the same failure was written again")
	}
	b.registries.answer(source, found("one"))
	b.pass(30*time.Minute, "team-a", "app")
	b.expectHead("team-a", "app", "latest", "one")
	if failed(b.Stream("team-a", "app"), "latest") != nil {
		t.Error("the condition stands after a success")
	}
	done := b.registries.count(source)
	b.pass(time.Hour, "team-a", "app")
	if n := b.registries.count(source); n != done {
		t.Error("a tag that was imported is imported again")
	}
}

// Behaviour 42: after a 429 the stream comes back when the registry allows it.
func TestBusyRegistryIsAskedAgainAfterItsPause(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{
		Reason: metav1.StatusReasonTooManyRequests, Code: 429, Message: "busy", Transient: true, RetryAfter: 90 * time.Second,
	}))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	b.pass(89*time.Second, "team-a", "app")
	if n := b.registries.count(source); n != 1 {
		t.Fatalf("asked %d times before the pause was over", n)
	}
	// The queue brings the stream back by itself.
	b.registries.answer(source, found("one"))
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		b.Clock.Step(time.Second)
		return b.session.queue.Len() > 0, nil
	})
	if err != nil {
		t.Fatalf("the stream did not come back: %v", err)
	}
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "latest", "one")
}

func TestNextLeaderGoesOnWithWhatFailed(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonInternalError, Code: 500, Message: "no route", Transient: true}))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	b.lead(nil)
	b.look("team-a", "app")
	if n := b.registries.count(source); n != 1 {
		t.Fatalf("the new leader imported at once (%d imports)", n)
	}
	// A condition does not say whether the failure passes. The next attempt does.
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonInternalError, Code: 500, Message: "broken manifest"}))
	b.pass(time.Minute, "team-a", "app")
	for range 3 {
		b.look("team-a", "app")
		b.pass(time.Hour, "team-a", "app")
	}
	if n := b.registries.count(source); n != 2 {
		t.Errorf("imported %d times, want one attempt of the new leader", n)
	}
}

func TestChangedTagDoesNotWaitForThePauseOfTheOldOne(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonTimeout, Code: 504, Message: "no answer", Transient: true}))
	b.registries.answer("registry.example/app:v2", found("two"))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.look("team-a", "app")
	b.change("team-a", "app", func(stream *imageapi.ImageStream) {
		stream.Spec.Tags["latest"] = grouptest.Tag("latest", "DockerImage", "", "registry.example/app:v2")
	})
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "latest", "two")
}

func TestStreamThatIsGoneOrReplacedIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, found("one"))
	all := func(*imageapi.ImageStream) Work { return Work{Tags: []string{"latest"}} }
	outcome, err := b.runner.Run(t.Context(), Request{Namespace: "team-a", Name: "app", Choose: all})
	if err != nil || outcome.Stream != nil {
		t.Errorf("import into nothing: %+v, %v", outcome, err)
	}
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	outcome, err = b.runner.Run(t.Context(), Request{Namespace: "team-a", Name: "app", UID: "earlier", Choose: all})
	if err != nil || outcome.Stream != nil || b.registries.count(source) != 0 {
		t.Errorf("import into another stream: %+v, %v, %d imports", outcome, err, b.registries.count(source))
	}
}

func TestLostLeaseRecordsNothing(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, found("one"))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	ctx, lose := context.WithCancel(t.Context())
	b.registries.during = lose
	_, err := b.runner.Run(ctx, Request{Namespace: "team-a", Name: "app", Choose: Needed})
	if err == nil || len(b.Stream("team-a", "app").Status.Tags) != 0 {
		t.Errorf("without the lease: error %v, status %+v", err, b.Stream("team-a", "app").Status.Tags)
	}
}

func TestResultForATagThatChangedMeanwhileIsDropped(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, found("one"))
	b.registries.answer("registry.example/app:v2", found("two"))
	b.CreateStream(grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.registries.during = func() {
		b.registries.during = nil
		b.change("team-a", "app", func(stream *imageapi.ImageStream) {
			stream.Spec.Tags["latest"] = grouptest.Tag("latest", "DockerImage", "", "registry.example/app:v2")
		})
	}
	b.look("team-a", "app")
	if items := b.Stream("team-a", "app").Status.Tags["latest"].Items; len(items) != 0 {
		t.Fatalf("the tag shows %+v, which nobody asks for any more", items)
	}
	b.look("team-a", "app")
	b.expectHead("team-a", "app", "latest", "two")
	if len(b.events.Events) != 0 {
		t.Errorf("a dropped result was told as a failure: %s", <-b.events.Events)
	}
}

func TestSlotsFollowTheirLimit(t *testing.T) {
	limit := 2
	slots := NewSlots(func() int { return limit })
	for range 2 {
		if !slots.Take(t.Context()) {
			t.Fatal("no slot below the limit")
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if slots.Take(ended) {
		t.Error("a slot beyond the limit")
	}
	slots.Free()
	limit = 1
	if slots.try() {
		t.Error("a slot beyond the lowered limit")
	}
	slots.Free()
	if !slots.Take(t.Context()) {
		t.Error("no slot after all were freed")
	}
}

// A stream that waits for its finalizers is not imported, so nothing of it can become due.
func TestAStreamThatIsBeingDeletedIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, failing(engine.Error{Reason: metav1.StatusReasonTimeout, Message: "too slow", Transient: true}))
	stream := grouptest.Stream("team-a", "app", grouptest.Tag("latest", "DockerImage", "", source))
	stream.Finalizers = []string{"example.com/wait"}
	b.CreateStream(stream)
	b.look("team-a", "app")
	if _, _, err := b.Streams().Delete(b.Request("alice", "team-a", "imagestreams"), "app", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if b.Stream("team-a", "app").DeletionTimestamp == nil {
		t.Fatal("the stream does not wait for its finalizer")
	}
	b.pass(2*firstPause, "team-a", "app")
	if n := b.registries.count(source); n != 1 {
		t.Errorf("imported %d times, want no further time", n)
	}
	// The turn that was planned before the deletion comes, and no other one.
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return b.session.queue.Len() > 0, nil
	})
	if err != nil {
		t.Fatalf("the planned turn: %v", err)
	}
	key, _ := b.session.queue.Get()
	b.session.process(t.Context(), key)
	b.session.queue.Done(key)
	b.session.look(b.Stream("team-a", "app"))
	if n := b.session.queue.Len(); n != 0 {
		t.Errorf("%d streams are queued again, want none", n)
	}
}
