package apply_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

const (
	ns  = "team-a"
	hub = "quay.io/org/app"
)

// streams refuses imports.
type streams struct {
	apply.Streams
	refuse error
	// early is what is said before anything is stored.
	early error
}

func (s *streams) Admits(ctx context.Context, stream, old *imageapi.ImageStream) error {
	if s.early != nil {
		return s.early
	}
	return s.Streams.Admits(ctx, stream, old)
}

func (s *streams) Mutate(ctx context.Context, name string, mutation imagestream.Mutation, fn func(*imageapi.ImageStream) error) (*imageapi.ImageStream, bool, error) {
	if s.refuse != nil && mutation.Part == imagestream.Imported {
		return nil, false, s.refuse
	}
	return s.Streams.Mutate(ctx, name, mutation, fn)
}

func applier(t *testing.T, env *grouptest.Env, s apply.Streams) *apply.Applier {
	t.Helper()
	a, err := apply.New(apply.Options{Streams: s, Images: env.Group.Images, Layers: env.Group.Layers, Hosts: func() repository.Hosts { return env.Hosts }, Clock: env.Clock})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// background is the context of a controller: no user, no request.
func background(t *testing.T) context.Context { return t.Context() }

func outcome(tag, word string) apply.Outcome {
	return apply.Outcome{
		Tag: tag, From: hub + ":" + tag, ImportPolicy: imageapi.TagImportPolicy{ImportMode: imageapi.ImportModePreserveOriginal},
		Result: importer.ItemResult{Image: grouptest.Pushed("", "", word)},
	}
}

func failed(tag string, reason metav1.StatusReason, message string) apply.Outcome {
	o := outcome(tag, "")
	o.Result = importer.ItemResult{Err: &importer.Error{Reason: reason, Code: http.StatusGatewayTimeout, Message: message}}
	return o
}

func observed(stream *imageapi.ImageStream, tag string) int64 {
	list := stream.Status.Tags[tag]
	var generation int64
	if len(list.Items) > 0 {
		generation = list.Items[0].Generation
	}
	for _, condition := range list.Conditions {
		generation = max(generation, condition.Generation)
	}
	return generation
}

// imported tells whether a controller would leave the tag alone.
func imported(stream *imageapi.ImageStream, tag string) bool {
	spec := stream.Spec.Tags[tag]
	return spec.Generation != nil && *spec.Generation <= observed(stream, tag)
}

// A quota that is used up must be seen on the tags that it keeps away, and must
// not make the controller import again and again.
func TestARefusedWriteIsSaidOnTheTags(t *testing.T) {
	env := grouptest.New(t)
	basis := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("wanted", "DockerImage", "", hub+":wanted")))
	s := &streams{Streams: env.Streams()}
	a := applier(t, env, s)
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: basis, Outcomes: []apply.Outcome{outcome("shown", "shown")}}); err != nil {
		t.Fatal(err)
	}
	basis = env.Stream(ns, "app")
	s.refuse = apierrors.NewForbidden(imageapi.Resource("imagestreams"), "app", errors.New("exceeded quota: small"))
	req := apply.Request{Namespace: ns, Name: "app", Basis: basis, Outcomes: []apply.Outcome{
		outcome("shown", "another"), outcome("wanted", "one"), outcome("new", "two"), failed("broken", metav1.StatusReasonNotFound, "no"),
	}}
	if _, err := a.Apply(background(t), req); !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want Forbidden", err)
	}
	stream := env.Stream(ns, "app")
	for _, tag := range []string{"wanted", "new"} {
		conditions := stream.Status.Tags[tag].Conditions
		if len(conditions) != 1 || conditions[0].Status != corev1.ConditionFalse || conditions[0].Reason != "Forbidden" || conditions[0].Generation > stream.Generation {
			t.Errorf("%s: conditions are %+v, generation %d", tag, conditions, stream.Generation)
		}
	}
	if !imported(stream, "wanted") {
		t.Error("the controller would import the tag again at once")
	}
	if got := stream.Status.Tags["shown"]; len(got.Conditions) != 0 || len(got.Items) != 1 {
		t.Errorf("a tag that shows an image became %+v", got)
	}
	writes := env.Backend.Writes()
	req.Outcomes = req.Outcomes[:3]
	if _, err := a.Apply(background(t), req); !apierrors.IsForbidden(err) || env.Stream(ns, "app").ResourceVersion != stream.ResourceVersion {
		t.Errorf("the same refusal again: %v, %d writes", err, env.Backend.Writes()-writes)
	}
}

// Behaviours 52 and 53: refused imports do not fill the storage with Images that no quota counts.
func TestARefusedImportStoresNoImage(t *testing.T) {
	env := grouptest.New(t)
	basis := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", hub+":v1")))
	s := &streams{Streams: env.Streams(), early: apierrors.NewForbidden(imageapi.Resource("imagestreams"), "app", errors.New("exceeded quota: small"))}
	a := applier(t, env, s)
	req := apply.Request{Namespace: ns, Name: "app", Basis: basis, Outcomes: []apply.Outcome{outcome("v1", "one")}}
	if _, err := a.Apply(background(t), req); !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want Forbidden", err)
	}
	if _, err := env.Group.Images.Find(t.Context(), req.Outcomes[0].Result.Image.Name); !apierrors.IsNotFound(err) {
		t.Errorf("looking for the Image: %v, want that there is none", err)
	}
	stream := env.Stream(ns, "app")
	if conditions := stream.Status.Tags["v1"].Conditions; len(conditions) != 1 || conditions[0].Reason != "Forbidden" {
		t.Errorf("conditions are %+v, want the refusal", conditions)
	}
	if !imported(stream, "v1") {
		t.Error("the controller would import the tag again at once")
	}
	s.early = nil
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "new", Outcomes: []apply.Outcome{outcome("v1", "one")}}); err != nil {
		t.Errorf("an import that is allowed: %v", err)
	}
}

// images acts on images that exist already.
type images struct {
	apply.Images
	existing func()
}

func (i *images) Record(ctx context.Context, image *imageapi.Image, dryRun []string) (*imageapi.Image, error) {
	created, err := i.Images.Record(ctx, image, dryRun)
	if apierrors.IsAlreadyExists(err) && len(image.DockerImageManifests) > 0 {
		i.existing()
	}
	return created, err
}

// Behaviour 33b. Images that are pruned before they are stamped are created
// again, with what is below them.
func TestImagesThatArePrunedMeanwhileAreCreatedAgain(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "old"))
	env.Push(ns, "old", "v1", grouptest.PushedIndex(ns, "old", "list", "child"))
	env.Push(ns, "old", "child", grouptest.Pushed(ns, "old", "child"))
	env.Clock.Step(time.Hour)
	pruned := 0
	store := &images{Images: env.Group.Images, existing: func() {
		pruned++
		for _, word := range []string{"list", "child"} {
			if _, _, err := env.Group.Images.Delete(background(t), grouptest.Digest(word), nil, &metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}}
	a := applier(t, env, env.Streams())
	a.Images = store
	o := outcome("v1", "list")
	o.Result = importer.ItemResult{Image: grouptest.PushedIndex("", "", "list", "child"), Children: []*imageapi.Image{grouptest.Pushed("", "", "child")}}
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Outcomes: []apply.Outcome{o}}); err != nil {
		t.Fatal(err)
	}
	if pruned != 1 {
		t.Errorf("images were pruned %d times, want once", pruned)
	}
	for _, word := range []string{"list", "child"} {
		if _, err := env.Group.Images.Find(background(t), grouptest.Digest(word)); err != nil {
			t.Errorf("the stream names an image that is gone: %v", err)
		}
	}
}

// An image that exists is stamped, children included; one that the stream shows
// already costs nothing.
func TestExistingImagesAreStampedOnce(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "old"))
	env.Push(ns, "old", "v1", grouptest.PushedIndex(ns, "old", "list", "child"))
	env.Push(ns, "old", "child", grouptest.Pushed(ns, "old", "child"))
	env.Clock.Step(time.Hour)
	a := applier(t, env, env.Streams())
	o := outcome("v1", "list")
	o.Result = importer.ItemResult{Image: grouptest.PushedIndex("", "", "list", "child"), Children: []*imageapi.Image{grouptest.Pushed("", "", "child")}}
	stampOf := func(word string) string {
		t.Helper()
		found, err := env.Group.Images.Find(background(t), grouptest.Digest(word))
		if err != nil {
			t.Fatal(err)
		}
		return found.Annotations[imagev1.ImageLastReferencedTimeAnnotation]
	}
	first := env.Clock.Now().UTC().Format(time.RFC3339)
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Outcomes: []apply.Outcome{o}}); err != nil {
		t.Fatal(err)
	}
	if stampOf("list") != first || stampOf("child") != first {
		t.Errorf("stamps are %q and %q, want %q", stampOf("list"), stampOf("child"), first)
	}
	env.Clock.Step(time.Hour)
	writes := env.Backend.Writes()
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: env.Stream(ns, "app"), Outcomes: []apply.Outcome{o}}); err != nil {
		t.Fatal(err)
	}
	if got := env.Backend.Writes(); got != writes {
		t.Errorf("importing what the tag shows wrote %d times", got-writes)
	}
}

// In the background nobody goes on with what is unfinished.
func TestUnfinishedInTheBackgroundIsAFailure(t *testing.T) {
	env := grouptest.New(t)
	basis := env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", hub+":v1")))
	a := applier(t, env, env.Streams())
	o := failed("v1", metav1.StatusReasonTimeout, "the time is up")
	o.Result.Unfinished = true
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: basis, Outcomes: []apply.Outcome{o}, Background: true}); err != nil {
		t.Fatal(err)
	}
	stream := env.Stream(ns, "app")
	if got := stream.Status.Tags["v1"].Conditions; len(got) != 1 || got[0].Reason != "Timeout" || !imported(stream, "v1") {
		t.Errorf("conditions are %+v, spec tag %+v", got, stream.Spec.Tags["v1"])
	}
}

// Behaviour 38. After each outcome the controller leaves the tag alone, also
// when the same failure meets a newer spec tag or the policy changes.
func TestEveryOutcomeIsObserved(t *testing.T) {
	missing := failed("v1", metav1.StatusReasonNotFound, "no such tag")
	insecure := outcome("v1", "one")
	insecure.ImportPolicy.Insecure = true
	unchanged := outcome("v1", "one")
	unchanged.Result = importer.ItemResult{Unchanged: true}
	steps := []struct {
		name string
		apply.Outcome
		conditions int
	}{
		{"failure", missing, 1}, {"same failure", missing, 1}, {"success", outcome("v1", "one"), 0}, {"again", outcome("v1", "one"), 0},
		{"policy", insecure, 0}, {"failure after success", missing, 1}, {"unchanged", unchanged, 0}, {"another image", outcome("v1", "two"), 0},
	}
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", hub+":v1")))
	a := applier(t, env, env.Streams())
	for _, step := range steps {
		// Somebody asks for a new import.
		stream := env.Stream(ns, "app")
		tag := stream.Spec.Tags["v1"]
		tag.Generation = new(int64)
		if _, _, err := env.Streams().Mutate(request.WithNamespace(background(t), ns), "app", imagestream.Mutation{}, func(s *imageapi.ImageStream) error {
			s.Spec.Tags["v1"] = tag
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		basis := env.Stream(ns, "app")
		if imported(basis, "v1") {
			t.Fatalf("%s: the tag does not ask for an import", step.name)
		}
		if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: basis, Outcomes: []apply.Outcome{step.Outcome}, Background: true}); err != nil {
			t.Fatal(err)
		}
		stream = env.Stream(ns, "app")
		if got := stream.Status.Tags["v1"]; !imported(stream, "v1") || len(got.Conditions) != step.conditions {
			t.Errorf("%s: spec generation %d, observed %d, conditions %+v", step.name, *stream.Spec.Tags["v1"].Generation, observed(stream, "v1"), got.Conditions)
		}
	}
	if got := len(env.Stream(ns, "app").Status.Tags["v1"].Items); got != 2 {
		t.Errorf("the tag has %d events, want 2", got)
	}
}

// A tag that follows another tag, and one that was only pushed, can be imported
// into; a failure leaves what they are.
func TestTagsThatAreNotImported(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app", grouptest.Tag("tracks", "ImageStreamTag", "", "pushed"), grouptest.Tag("pushed", "", "", "")))
	env.Push(ns, "app", "pushed", grouptest.Pushed(ns, "app", "local"))
	before := env.Stream(ns, "app")
	a := applier(t, env, env.Streams())
	var failures []apply.Outcome
	for _, tag := range []string{"tracks", "pushed"} {
		o := failed(tag, metav1.StatusReasonNotFound, "no")
		o.CreateTag = true
		failures = append(failures, o)
	}
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: before, Outcomes: failures}); err != nil {
		t.Fatal(err)
	}
	stream := env.Stream(ns, "app")
	if stream.Generation != before.Generation || stream.Spec.Tags["tracks"].From.Kind != "ImageStreamTag" || stream.Spec.Tags["pushed"].From != nil {
		t.Errorf("the failure changed the spec to %+v", stream.Spec)
	}
	for _, tag := range []string{"tracks", "pushed"} {
		if got := stream.Status.Tags[tag]; len(got.Conditions) != 1 || got.Conditions[0].Generation > stream.Generation || len(got.Items) == 0 {
			t.Errorf("%s: %+v", tag, got)
		}
	}
	scheduled := outcome("tracks", "one")
	scheduled.ImportPolicy.Scheduled = true
	if _, err := a.Apply(background(t), apply.Request{Namespace: ns, Name: "app", Basis: stream, Outcomes: []apply.Outcome{scheduled, outcome("pushed", "two")}}); err != nil {
		t.Fatal(err)
	}
	stream = env.Stream(ns, "app")
	for _, tag := range []string{"tracks", "pushed"} {
		if spec := stream.Spec.Tags[tag]; spec.From == nil || spec.From.Kind != "DockerImage" || !imported(stream, tag) {
			t.Errorf("%s: %+v", tag, spec)
		}
	}
}

// An image that cannot be stored fails alone.
func TestAnImageThatCannotBeStoredFailsAlone(t *testing.T) {
	env := grouptest.New(t)
	bad := outcome("bad", "bad")
	bad.Result.Image.DockerImageManifests = []imageapi.ImageManifest{{Digest: "no digest"}}
	report, err := applier(t, env, env.Streams()).Apply(background(t), apply.Request{Namespace: ns, Name: "app", Outcomes: []apply.Outcome{bad, outcome("good", "good")}})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.Results[0].Err; got == nil || got.Reason != metav1.StatusReasonInvalid || report.Results[1].Err != nil {
		t.Errorf("results are %+v", report.Results)
	}
	if len(report.Stream.Status.Tags["good"].Items) != 1 || len(report.Stream.Status.Tags["bad"].Items) != 0 {
		t.Errorf("status is %+v", report.Stream.Status.Tags)
	}
}
