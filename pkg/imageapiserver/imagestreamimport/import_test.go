package imagestreamimport_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	registryrest "k8s.io/apiserver/pkg/registry/rest"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// Behaviour 35.
func TestImagesAreRecordedByTagAndByDigest(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	w.images[hub+":v1"] = index("list", "amd64", "arm64")
	byDigest := hub + "@" + grouptest.Digest("second")
	w.images[byDigest] = image("second")
	untagged := hub + "@" + grouptest.Digest("third")
	w.images[untagged] = image("third")

	answer := send(t, env, request("app", from(hub+":v1", ""), from(byDigest, "pinned"), from(untagged, "")))
	stream := env.Stream(ns, "app")
	if answer.Status.Import == nil || answer.Status.Import.ResourceVersion != stream.ResourceVersion {
		t.Errorf("the answer has no stored stream: %+v", answer.Status.Import)
	}
	for i, result := range answer.Status.Images {
		if result.Status.Status != metav1.StatusSuccess || result.Image == nil {
			t.Errorf("image %d: %+v", i, result.Status)
		}
	}
	if got := len(answer.Status.Images[0].Manifests); got != 2 {
		t.Errorf("the index is answered with %d children, want 2", got)
	}
	wantEvents := map[string]string{"v1": hub + "@" + grouptest.Digest("list"), "pinned": byDigest}
	if len(stream.Status.Tags) != len(wantEvents) || len(stream.Spec.Tags) != len(wantEvents) {
		t.Errorf("tags are %v and %v, want those of %v", stream.Spec.Tags, stream.Status.Tags, wantEvents)
	}
	for tag, reference := range wantEvents {
		event, spec := head(t, stream, tag), stream.Spec.Tags[tag]
		if event.DockerImageReference != reference || event.Generation != 1 || *spec.Generation != 1 || !event.Created.Time.Equal(env.Clock.Now()) {
			t.Errorf("%s: event %+v with spec generation %d", tag, event, *spec.Generation)
		}
	}
	if got := stream.Spec.Tags["v1"]; got.From.Name != hub+":v1" || got.From.Kind != "DockerImage" || got.ImportPolicy.ImportMode != imageapi.ImportModePreserveOriginal ||
		got.ReferencePolicy.Type != imageapi.SourceTagReferencePolicy {
		t.Errorf("spec tag is %+v", got)
	}
	if stream.Annotations[imagev1.DockerImageRepositoryCheckAnnotation] != env.Clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("annotations are %v", stream.Annotations)
	}
	for _, word := range []string{"list", "amd64", "arm64", "second"} {
		got := stored(env, word)
		if got == nil || got.DockerImageReference != hub+"@"+grouptest.Digest(word) || got.DockerImageManifest != "" ||
			got.Annotations[imagev1.ManagedByAlaudaAnnotation] != "" || got.Annotations[imagev1.ImageManifestBlobStoredAnnotation] != "" {
			t.Errorf("stored image %s is %+v", word, got)
		}
	}
	if stored(env, "third") != nil {
		t.Error("an image that no tag shows was stored")
	}
}

// Behaviour 35.
func TestPreviewAndDryRunStoreNothing(t *testing.T) {
	for name, prepare := range map[string]func(*imagev1.ImageStreamImport) []string{
		"preview": func(r *imagev1.ImageStreamImport) []string { r.Spec.Import = false; return nil },
		"dry run": func(*imagev1.ImageStreamImport) []string { return []string{metav1.DryRunAll} },
	} {
		t.Run(name, func(t *testing.T) {
			env := grouptest.New(t)
			w := newWorld(env)
			w.images[hub+":v1"] = index("list", "amd64")
			r := request("app", from(hub+":v1", ""), from(hub+":absent", ""))
			writes := env.Backend.Writes()
			answer := send(t, env, r, prepare(r)...)
			if got := env.Backend.Writes(); got != writes {
				t.Errorf("%d writes", got-writes)
			}
			if answer.Status.Images[0].Image == nil || answer.Status.Images[1].Status.Code != http.StatusNotFound {
				t.Errorf("statuses are %+v", answer.Status.Images)
			}
			if (answer.Status.Import != nil) != (name == "dry run") {
				t.Errorf("the answer has the stream %v", answer.Status.Import)
			}
		})
	}
}

// Behaviour 36.
func TestRepositoryImportFailsInPart(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	w.tags[hub] = []string{"latest", "2.0", "1.0", "bad tag"}
	w.images[hub+":latest"], w.images[hub+":1.0"] = image("one"), image("two")
	r := request("app")
	r.Spec.Repository = &imagev1.RepositoryImportSpec{From: docker(hub)}
	answer := send(t, env, r)
	repository := answer.Status.Repository
	if repository.Status.Reason != importer.ReasonImportFailed || !strings.Contains(repository.Status.Message, "one of") || len(repository.Images) != 3 {
		t.Errorf("repository status is %+v with %d images", repository.Status, len(repository.Images))
	}
	stream := env.Stream(ns, "app")
	if got := stream.Spec.Tags["1.0"].From.Name; got != hub+":1.0" {
		t.Errorf("the spec tag names %s", got)
	}
	if _, found := stream.Spec.Tags["2.0"]; found {
		t.Error("a tag that failed got a spec tag, although nobody asked for it by name")
	}
	conditions := stream.Status.Tags["2.0"].Conditions
	if len(conditions) != 1 || conditions[0].Reason != "NotFound" || conditions[0].Generation > stream.Generation {
		t.Errorf("conditions of the tag that failed are %+v, the stream has generation %d", conditions, stream.Generation)
	}

	r.Spec.Repository.From.Name = "quay.io/org/absent"
	if got := send(t, env, r).Status.Repository.Status; got.Code != http.StatusNotFound || got.Status != metav1.StatusFailure {
		t.Errorf("a repository that does not exist: %+v", got)
	}
}

// Behaviour 38.
func TestFailuresAreLevels(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	r := request("app", from(hub+":v1", ""))
	send(t, env, r)
	stream := env.Stream(ns, "app")
	condition := stream.Status.Tags["v1"].Conditions[0]
	if condition.Status != corev1.ConditionFalse || condition.Reason != "NotFound" || condition.Message != "not found" || condition.Generation != *stream.Spec.Tags["v1"].Generation {
		t.Fatalf("condition is %+v, spec tag %+v", condition, stream.Spec.Tags["v1"])
	}
	writes := env.Backend.Writes()
	env.Clock.Step(time.Minute)
	send(t, env, r)
	if got := env.Backend.Writes(); got != writes {
		t.Errorf("the same failure again wrote %d times", got-writes)
	}
	w.images[hub+":v1"] = failure(metav1.StatusReasonUnauthorized, http.StatusUnauthorized, "log in")
	send(t, env, r)
	stream = env.Stream(ns, "app")
	if got := stream.Status.Tags["v1"].Conditions; len(got) != 1 || got[0].Message != "log in" || got[0].Generation != *stream.Spec.Tags["v1"].Generation || got[0].Generation != condition.Generation+1 {
		t.Errorf("another failure: %+v", got)
	}
	w.images[hub+":v1"] = image("one")
	send(t, env, r)
	stream = env.Stream(ns, "app")
	if got := stream.Status.Tags["v1"]; len(got.Conditions) != 0 || got.Items[0].Generation != *stream.Spec.Tags["v1"].Generation {
		t.Errorf("after a success: %+v", got)
	}
	writes = env.Backend.Writes()
	env.Clock.Step(time.Hour)
	send(t, env, r)
	if got := env.Backend.Writes(); got != writes {
		t.Errorf("the same image again wrote %d times", got-writes)
	}
}

// Behaviour 41. What the budget cut off is left to the controller: a spec tag
// that is newer than what was observed.
func TestUnfinishedImagesAreLeftToTheController(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	w.images[hub+":done"], w.images[hub+":slow"] = image("one"), timeout()
	answer := send(t, env, request("app", from(hub+":done", ""), from(hub+":slow", "")))
	if got := answer.Status.Images[1].Status; got.Reason != metav1.StatusReasonTimeout || got.Code != http.StatusGatewayTimeout || !strings.Contains(got.Message, "background") {
		t.Errorf("status is %+v", got)
	}
	stream := env.Stream(ns, "app")
	if head(t, stream, "done").Image == "" {
		t.Error("what was finished is not stored")
	}
	spec, list := stream.Spec.Tags["slow"], stream.Status.Tags["slow"]
	if spec.Generation == nil || *spec.Generation != stream.Generation || len(list.Items) != 0 || len(list.Conditions) != 0 {
		t.Errorf("spec tag %+v, status %+v", spec, list)
	}
	preview := request("app", from(hub+":slow", ""))
	preview.Spec.Import = false
	if got := send(t, env, preview).Status.Images[0].Status.Message; strings.Contains(got, "background") {
		t.Errorf("a preview promises: %s", got)
	}
}

// Behaviour 45.
func TestResultsForTagsThatOthersChangedAreDropped(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(grouptest.Stream(ns, "app",
		grouptest.Tag("from", "DockerImage", "", hub+":from"), grouptest.Tag("mode", "DockerImage", "", hub+":mode"),
		grouptest.Tag("removed", "DockerImage", "", hub+":removed"), grouptest.Tag("policy", "DockerImage", "", hub+":policy"),
		grouptest.Tag("same", "DockerImage", "", hub+":same")))
	w := newWorld(env)
	tags := []string{"from", "mode", "removed", "policy", "same", "added"}
	var images []imagev1.ImageImportSpec
	for _, tag := range tags {
		w.images[hub+":"+tag] = image(tag)
		images = append(images, from(hub+":"+tag, ""))
	}
	w.during = func() {
		stream := env.Stream(ns, "app")
		changed := stream.Spec.Tags["from"]
		changed.From.Name = "quay.io/other/app:from"
		stream.Spec.Tags["from"] = changed
		changed = stream.Spec.Tags["mode"]
		changed.ImportPolicy.ImportMode = imageapi.ImportModeLegacy
		stream.Spec.Tags["mode"] = changed
		changed = stream.Spec.Tags["policy"]
		changed.ReferencePolicy.Type = imageapi.LocalTagReferencePolicy
		stream.Spec.Tags["policy"] = changed
		delete(stream.Spec.Tags, "removed")
		stream.Spec.Tags["added"] = grouptest.Tag("added", "DockerImage", "", "quay.io/other/app:added")
		update(t, env, stream)
	}
	answer := send(t, env, request("app", images...))
	stream := env.Stream(ns, "app")
	for i, tag := range tags {
		status := answer.Status.Images[i].Status
		kept := tag == "policy" || tag == "same"
		if kept != (status.Status == metav1.StatusSuccess) || !kept && status.Code != http.StatusConflict {
			t.Errorf("%s: status is %+v", tag, status)
		}
		if kept != (len(stream.Status.Tags[tag].Items) > 0) {
			t.Errorf("%s: history is %+v", tag, stream.Status.Tags[tag])
		}
	}
	if got := stream.Spec.Tags["policy"].ReferencePolicy.Type; got != imageapi.LocalTagReferencePolicy {
		t.Errorf("the reference policy became %s", got)
	}
	if got := stream.Spec.Tags["from"].From.Name; got != "quay.io/other/app:from" {
		t.Errorf("the change of somebody else was lost: %s", got)
	}
}

func update(t *testing.T, env *grouptest.Env, stream *imageapi.ImageStream) {
	t.Helper()
	ctx := env.Request("alice", ns, "imagestreams")
	if _, _, err := env.Streams().Update(ctx, stream.Name, registryrest.DefaultUpdatedObjectInfo(stream), nil, nil, false, &metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestPreconditionsOfTheStream(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	w.images[hub+":v1"] = image("one")
	stream := env.CreateStream(grouptest.Stream(ns, "app"))
	tests := map[string]struct {
		name, uid, version string
		is                 func(error) bool
	}{
		"missing with UID":              {"absent", "u", "", apierrors.IsNotFound},
		"missing with resourceVersion":  {"absent", "", "1", apierrors.IsNotFound},
		"another UID":                   {"app", "u", "", apierrors.IsNotFound},
		"stale resourceVersion":         {"app", "", "9999", apierrors.IsConflict},
		"what it is":                    {"app", string(stream.UID), stream.ResourceVersion, func(err error) bool { return err == nil }},
		"missing without preconditions": {"new", "", "", func(err error) bool { return err == nil }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := request(test.name, from(hub+":v1", ""))
			r.UID, r.ResourceVersion = types.UID(test.uid), test.version
			if _, err := env.CreateImport(env.Request(user, ns, "imagestreamimports"), r); !test.is(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A stream that is deleted meanwhile is not made again.
func TestADeletedStreamStaysDeleted(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	w.images[hub+":v1"] = image("one")
	env.CreateStream(grouptest.Stream(ns, "app"))
	ctx := env.Request("alice", ns, "imagestreams")
	w.during = func() {
		if _, _, err := env.Streams().Delete(ctx, "app", nil, &metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := env.CreateImport(env.Request(user, ns, "imagestreamimports"), request("app", from(hub+":v1", ""))); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want NotFound", err)
	}
}

// The failures of a request that its client left say nothing about images.
func TestACancelledRequestRecordsNothing(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	ctx, cancel := context.WithCancel(env.Request(user, ns, "imagestreamimports"))
	w.during = cancel
	writes := env.Backend.Writes()
	_, err := env.CreateImport(ctx, request("app", from(hub+":v1", "")))
	if err == nil || errors.Is(err, context.DeadlineExceeded) || env.Backend.Writes() != writes {
		t.Errorf("got %v after %d writes", err, env.Backend.Writes()-writes)
	}
}

func TestPreferencesAndPoliciesReachTheImporter(t *testing.T) {
	env := grouptest.New(t)
	w := newWorld(env)
	stream := grouptest.Stream(ns, "app", grouptest.Tag("v1", "DockerImage", "", hub+":v1"))
	tag := stream.Spec.Tags["v1"]
	tag.Annotations = map[string]string{imagev1.ImporterPreferArchAnnotation: "arm64", imagev1.ImporterPreferOSAnnotation: "linux"}
	stream.Spec.Tags["v1"] = tag
	stream.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}
	env.CreateStream(stream)
	r := request("app", from(hub+":v1", ""))
	r.Spec.Images[0].IncludeManifest = true
	r.Spec.Images[0].ImportPolicy = imagev1.TagImportPolicy{Insecure: true, ImportMode: imagev1.ImportModeLegacy}
	r.Spec.Repository = &imagev1.RepositoryImportSpec{From: docker(hub)}
	w.images[hub+":v1"] = image("one")
	send(t, env, r)
	want := importer.Policy{Insecure: true, ImportMode: imageapi.ImportModeLegacy, IncludeManifest: true, Platform: importer.Platform{Arch: "arm64", OS: "linux"}}
	if got := w.last.Items[0].Policy; got != want || !w.last.StreamInsecure {
		t.Errorf("the importer got %+v (stream insecure %t), want %+v", got, w.last.StreamInsecure, want)
	}
	if got := w.last.Repository.Platforms["v1"]; got != want.Platform {
		t.Errorf("the importer got platform %+v for the tag", got)
	}
	got := env.Stream(ns, "app").Spec.Tags["v1"]
	if got.Annotations[imagev1.ImporterPreferArchAnnotation] != "arm64" || !got.ImportPolicy.Insecure {
		t.Errorf("the spec tag became %+v", got)
	}
}
