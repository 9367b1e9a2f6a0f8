package apigroup_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// takenUpGrace is how long before its snapshot a pruner takes nothing that was taken up.
const takenUpGrace = 5 * time.Minute

type actorKey struct{}

// actor is one client whose steps in the store are ordered by the test.
type actor struct {
	name string
	act  func(*grouptest.Env, context.Context) error

	parked, resume chan bool
	done           bool
}

// race runs actors in one order of their steps. Of each decision it records how many actors could go
// on; choices are those to take first, all others are 0.
func race(t *testing.T, env *grouptest.Env, actors []*actor, choices []int) (taken, open []int) {
	t.Helper()
	env.Backend.BeforeStep = func(ctx context.Context, step, key string) {
		// Reading a stream before it is written commutes with all that a pruner does.
		if who, ok := ctx.Value(actorKey{}).(*actor); ok && (strings.Contains(key, "/images") || step == "write" || step == "list") {
			who.parked <- true
			<-who.resume
		}
	}
	defer func() { env.Backend.BeforeStep = nil }()
	for _, who := range actors {
		who.parked, who.resume, who.done = make(chan bool), make(chan bool), false
		go func() {
			ctx := context.WithValue(env.Request(who.name, "team-a", ""), actorKey{}, who)
			if err := who.act(env, ctx); err != nil && !apierrors.IsConflict(err) {
				t.Errorf("%s: %v", who.name, err)
			}
			who.parked <- false
		}()
		who.done = !<-who.parked
	}
	for {
		var ready []*actor
		for _, who := range actors {
			if !who.done {
				ready = append(ready, who)
			}
		}
		if len(ready) == 0 {
			return taken, open
		}
		choice := 0
		if len(taken) < len(choices) {
			choice = choices[len(taken)] % len(ready)
		}
		taken, open = append(taken, choice), append(open, len(ready))
		ready[choice].resume <- true
		ready[choice].done = !<-ready[choice].parked
		if name := dangling(env); name != "" {
			t.Fatalf("after the choices %v a stream names image %s, which does not exist", taken, name)
		}
	}
}

// dangling is a digest that a stream names and that has no Image.
func dangling(env *grouptest.Env) string {
	ctx := env.Request("observer", "", "imagestreams")
	streams, err := env.Streams().FindList(ctx, &metainternal.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, stream := range streams.Items {
		for _, list := range stream.Status.Tags {
			for _, event := range list.Items {
				if _, err := env.Group.Images.Find(ctx, event.Image); err != nil {
					return event.Image
				}
			}
		}
	}
	return ""
}

// pruner lists streams and images and deletes what nothing names and nobody took up for a while, if it
// is still as it was in the list. It counts what it deletes.
func pruner(imagesFirst bool, deleted *int) *actor {
	return &actor{name: "registry", act: func(env *grouptest.Env, ctx context.Context) error {
		since := env.Clock.Now().Add(-takenUpGrace)
		named := map[string]bool{}
		var images *imageapi.ImageList
		listImages := func() error {
			obj, err := env.Group.Images.List(ctx, &metainternal.ListOptions{})
			if err == nil {
				images = obj.(*imageapi.ImageList)
			}
			return err
		}
		listStreams := func() error {
			streams, err := env.Streams().FindList(ctx, &metainternal.ListOptions{})
			if err != nil {
				return err
			}
			for _, stream := range streams.Items {
				for _, list := range stream.Status.Tags {
					for _, event := range list.Items {
						named[event.Image] = true
					}
				}
			}
			return nil
		}
		order := []func() error{listStreams, listImages}
		if imagesFirst {
			order = []func() error{listImages, listStreams}
		}
		for _, list := range order {
			if err := list(); err != nil {
				return err
			}
		}
		for i := range images.Items {
			image := &images.Items[i]
			last := image.CreationTimestamp.Time
			if stamp, err := time.Parse(time.RFC3339, image.Annotations[imagev1.ImageLastReferencedTimeAnnotation]); err == nil && stamp.After(last) {
				last = stamp
			}
			if named[image.Name] || last.After(since) {
				continue
			}
			conditions := &metav1.Preconditions{UID: &image.UID, ResourceVersion: &image.ResourceVersion}
			_, _, err := env.Group.Images.Delete(ctx, image.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: conditions})
			if err != nil {
				return err
			}
			*deleted++
		}
		return nil
	}}
}

func pusher(stream string) *actor {
	return &actor{name: "registry", act: func(env *grouptest.Env, ctx context.Context) error {
		mapping := &imageapi.ImageStreamMapping{Image: *grouptest.Pushed("team-a", stream, "one"), Tag: "v1"}
		mapping.Namespace, mapping.Name = "team-a", stream
		_, err := env.Mappings().Create(ctx, mapping, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
		return err
	}}
}

// copier makes a new stream whose tag comes from another stream.
func copier(source string) *actor {
	return &actor{name: "alice", act: func(env *grouptest.Env, ctx context.Context) error {
		copied := grouptest.Stream("team-a", "copy", grouptest.Tag("v1", "ImageStreamTag", "", source+":v1"))
		_, err := env.Streams().Create(ctx, copied, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
		return err
	}}
}

// remover takes the tag away that alone names the image.
func remover(source string) *actor {
	return &actor{name: "bob", act: func(env *grouptest.Env, ctx context.Context) error {
		_, _, err := env.Tags().Delete(ctx, source+":v1", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
		return err
	}}
}

// samples is how many orders are drawn where all would be too many for a unit test.
const samples = 300

// Behaviour 33b: a pusher and a pruner in all orders of their steps in the store, and with a copier or
// with somebody who removes the only tag in many of them.
func TestNoOrderOfStepsLeavesAStreamWithoutItsImage(t *testing.T) {
	tests := map[string]struct {
		// tagged tells that base:v1 names the image at first.
		tagged bool
		// all asks for all orders.
		all    bool
		actors func(pruner *actor) []*actor
	}{
		"pusher and pruner":          {false, true, func(pruner *actor) []*actor { return []*actor{pusher("app"), pruner} }},
		"copier, remover and pruner": {true, false, func(pruner *actor) []*actor { return []*actor{copier("base"), remover("base"), pruner} }},
		"pusher, copier and pruner": {false, false, func(pruner *actor) []*actor {
			return []*actor{pusher("app"), copier("app"), pruner}
		}},
		"pusher, remover and pruner": {true, false, func(pruner *actor) []*actor {
			return []*actor{pusher("app"), remover("base"), pruner}
		}},
	}
	for name, test := range tests {
		for _, age := range []time.Duration{30 * time.Second, time.Hour} {
			for _, first := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s old, images first %t", name, age, first), func(t *testing.T) {
					env := grouptest.New(t)
					runs, deleted := 0, 0
					random := rand.New(rand.NewPCG(1, uint64(len(name))))
					for choices := []int{}; choices != nil && !t.Failed(); runs++ {
						prepare(t, env, age, test.tagged)
						taken, open := race(t, env, test.actors(pruner(first, &deleted)), choices)
						switch {
						case test.all:
							choices = next(taken, open)
						case runs == samples:
							choices = nil
						default:
							choices = draw(random, 3, 60)
						}
					}
					t.Logf("%d orders, the image was removed in %d", runs, deleted)
					if old := age > takenUpGrace; runs < 2 || old != (deleted > 0) {
						t.Errorf("in %d orders an image taken up %s ago was removed %d times", runs, age, deleted)
					}
				})
			}
		}
	}
}

// prepare brings the store into the state at the start of each run.
func prepare(t *testing.T, env *grouptest.Env, age time.Duration, tagged bool) {
	t.Helper()
	env.Backend.Clear()
	// The store dates new objects by the clock of the machine.
	env.Clock.SetTime(time.Now().Truncate(time.Second))
	for _, name := range []string{"base", "app"} {
		env.CreateStream(grouptest.Stream("team-a", name))
	}
	if _, err := env.Group.Images.Record(env.Request("registry", "", "images"), grouptest.Pushed("team-a", "base", "one"), nil); err != nil {
		t.Fatal(err)
	}
	if tagged {
		env.Push("team-a", "base", "v1", grouptest.Pushed("team-a", "base", "one"))
	}
	env.Clock.Step(age)
}

// next is the choices of the run that follows in the order of all runs, nil after the last.
func next(taken, open []int) []int {
	for i := len(taken) - 1; i >= 0; i-- {
		if taken[i]+1 < open[i] {
			return append(append([]int{}, taken[:i]...), taken[i]+1)
		}
	}
	return nil
}

// draw is a random sequence of choices below limit.
func draw(random *rand.Rand, limit, length int) []int {
	choices := make([]int, length)
	for i := range choices {
		choices[i] = random.IntN(limit)
	}
	return choices
}
