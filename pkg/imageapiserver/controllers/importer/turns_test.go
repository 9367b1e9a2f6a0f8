package importer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
)

func TestANamespaceWaitsForItsOwnStreams(t *testing.T) {
	name := func(namespace string, i int) cache.ObjectName { return cache.NewObjectName(namespace, fmt.Sprint(i)) }
	turns := NewTurns(func() int { return 5 })
	for i := range 4 {
		if got := turns.Begin(name("a", i)); got != (i < 2) {
			t.Errorf("stream %d begins: %t", i, got)
		}
	}
	turns.Begin(name("a", 3)) // waits already
	if !turns.Begin(name("b", 0)) {
		t.Error("another namespace waits, too")
	}
	for _, want := range []int{2, 3} {
		if next, found := turns.End("a"); !found || next != name("a", want) {
			t.Errorf("after an end comes %v, %t, want %d", next, found, want)
		}
		if !turns.Begin(name("a", want)) {
			t.Errorf("stream %d waits although it is its turn", want)
		}
	}
	for range 2 {
		if next, found := turns.End("a"); found {
			t.Errorf("after the last comes %v", next)
		}
	}
	turns.End("b")
	if len(turns.working) != 0 || len(turns.waiting) != 0 {
		t.Errorf("remembered: %v, %v", turns.working, turns.waiting)
	}
}

// hanging is an engine for which some registries never answer.
type hanging struct{ *registries }

func (h hanging) Import(ctx context.Context, req engine.Request) engine.Result {
	if req.Tenant == "greedy" {
		<-ctx.Done()
	}
	return h.registries.Import(ctx, req)
}

// Whoever has streams that take for ever must not keep others from importing.
func TestANamespaceLeavesSlotsToOthers(t *testing.T) {
	b := newBench(t)
	b.registries.answer(source, found("one"))
	b.runner.Engine = hanging{b.registries}
	for i := range 5 {
		b.CreateStream(grouptest.Stream("greedy", fmt.Sprintf("app%d", i), grouptest.Tag("latest", "DockerImage", "", source)))
		b.session.look(b.Stream("greedy", fmt.Sprintf("app%d", i)))
	}
	b.CreateStream(grouptest.Stream("modest", "app", grouptest.Tag("latest", "DockerImage", "", source)))
	b.session.look(b.Stream("modest", "app"))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.session.run(ctx) })
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return len(b.Stream("modest", "app").Status.Tags["latest"].Items) == 1, nil
	})
	if err != nil {
		t.Errorf("the stream of another namespace is not imported: %v", err)
	}
	cancel()
	running.Wait()
}
