package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"image.alauda.io/api/image/tags"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

const repository = "registry.test:5000"

// reviews answers access reviews: yes for the groups that it holds.
type reviews struct {
	allowed map[string]bool
	asked   int
	err     error
}

func (r *reviews) Create(_ context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	r.asked++
	a := review.Spec.ResourceAttributes
	if a.Verb != "get" || a.Group != imagev1.GroupName || a.Resource != "imagestreams" || a.Subresource != "layers" || review.Spec.User != "" {
		return nil, fmt.Errorf("unexpected question %+v", review.Spec)
	}
	review.Status.Allowed = r.allowed[strings.Join(review.Spec.Groups, ",")+" "+a.Namespace+"/"+a.Name]
	return review, r.err
}

// fixture is one term with a cluster of fakes.
type fixture struct {
	*term
	t       *testing.T
	dynamic *fake.FakeDynamicClient
	clock   *clocktesting.FakeClock
	events  *record.FakeRecorder
	reviews *reviews
	streams cache.SharedIndexInformer
}

func newFixture(t *testing.T, objects ...runtime.Object) *fixture {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	for kind, resource := range kinds {
		lists[resource] = kind + "List"
	}
	f := &fixture{
		t:       t,
		dynamic: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...),
		clock:   clocktesting.NewFakeClock(time.Unix(1e9, 0)),
		events:  record.NewFakeRecorder(100),
		reviews: &reviews{allowed: map[string]bool{}},
		streams: cache.NewSharedIndexInformer(nil, &imageapi.ImageStream{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}),
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	options := Options{
		Streams: f.streams, Metadata: metadatafake.NewSimpleMetadataClient(scheme), Workloads: f.dynamic,
		AccessReviews: f.reviews, Events: f.events, Clock: f.clock,
	}
	if _, err := New(options); err != nil {
		t.Fatal(err)
	}
	f.term = newTerm(options)
	t.Cleanup(f.queue.ShutDown)
	return f
}

// move makes a tag point at an image of the registry, and returns its pull spec.
func (f *fixture) move(namespace, name, tag, word string) string {
	f.t.Helper()
	s := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if old, found, _ := f.streams.GetStore().GetByKey(namespace + "/" + name); found {
		s = old.(*imageapi.ImageStream).DeepCopy()
	}
	reference := repository + "/" + namespace + "/" + name + "@sha256:" + word
	if s.Status.Tags == nil {
		s.Status.Tags = map[string]imageapi.TagEventList{}
	}
	s.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{{DockerImageReference: reference, Image: "sha256:" + word}}}
	if err := f.streams.GetStore().Add(s); err != nil {
		f.t.Fatal(err)
	}
	return reference
}

func entry(stream, fieldPath string) string {
	text, _ := json.Marshal(tags.Trigger{From: tags.TriggerSource{Kind: "ImageStreamTag", Name: stream}, FieldPath: fieldPath})
	return string(text)
}

// object is a workload with containers a and b and init container i.
func object(kind, annotation string) *unstructured.Unstructured {
	containers := func(names ...string) []any {
		var all []any
		for _, name := range names {
			all = append(all, map[string]any{"name": name, "image": "old-" + name})
		}
		return all
	}
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(kinds[kind].GroupVersion().String())
	o.SetKind(kind)
	o.SetNamespace("team")
	o.SetName("web")
	if annotation != "" {
		o.SetAnnotations(map[string]string{imagev1.TriggersAnnotation: annotation})
	}
	path, _ := tags.PodSpecPath(kind)
	spec := map[string]any{"containers": containers("a", "b"), "initContainers": containers("i")}
	if err := unstructured.SetNestedMap(o.Object, spec, strings.Split(path, ".")...); err != nil {
		panic(err)
	}
	return o
}

// images are those of the stored workload.
func (f *fixture) images(kind string) []string {
	f.t.Helper()
	live, err := f.dynamic.Resource(kinds[kind]).Namespace("team").Get(f.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	var all []string
	spec := podSpec(live, kind)
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		all = append(all, c.Image)
	}
	return all
}

func (f *fixture) mustSync(kind string) time.Duration {
	f.t.Helper()
	again, err := f.sync(f.t.Context(), workload{kind, "team", "web"})
	if err != nil {
		f.t.Fatal(err)
	}
	return again
}

func (f *fixture) patches() int {
	n := 0
	for _, action := range f.dynamic.Actions() {
		if action.GetVerb() == "patch" {
			n++
		}
	}
	return n
}

// event returns the next Event, or nothing.
func (f *fixture) event() string {
	select {
	case event := <-f.events.Events:
		return event
	default:
		return ""
	}
}

// Behaviour 48: the four kinds, init containers, selection by index and by name, and one patch for several
// containers; the second look writes nothing.
func TestEveryKindFollowsItsTags(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			path, _ := tags.PodSpecPath(kind)
			f := newFixture(t, object(kind, "["+entry("app:v1", path+`.containers[?(@.name=="b")].image`)+","+
				entry("app:v1", path+".containers[0].image")+","+entry("tool:latest", path+".initContainers[0].image")+","+
				entry("none:latest", path+".containers[?(@.name==\"x\")].image")+"]"))
			app, tool := f.move("team", "app", "v1", "1"), f.move("team", "tool", "latest", "2")
			f.mustSync(kind)
			if got, want := f.images(kind), []string{app, app, tool}; !slices.Equal(got, want) {
				t.Errorf("images %q, want %q", got, want)
			}
			if f.patches() != 1 {
				t.Errorf("%d patches, want 1", f.patches())
			}
			f.mustSync(kind)
			if f.patches() != 1 {
				t.Errorf("%d patches after a second look, want 1", f.patches())
			}
			if event := f.event(); !strings.Contains(event, reasonInvalid) || !strings.Contains(event, `\"x\"`) {
				t.Errorf("event %q, want one about the container that does not exist", event)
			}
			if event := f.event(); event != "" {
				t.Errorf("told twice: %q", event)
			}
		})
	}
}

// The patch holds only for the containers that were read.
func TestAPatchTestsWhatItReplaces(t *testing.T) {
	f := newFixture(t, object("Deployment", "["+entry("app:v1", "spec.template.spec.containers[1].image")+"]"))
	reference := f.move("team", "app", "v1", "1")
	var sent []byte
	f.dynamic.PrependReactor("patch", "deployments", func(action clienttesting.Action) (bool, runtime.Object, error) {
		sent = action.(clienttesting.PatchAction).GetPatch()
		if manager := action.(clienttesting.PatchActionImpl).PatchOptions.FieldManager; manager != FieldManager {
			t.Errorf("field manager %q", manager)
		}
		return true, nil, apierrors.NewGenericServerResponse(422, "patch", schema.GroupResource{}, "web", "test failed", 0, false)
	})
	if _, err := f.sync(t.Context(), workload{"Deployment", "team", "web"}); err == nil {
		t.Error("a failed patch is not tried again")
	}
	const at = `/spec/template/spec/containers/1/`
	annotation, _ := json.Marshal("[" + entry("app:v1", "spec.template.spec.containers[1].image") + "]")
	want := `[{"op":"test","path":"/metadata/annotations/image.alauda.io~1triggers","value":` + string(annotation) + `},{"op":"test","path":"` + at + `name","value":"b"},{"op":"test","path":"` + at + `image","value":"old-b"},{"op":"replace","path":"` + at + `image","value":"` + reference + `"}]`
	if string(sent) != want {
		t.Errorf("patch %s, want %s", sent, want)
	}
}

// Behaviour 48: what cannot be carried out is told once and changes nothing.
func TestWhatIsLeftAlone(t *testing.T) {
	const first = "spec.template.spec.containers[0].image"
	paused := func(value string) string {
		return "[" + strings.Replace(entry("app:v1", first), `"fieldPath"`, `"paused":`+value+`,"fieldPath"`, 1) + "]"
	}
	for _, test := range []struct {
		name, annotation string
		event            bool
	}{
		{"no annotation", "", false},
		{"no JSON", "[", true},
		{"paused bool", paused("true"), false},
		{"paused string", paused(`"true"`), false},
		{"duplicate path", "[" + entry("app:v1", first) + "," + entry("tool:v1", first) + "]", true},
		{"duplicate container", "[" + entry("app:v1", first) + "," + entry("tool:v1", `spec.template.spec.containers[?(@.name=="a")].image`) + "]", true},
		{"path of another kind", "[" + entry("app:v1", "spec.jobTemplate.spec.template.spec.containers[0].image") + "]", true},
		{"name without tag", "[" + entry("app", first) + "]", true},
		{"no such tag", "[" + entry("app:v2", first) + "]", false},
		{"no such stream", "[" + entry("other:v1", first) + "]", false},
		{"unknown kind", `[{"from":{"kind":"Other","name":"app:v1"},"fieldPath":"` + first + `"}]`, false},
		{"apiVersion", `[{"from":{"kind":"ImageStreamTag","apiVersion":"x/v1","name":"app:v1"},"fieldPath":"` + first + `"}]`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, object("Deployment", test.annotation))
			f.move("team", "app", "v1", "1")
			for range 2 {
				if again := f.mustSync("Deployment"); again != 0 {
					t.Errorf("looks again after %s", again)
				}
			}
			if f.patches() != 0 {
				t.Errorf("%d patches", f.patches())
			}
			event := f.event()
			if test.event != strings.HasPrefix(event, "Warning "+reasonInvalid) || f.event() != "" {
				t.Errorf("event %q, want one: %v", event, test.event)
			}
		})
	}
}

// A paused Deployment is patched like others; one that is being deleted, or is gone, is not.
func TestPausedAndDeletedDeployments(t *testing.T) {
	annotation := "[" + entry("app:v1", "spec.template.spec.containers[0].image") + "]"
	paused := object("Deployment", annotation)
	if err := unstructured.SetNestedField(paused.Object, true, "spec", "paused"); err != nil {
		t.Fatal(err)
	}
	ending := object("Deployment", annotation)
	ending.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
	ending.SetFinalizers([]string{"x"})
	for want, objects := range map[int][]runtime.Object{1: {paused}, 0: {ending}} {
		f := newFixture(t, objects...)
		f.move("team", "app", "v1", "1")
		f.mustSync("Deployment")
		if f.patches() != want {
			t.Errorf("%d patches, want %d", f.patches(), want)
		}
	}
	f := newFixture(t)
	if again := f.mustSync("Deployment"); again != 0 {
		t.Errorf("what is gone is looked at again after %s", again)
	}
}

// Behaviour 48: a tag of another namespace needs the right to pull there; the answer holds five minutes.
func TestTagsOfOtherNamespacesNeedTheRightToPull(t *testing.T) {
	annotation := strings.Replace("["+entry("app:v1", "spec.template.spec.containers[0].image")+"]", `"name"`, `"namespace":"shared","name"`, 1)
	f := newFixture(t, object("Deployment", annotation))
	reference := f.move("shared", "app", "v1", "1")
	if again := f.mustSync("Deployment"); again != answerLife || f.patches() != 0 {
		t.Errorf("denied: looks again after %s, %d patches", again, f.patches())
	}
	if event := f.event(); !strings.Contains(event, "shared/app") {
		t.Errorf("event %q", event)
	}
	f.reviews.allowed["system:serviceaccounts:team,system:serviceaccounts,system:authenticated shared/app"] = true
	f.mustSync("Deployment")
	if f.reviews.asked != 1 || f.patches() != 0 {
		t.Errorf("asked %d times within five minutes, %d patches", f.reviews.asked, f.patches())
	}
	f.clock.Step(answerLife)
	f.mustSync("Deployment")
	if got := f.images("Deployment")[0]; got != reference || f.reviews.asked != 2 {
		t.Errorf("image %q, asked %d times", got, f.reviews.asked)
	}
	f.reviews.err = errors.New("down")
	f.clock.Step(answerLife)
	if _, err := f.sync(t.Context(), workload{"Deployment", "team", "web"}); err == nil {
		t.Error("a question without answer is not asked again")
	}
}

// Behaviour 48: three patches within ten minutes that something reverts, then one an hour; a new image is
// tried at once.
func TestAFightIsGivenUp(t *testing.T) {
	original := object("Deployment", "["+entry("app:v1", "spec.template.spec.containers[0].image")+"]")
	f := newFixture(t, original)
	f.move("team", "app", "v1", "1")
	revert := func() {
		if err := f.dynamic.Tracker().Update(kinds["Deployment"], original.DeepCopy(), "team"); err != nil {
			t.Fatal(err)
		}
	}
	step := func(after time.Duration, patches int, again time.Duration, what string) {
		t.Helper()
		f.clock.Step(after)
		if got := f.mustSync("Deployment"); got != again || f.patches() != patches {
			t.Errorf("%s: looks again after %s with %d patches, want %s and %d", what, got, f.patches(), again, patches)
		}
		revert()
	}
	step(0, 1, 0, "first")
	step(time.Minute, 2, 0, "second")
	step(time.Minute, 3, 0, "third")
	if event := f.event(); event != "" {
		t.Errorf("early event %q", event)
	}
	step(time.Minute, 3, 59*time.Minute, "fourth")
	if event := f.event(); !strings.HasPrefix(event, "Warning "+reasonConflict) {
		t.Errorf("event %q", event)
	}
	step(30*time.Minute, 3, 29*time.Minute, "half an hour later")
	step(29*time.Minute, 4, 0, "an hour after the last attempt")
	step(time.Minute, 4, 59*time.Minute, "right after that")
	if event := f.event(); event != "" {
		t.Errorf("told again: %q", event)
	}
	f.move("team", "app", "v1", "2")
	step(0, 5, 0, "the tag moved")

	calm := newFixture(t, original)
	calm.move("team", "app", "v1", "1")
	for i := range 6 {
		calm.clock.Step(5 * time.Minute)
		calm.mustSync("Deployment")
		if calm.patches() != i+1 {
			t.Fatalf("patch %d was held back although reverts are rare", i+1)
		}
		if err := calm.dynamic.Tracker().Update(kinds["Deployment"], original.DeepCopy(), "team"); err != nil {
			t.Fatal(err)
		}
	}
}

// Without the right to patch workloads, triggers do nothing but an Event.
func TestWithoutRightsThereIsAnEventAndNoStorm(t *testing.T) {
	f := newFixture(t, object("StatefulSet", "["+entry("app:v1", "spec.template.spec.containers[0].image")+"]"))
	f.move("team", "app", "v1", "1")
	refused := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "web", errors.New("no"))
	f.dynamic.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
	for range 2 {
		if again := f.mustSync("StatefulSet"); again != forbiddenBackoff {
			t.Errorf("looks again after %s, want %s", again, forbiddenBackoff)
		}
	}
	if event := f.event(); !strings.HasPrefix(event, "Warning "+reasonForbidden) || f.event() != "" {
		t.Errorf("event %q, want one", event)
	}
	f.dynamic.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
	if again := f.mustSync("StatefulSet"); again != forbiddenBackoff {
		t.Errorf("looks again after %s, want %s", again, forbiddenBackoff)
	}
}

// A rule of the cluster that refuses the image must not cost a request every 30 seconds that nobody learns of.
func TestARefusalByAdmissionIsToldInTheEnd(t *testing.T) {
	for name, refused := range map[string]error{
		"policy":  apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "web", nil),
		"webhook": apierrors.NewBadRequest("admission webhook \"images\" denied the request"),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, object("Deployment", "["+entry("app:v1", "spec.template.spec.containers[0].image")+"]"))
			f.move("team", "app", "v1", "1")
			f.dynamic.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
			w := workload{"Deployment", "team", "web"}
			for range refusalsTolerated {
				f.handle(t.Context(), w)
				if event := f.event(); event != "" {
					t.Fatalf("told at once: %q", event)
				}
			}
			if f.handle(t.Context(), w); f.queue.NumRequeues(w) != 0 {
				t.Error("tried again at once")
			}
			if event := f.event(); !strings.HasPrefix(event, "Warning "+reasonForbidden) {
				t.Errorf("event %q", event)
			}
		})
	}
}

// A list after a broken watch may show another workload of the same name in the place of the one that is known.
func TestAWorkloadThatWasMadeAnewIsLookedAt(t *testing.T) {
	f := newFixture(t)
	c := newCarriers("Deployment", f.changed, f.gone)
	w := workload{"Deployment", "team", "web"}
	list := func(uid types.UID) []any {
		return []any{&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: "team", Name: "web", UID: uid, Generation: 1,
			Annotations: map[string]string{imagev1.TriggersAnnotation: "[" + entry("app:v1", "spec.template.spec.containers[0].image") + "]"},
		}}}
	}
	for i, test := range []struct {
		uid  types.UID
		work int
	}{{"a", 1}, {"a", 0}, {"b", 1}} {
		if err := c.Replace(list(test.uid), "1"); err != nil {
			t.Fatal(err)
		}
		if f.queue.Len() != test.work || len(f.index.listeners(stream{"team", "app"})) != 1 {
			t.Errorf("list %d: %d queued, listeners %v", i, f.queue.Len(), f.index.listeners(stream{"team", "app"}))
		}
		for range f.queue.Len() {
			got, _ := f.queue.Get()
			f.queue.Done(got)
		}
		f.guard.patched(w, "/x", "image", f.clock.Now())
	}
	if err := c.Replace(list("c"), "2"); err != nil || f.guard.known[w] != nil {
		t.Errorf("the new workload inherits what was tried on the old one: %v, %v", f.guard.known, err)
	}
}

// Behaviour 48: a removed annotation leaves nothing behind, also when its removal was never seen as such.
func TestIndexFollowsAnnotations(t *testing.T) {
	f := newFixture(t)
	c := newCarriers("Deployment", f.changed, f.gone)
	meta := func(name, annotation string, generation int64) *metav1.PartialObjectMetadata {
		m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Generation: generation}}
		if annotation != "" {
			m.Annotations = map[string]string{imagev1.TriggersAnnotation: annotation}
		}
		return m
	}
	follow := func(stream string) string {
		return "[" + entry(stream, "spec.template.spec.containers[0].image") + "]"
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	queued := func() int {
		n := f.queue.Len()
		for range n {
			w, _ := f.queue.Get()
			f.queue.Done(w)
		}
		return n
	}
	expect := func(what string, app, tool, work int) {
		t.Helper()
		a, b, n := len(f.index.listeners(stream{"team", "app"})), len(f.index.listeners(stream{"team", "tool"})), queued()
		if a != app || b != tool || n != work {
			t.Errorf("%s: %d and %d listeners, %d queued, want %d, %d and %d", what, a, b, n, app, tool, work)
		}
	}
	must(c.Replace([]any{meta("one", follow("app:v1"), 1), meta("two", follow("tool:v1"), 1), meta("three", "", 1)}, "1"))
	expect("list", 1, 1, 2)
	must(c.Update(meta("one", follow("app:v1"), 1)))
	expect("nothing changed", 1, 1, 0)
	must(c.Update(meta("one", follow("app:v1"), 2)))
	expect("the spec changed", 1, 1, 1)
	must(c.Update(meta("one", follow("tool:v1"), 2)))
	expect("another stream", 0, 2, 1)
	must(c.Update(meta("one", "", 2)))
	expect("annotation removed", 0, 1, 0)
	must(c.Add(meta("four", follow("app:v1"), 1)))
	expect("added", 1, 1, 1)
	must(c.Delete(cache.DeletedFinalStateUnknown{Key: "team/four", Obj: meta("four", follow("app:v1"), 1)}))
	expect("tombstone", 0, 1, 0)
	must(c.Replace([]any{meta("three", "", 1)}, "2"))
	expect("gone while nobody watched", 0, 0, 0)
	if len(f.index.follows)+len(f.index.by)+len(c.known) != 0 {
		t.Errorf("left behind: %v, %v, %v", f.index.follows, f.index.by, c.known)
	}
	must(c.Add(meta("five", "nonsense", 1)))
	expect("a bad annotation is looked at once", 0, 0, 1)
}

func TestOnlyMovedTagsWakeTheirWorkloads(t *testing.T) {
	f := newFixture(t)
	v1, v2 := workload{"Deployment", "team", "one"}, workload{"CronJob", "team", "two"}
	f.index.set(v1, []tags.StreamTag{{Namespace: "team", Stream: "app", Tag: "v1"}})
	f.index.set(v2, []tags.StreamTag{{Namespace: "team", Stream: "app", Tag: "v2"}})
	state := func(v1, v2 string) *imageapi.ImageStream {
		s := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}, Status: imageapi.ImageStreamStatus{Tags: map[string]imageapi.TagEventList{}}}
		for tag, reference := range map[string]string{"v1": v1, "v2": v2} {
			if reference != "" {
				s.Status.Tags[tag] = imageapi.TagEventList{Items: []imageapi.TagEvent{{DockerImageReference: reference, Image: reference}}}
			}
		}
		return s
	}
	handler := f.onStreams()
	woken := func() []string {
		var all []string
		for range f.queue.Len() {
			w, _ := f.queue.Get()
			f.queue.Done(w)
			all = append(all, w.name)
		}
		slices.Sort(all)
		return all
	}
	for _, test := range []struct {
		name   string
		notify func()
		want   []string
	}{
		{"a stream appears", func() { handler.OnAdd(state("a", ""), false) }, []string{"one"}},
		{"a tag moves", func() { handler.OnUpdate(state("a", "b"), state("a", "c")) }, []string{"two"}},
		{"nothing moves", func() { handler.OnUpdate(state("a", "b"), state("a", "b")) }, nil},
		{"a tag goes away", func() { handler.OnUpdate(state("a", "b"), state("a", "")) }, nil},
		{"both move", func() { handler.OnUpdate(state("a", "b"), state("b", "a")) }, []string{"one", "two"}},
	} {
		test.notify()
		if got := woken(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
