package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	imagefake "image.alauda.io/client-go/clientset/versioned/fake"
	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/plan"
)

var (
	now  = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	long = metav1.NewTime(now.Add(-100 * 24 * time.Hour))
)

func id(letter string) string { return "sha256:" + strings.Repeat(letter, 64) }

func image(letter string, children ...string) *imagev1.Image {
	i := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: id(letter), UID: "uid", ResourceVersion: "7", CreationTimestamp: long}}
	i.DockerImageLayers = []imagev1.ImageLayer{{Name: id("9")}}
	for _, child := range children {
		i.DockerImageManifests = append(i.DockerImageManifests, imagev1.ImageManifest{Digest: id(child)})
	}
	return i
}

func stream(name string, letters ...string) *imagev1.ImageStream {
	s := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: long, ResourceVersion: "5"}}
	tag := imagev1.NamedTagEventList{Tag: "v1"}
	for _, letter := range letters {
		tag.Items = append(tag.Items, imagev1.TagEvent{Created: long, Image: id(letter)})
	}
	s.Status.Tags = []imagev1.NamedTagEventList{tag}
	return s
}

type fixture struct {
	*run
	kube        *kubefake.Clientset
	kinds       *kinds
	image       *imagefake.Clientset
	out, errors bytes.Buffer
	last        []byte
}

// newFixture is a cluster whose stream app has revisions a to d and whose image e is in no stream.
func newFixture(t *testing.T, change func(*options.Options), kubeObjects ...runtime.Object) *fixture {
	t.Helper()
	f := &fixture{kube: kubefake.NewClientset(kubeObjects...), kinds: &kinds{}}
	f.image = imagefake.NewClientset(stream("app", "a", "b", "c", "d"), image("a"), image("b"), image("c"), image("d"), image("e"))
	opts := options.Defaults()
	opts.KeepTagRevisions = 2
	opts.RetryDelay = 0
	change(&opts)
	if err := opts.Validate(); err != nil {
		t.Fatal(err)
	}
	f.kube.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		review.Status.Allowed = true
		return true, review, nil
	})
	f.run = &run{Options: opts, clients: clients{kube: f.kube, image: f.image, api: f.kinds, objects: f.kinds}, clock: steppingClock{clocktesting.NewFakeClock(now)},
		stdout: &f.out, stderr: &f.errors, termination: func(text []byte) { f.last = text }}
	return f
}

func confirm(o *options.Options) { o.Confirm = true }

// code runs all attempts and returns the exit code.
func (f *fixture) code() int {
	ctx := context.Background()
	return exitCode(ctx, f.attempts(ctx))
}

// changes lists the mutating requests.
func (f *fixture) changes() []string {
	var out []string
	for _, action := range append(f.kube.Actions(), f.image.Actions()...) {
		switch verb := action.GetVerb(); {
		case verb == "get", verb == "list", verb == "watch", action.GetResource().Resource == "selfsubjectaccessreviews":
		case verb == "delete":
			out = append(out, "delete "+action.(clienttesting.DeleteAction).GetName()[7:8])
		default:
			out = append(out, verb+" "+action.GetResource().Resource+"/"+action.GetSubresource())
		}
	}
	return out
}

// Behaviours 1, 7 and 8.
func TestDryRunChangesNothing(t *testing.T) {
	f := newFixture(t, func(*options.Options) {})
	if code := f.code(); code != 0 || len(f.changes()) != 0 {
		t.Fatalf("exit %d, changes %v", code, f.changes())
	}
	want := fmt.Sprintf(`would-delete	tag-revision	ns/app:v1@%s	revision=2 age=100d reason=old and unused
would-delete	tag-revision	ns/app:v1@%s	revision=3 age=100d reason=old and unused
would-delete	image	%s	size=0 reason=in no stream and unused
would-delete	image	%s	size=0 reason=in no stream and unused
would-delete	image	%s	size=0 reason=in no stream and unused
Summary: would delete 3 images, 2 tag revisions, would update 1 image streams
`, id("c"), id("d"), id("c"), id("d"), id("e"))
	if f.out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", f.out.String(), want)
	}
	if !strings.HasPrefix(f.errors.String(), "Dry run") {
		t.Errorf("stderr begins with %q", f.errors.String())
	}
}

// Behaviours 6 and 8.
func TestConfirmedRunDoesWhatTheDryRunSaid(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { confirm(o); o.NumWorkers = 1 })
	if code := f.code(); code != 0 {
		t.Fatalf("exit %d: %s", code, f.errors.String())
	}
	if got := fmt.Sprint(f.changes()); got != "[update imagestreams/status delete c delete d delete e]" {
		t.Errorf("changes %s", got)
	}
	for _, action := range f.image.Actions() {
		if remove, ok := action.(clienttesting.DeleteActionImpl); ok {
			conditions := remove.DeleteOptions.Preconditions
			if conditions == nil || *conditions.UID != "uid" || *conditions.ResourceVersion != "7" {
				t.Errorf("delete %s without the preconditions of the snapshot", remove.Name)
			}
		}
	}
	var message struct {
		Result              string
		ImagesDeleted       int `json:"imagesDeleted"`
		TagRevisionsDeleted int `json:"tagRevisionsDeleted"`
	}
	if err := json.Unmarshal(f.last, &message); err != nil || message.Result != "Succeeded" || message.ImagesDeleted != 3 || message.TagRevisionsDeleted != 2 {
		t.Errorf("termination message %s: %v", f.last, err)
	}
	again := &run{Options: f.Options, clients: f.clients, clock: f.clock, stdout: &bytes.Buffer{}, stderr: &f.errors, termination: f.termination}
	again.Confirm = false
	out := &bytes.Buffer{}
	again.stdout = out
	if err := again.attempts(context.Background()); err != nil || out.String() != "Summary: nothing to prune\n" {
		t.Errorf("afterwards: %q, %v", out.String(), err)
	}
}

// Behaviour 19.
func TestInvalidReferenceRefusesToRun(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "bad"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "h.x/ns/app :v1"}}}}
	f := newFixture(t, confirm, pod)
	if code := f.code(); code != 3 || len(f.changes()) != 0 || !strings.Contains(f.errors.String(), "x/bad") {
		t.Errorf("exit %d, changes %v, stderr %q", code, f.changes(), f.errors.String())
	}
	f = newFixture(t, func(o *options.Options) { o.Confirm, o.IgnoreInvalidRefs = true, true }, pod)
	if code := f.code(); code != 0 || fmt.Sprint(f.changes()) != "[delete e]" {
		t.Errorf("ignoring: exit %d, changes %v, want the mentioned stream untouched", code, f.changes())
	}
}

// Behaviour 17.
func TestKnownHosts(t *testing.T) {
	using := func(host string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "user"}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Image: host + "/ns/app@" + id("d")}}}}
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "image-registry-system", Name: "image-registry"},
		Spec: corev1.ServiceSpec{ClusterIP: "198.18.0.7", ExternalIPs: []string{"198.18.0.8"}}}
	config := &imageregistryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}}
	config.Spec.Routes = []imageregistryv1.RouteSpec{{Hostname: "route.example.test"}}
	config.Status.ExternalRegistryHostnames = []string{"external.example.test"}
	for host, protects := range map[string]bool{
		"198.18.0.7:5000": true, "198.18.0.8:5000": true, "route.example.test:443": true, "external.example.test": true,
		"flag.example.test": true, "stream.example.test": true, "quay.io": false,
	} {
		f := newFixture(t, func(o *options.Options) { o.MatchHosts, o.RegistryHosts = "known", []string{"flag.example.test"} }, service, using(host))
		object := stream("app", "a", "b", "c", "d")
		object.Status.PublicDockerImageRepository = "stream.example.test/ns/app"
		f.image = imagefake.NewClientset(config, object, image("a"), image("b"), image("c"), image("d"))
		f.clients.image = f.image
		if code := f.code(); code != 0 || strings.Contains(f.out.String(), id("d")) == protects {
			t.Errorf("%s: exit %d, want protection %t\n%s", host, code, protects, f.out.String())
		}
	}
	f := newFixture(t, func(o *options.Options) { o.MatchHosts = "known" })
	f.kube.PrependReactor("get", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("services"), "image-registry", nil)
	})
	if code := f.code(); code != 3 || f.out.Len() != 0 {
		t.Errorf("names unknown: exit %d, printed %q", code, f.out.String())
	}
}

// Behaviour 9 and 10.
func TestUnlistableRootIsExit3AndRetried(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { o.Confirm, o.Retries = true, 2 })
	lists := 0
	f.kube.PrependReactor("list", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		lists++
		return true, nil, apierrors.NewForbidden(corev1.Resource("statefulsets"), "", nil)
	})
	if code := f.code(); code != 3 || len(f.changes()) != 0 || lists != 3 {
		t.Errorf("exit %d, changes %v, %d attempts", code, f.changes(), lists)
	}
}

// Behaviour 58.
func TestMissingPermissionsAreExit4(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { o.Confirm, o.Retries = true, 3 })
	reviews := 0
	f.kube.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		reviews++
		return true, action.(clienttesting.CreateAction).GetObject(), nil
	})
	err := f.attempts(context.Background())
	if exitCode(context.Background(), err) != 4 || len(f.changes()) != 0 || reviews > 20 {
		t.Fatalf("error %v, changes %v, %d reviews", err, f.changes(), reviews)
	}
	for _, want := range []string{"delete images.image.alauda.io", "update imagestreams/status.image.alauda.io", "list cronjobs.batch"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}

func TestGuards(t *testing.T) {
	tests := map[string]struct {
		change func(*options.Options)
		object runtime.Object
		want   int
	}{
		"share":                          {change: func(o *options.Options) { o.MaxDeletePercent = 50 }, want: 4},
		"share allows":                   {change: func(o *options.Options) { o.MaxDeletePercent = 60 }, want: 0},
		"prune registry without a token": {change: func(o *options.Options) { o.PruneRegistry = true }, want: 2},
		"configuration given up": {change: func(o *options.Options) { o.ConfigMap = "" }, want: 0,
			object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "image-registry-system", Name: "image-pruner-config"}}},
		"configuration elsewhere without its key": {change: func(o *options.Options) { o.ConfigMap = "a/b" }, want: 2,
			object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}},
		"configuration without its key": {change: func(*options.Options) {}, want: 2,
			object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "image-registry-system", Name: "image-pruner-config"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var objects []runtime.Object
			if test.object != nil {
				objects = append(objects, test.object)
			}
			f := newFixture(t, func(o *options.Options) { confirm(o); test.change(o) }, objects...)
			if code := f.code(); code != test.want || (code != 0 && len(f.changes()) != 0) {
				t.Errorf("exit %d, want %d; changes %v", code, test.want, f.changes())
			}
		})
	}
}

// Behaviours 29, 30, 31 and 32.
func TestWritesOfStreams(t *testing.T) {
	conflict := apierrors.NewConflict(imagev1.Resource("imagestreams"), "app", nil)
	forbidden := apierrors.NewForbidden(imagev1.Resource("imagestreams"), "app", nil)
	missing := apierrors.NewNotFound(imagev1.Resource("imagestreams"), "app")
	tests := []struct {
		name    string
		err     error
		times   int
		want    int
		deletes string
	}{
		{"conflict once", conflict, 1, 0, "cde"},
		{"conflict always", conflict, 99, 1, "e"},
		{"forbidden", forbidden, 99, 1, "e"},
		{"gone", missing, 99, 0, "abcde"},
		{"a 404 of something before the Image API", apierrors.NewGenericServerResponse(404, "put", imagev1.Resource("imagestreams"), "app", "404 page not found", 0, true), 99, 1, "e"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, confirm)
			left := test.times
			f.image.PrependReactor("update", "imagestreams", func(clienttesting.Action) (bool, runtime.Object, error) {
				left--
				return left >= 0, nil, test.err
			})
			code := f.code()
			deletes := ""
			for _, change := range f.changes() {
				if letter, found := strings.CutPrefix(change, "delete "); found {
					deletes += letter
				}
			}
			if code != test.want || sorted(deletes) != test.deletes {
				t.Errorf("exit %d, deleted %q, want %d, %q", code, deletes, test.want, test.deletes)
			}
		})
	}
}

// For a moment an API server may not know the group: that does not free the images of a stream.
func TestAStreamIsGoneOnlyWhenTheImageAPISaysSo(t *testing.T) {
	f := newFixture(t, confirm)
	f.image.PrependReactor("get", "imagestreams", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewGenericServerResponse(404, "get", imagev1.Resource("imagestreams"), "app", "404 page not found", 0, true)
	})
	if code := f.code(); code != 1 || fmt.Sprint(f.changes()) != "[delete e]" {
		t.Errorf("exit %d, changes %v, want 1 and only the image that no stream lists deleted", code, f.changes())
	}
	f = newFixture(t, confirm)
	f.image.PrependReactor("get", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewGenericServerResponse(404, "get", imagev1.Resource("images"), "z", "404 page not found", 0, true)
	})
	if got := f.lookup(t.Context())(id("z")); got != plan.Unsure {
		t.Errorf("an image that nobody could look up is %v, want unsure", got)
	}
}

// Behaviour 29: a stream that somebody else writes all the time is decided again without asking again about images
// that were found.
func TestAnImageThatWasFoundIsNotAskedForAgain(t *testing.T) {
	f := newFixture(t, confirm)
	asked := 0
	f.image.PrependReactor("get", "images", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		return false, nil, nil
	})
	ask := f.lookup(t.Context())
	for range 3 {
		if ask(id("a")) != plan.Present || ask(id("z")) != plan.Absent {
			t.Error("a is there and z is not")
		}
	}
	if asked != 4 {
		t.Errorf("%d requests, want one about a, and three about z, which somebody may push", asked)
	}
}

// steppingClock never makes a test wait.
type steppingClock struct{ *clocktesting.FakeClock }

func (c steppingClock) After(time.Duration) <-chan time.Time {
	ready := make(chan time.Time, 1)
	ready <- c.Now()
	return ready
}

func sorted(text string) string {
	letters := strings.Split(text, "")
	for i := range letters {
		for j := i; j > 0 && letters[j] < letters[j-1]; j-- {
			letters[j], letters[j-1] = letters[j-1], letters[j]
		}
	}
	return strings.Join(letters, "")
}

// Behaviours 39 and 41.
func TestConflictOnAnIndexSparesItsChildren(t *testing.T) {
	f := newFixture(t, confirm)
	f.image = imagefake.NewClientset(image("a", "b"), image("b"), image("c"))
	f.clients.image = f.image
	refusal := error(apierrors.NewConflict(imagev1.Resource("images"), "a", nil))
	f.image.PrependReactor("delete", "images", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.DeleteAction).GetName() == id("a") {
			return true, nil, refusal
		}
		return false, nil, nil
	})
	if code := f.code(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := fmt.Sprint(f.changes()); got != "[delete a delete c]" {
		t.Errorf("changes %s, want the child left alone", got)
	}
	if !strings.Contains(f.out.String(), "skipped 2") {
		t.Errorf("printed %s", f.out.String())
	}
	// Nor does a 404 of something before the Image API delete the index.
	refusal = apierrors.NewGenericServerResponse(404, "delete", imagev1.Resource("images"), "a", "404 page not found", 0, true)
	f.image.ClearActions()
	if code := f.code(); code != 1 || fmt.Sprint(f.changes()) != "[delete a]" {
		t.Errorf("exit %d, changes %v, want 1 and the child left alone", code, f.changes())
	}
}

// Behaviour 43.
func TestNamespaceDeletesNoImages(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { o.Confirm, o.Namespace = true, "ns" })
	if code := f.code(); code != 0 || fmt.Sprint(f.changes()) != "[update imagestreams/status]" {
		t.Errorf("exit %d, changes %v", code, f.changes())
	}
}

// Behaviour 8.
func TestDocumentForms(t *testing.T) {
	for _, format := range []string{"json", "yaml", "jsonl"} {
		f := newFixture(t, func(o *options.Options) { o.Output = format })
		if code := f.code(); code != 0 || !strings.Contains(f.out.String(), "PruneReport") {
			t.Errorf("%s: exit %d, %s", format, code, f.out.String())
		}
	}
}

// Behaviour 9.
func TestExitCodesOfUsageAndSignals(t *testing.T) {
	for line, want := range map[string]int{
		"version": 0, "": 0, "--help": 0, "images --help": 0, "nonsense": 2, "images extra": 2,
		"images --keep-tag-revisions=-1": 2, "images --no-such-flag": 2, "images --kubeconfig=/does/not/exist": 2,
	} {
		var out, errs bytes.Buffer
		if got := Run(context.Background(), strings.Fields(line), &out, &errs); got != want {
			t.Errorf("pruner %s: exit %d, want %d: %s", line, got, want, errs.String())
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("interrupt signal received"))
	f := newFixture(t, confirm)
	if code := exitCode(ctx, f.attempts(ctx)); code != 130 {
		t.Errorf("interrupted: exit %d", code)
	}
}
