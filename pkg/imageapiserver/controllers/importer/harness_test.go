package importer

import (
	"context"
	"sync"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	engine "image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// registries answers imports from a table of pull specs, and counts how often each was asked for.
type registries struct {
	mu      sync.Mutex
	answers map[string]engine.ItemResult
	tags    []engine.ItemResult
	asked   map[string]int
	last    engine.Request
	// during, if set, is called in the middle of an import.
	during func()
}

func (r *registries) Import(_ context.Context, req engine.Request) engine.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = req
	var result engine.Result
	for _, item := range req.Items {
		r.asked[item.From]++
		answer := r.answers[item.From]
		if answer.Image != nil && item.LastDigest == answer.Image.Name {
			answer = engine.ItemResult{Tag: answer.Tag, Unchanged: true}
		}
		result.Items = append(result.Items, answer)
	}
	if req.Repository != nil {
		r.asked[req.Repository.From]++
		result.Repository = &engine.RepositoryResult{Tags: r.tags}
	}
	if r.during != nil {
		r.during()
	}
	return result
}

func (r *registries) answer(from string, result engine.ItemResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[from] = result
}

func (r *registries) count(from string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[from]
}

// found is an image that a registry has.
func found(word string) engine.ItemResult {
	image := grouptest.Pushed("x", "x", word)
	image.Annotations = nil
	image.DockerImageReference = "registry.example/app@" + image.Name
	return engine.ItemResult{Image: image, Reference: image.DockerImageReference, RemoteDigest: image.Name}
}

func failing(err engine.Error) engine.ItemResult { return engine.ItemResult{Err: &err} }

type noKeys struct{}

func (noKeys) Keyring(context.Context, string) (*keyring.Keyring, error) { return nil, nil }

// witness notes with which identity results are recorded.
type witness struct {
	Applier
	t *testing.T
}

func (w witness) Apply(ctx context.Context, req apply.Request) (apply.Report, error) {
	who, ok := request.UserFrom(ctx)
	if !ok || who.GetName() != "system:serviceaccount:image-registry-system:image-api-server" {
		w.t.Errorf("results are recorded as %v", who)
	}
	if namespace := request.NamespaceValue(ctx); namespace != req.Namespace {
		w.t.Errorf("results for namespace %s are recorded in %q", req.Namespace, namespace)
	}
	return w.Applier.Apply(ctx, req)
}

// bench drives a session by hand: what an informer would send is sent by look.
type bench struct {
	*grouptest.Env
	t          *testing.T
	registries *registries
	events     *record.FakeRecorder
	runner     *Runner
	session    *session
}

func newBench(t *testing.T) *bench {
	t.Helper()
	env := grouptest.New(t)
	applier, err := apply.New(apply.Options{
		Streams: env.Streams(), Images: env.Group.Images, Layers: env.Group.Layers,
		Hosts: func() repository.Hosts { return env.Hosts }, Clock: env.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		Env: env, t: t, events: record.NewFakeRecorder(100),
		registries: &registries{answers: map[string]engine.ItemResult{}, asked: map[string]int{}},
	}
	failures := NewFailureEvents(b.events)
	b.runner = &Runner{
		Streams: env.Streams(), Engine: b.registries, Keyrings: noKeys{}, Applier: witness{applier, t},
		Failures: func(_ context.Context, outcome Outcome) { failures.Report(outcome) },
	}
	b.lead(failures)
	return b
}

// lead begins a new session, as a new leader does.
func (b *bench) lead(events *FailureEvents) {
	b.t.Helper()
	controller, err := New(Options{
		Streams: streaminformer.New(b.Streams()), Runner: b.runner, Events: events,
		Workers: func() int { return 2 }, Clock: b.Clock,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.session = controller.newSession()
	b.t.Cleanup(b.session.queue.ShutDown)
}

// look shows the stored stream to the session as an event does, and works off what that asks for.
func (b *bench) look(namespace, name string) {
	b.t.Helper()
	b.session.look(b.Stream(namespace, name))
	for b.session.queue.Len() > 0 {
		key, _ := b.session.queue.Get()
		b.session.process(b.t.Context(), key)
		b.session.queue.Done(key)
	}
}

// pass lets time pass and lets the session look at a stream whose pause may be over.
func (b *bench) pass(pause time.Duration, namespace, name string) {
	b.t.Helper()
	b.Clock.Step(pause)
	b.session.process(b.t.Context(), cache.NewObjectName(namespace, name))
}

// change changes a stream as a user does.
func (b *bench) change(namespace, name string, fn func(*imageapi.ImageStream)) {
	b.t.Helper()
	stream := b.Stream(namespace, name).DeepCopy()
	fn(stream)
	b.update(stream)
}

func recheck(stream *imageapi.ImageStream) {
	delete(stream.Annotations, imagev1.DockerImageRepositoryCheckAnnotation)
}
