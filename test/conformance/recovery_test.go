package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/recovery"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// recovered is what a run of recovery did and said.
type recovered struct {
	recovery.Summary
	text string
	err  error
}

// recover runs recovery on the storage and the API of a registry.
func (e *env) recover(mode recovery.Mode, namespace ...string) recovered {
	e.t.Helper()
	storage, err := store.New(e.t.Context(), e.driver, store.Options{ReadOnly: mode != recovery.Recover, Now: e.clock.Now})
	if err != nil {
		e.t.Fatal(err)
	}
	var output, progress bytes.Buffer
	run, err := recovery.New(recovery.Options{
		Mode: mode, Namespace: strings.Join(namespace, ""), ServerAddr: serverAddr, Store: storage, API: e.api, Metadata: e.api,
		Output: &output, Progress: &progress, Now: e.clock.Now, Wait: noWait,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	summary, err := run.Run(e.t.Context())
	return recovered{summary, output.String(), err}
}

// want checks how many problems were found and how many are left.
func (r recovered) want(t *testing.T, problems, left int, texts ...string) {
	t.Helper()
	if r.err != nil || r.Problems != problems || r.Left() != left {
		t.Errorf("found %d problems, %d are left, want %d and %d; error %v\n%s", r.Problems, r.Left(), problems, left, r.err, r.text)
	}
	for _, text := range texts {
		if !strings.Contains(r.text, text) {
			t.Errorf("nothing says %q:\n%s", text, r.text)
		}
	}
}

// tagsOf is what the stream of a repository shows now, `tag=digest`.
func (e *env) tagsOf(name route.Name) []string {
	e.t.Helper()
	stream, err := e.api.Stream(e.t.Context(), name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		e.t.Fatal(err)
	}
	var tags []string
	for _, tag := range stream.Status.Tags {
		tags = append(tags, tag.Tag+"="+tag.Items[0].Image)
	}
	return tags
}

// pulls checks that a manifest is served under a reference with all that it consists of.
func (e *env) pulls(repo, reference string, raw []byte) {
	e.t.Helper()
	got := e.get("/v2/" + repo + "/manifests/" + reference).want(200)
	if !bytes.Equal(got.body, raw) {
		e.t.Errorf("%s:%s has other bytes", repo, reference)
	}
	for _, d := range blobDigests(e.t, raw) {
		e.get("/v2/" + repo + "/blobs/" + d).want(200)
	}
}

// blobDigests are the config and the layers of an image.
func blobDigests(t testing.TB, raw []byte) []string {
	t.Helper()
	_, blobs := named(t, raw)
	return blobs
}

func parsedManifest(t testing.TB, raw []byte) *manifest.Manifest {
	t.Helper()
	parsed, err := manifest.Parse(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func noWait(context.Context, time.Duration) error { return nil }

// files is the content of a storage.
func files(t *testing.T, storage driver.StorageDriver) map[string]string {
	t.Helper()
	content := map[string]string{}
	err := storage.Walk(t.Context(), "/", func(info driver.FileInfo) error {
		if info.IsDir() {
			return nil
		}
		raw, err := storage.GetContent(t.Context(), info.Path())
		content[info.Path()] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

var teamApp = route.Name{Namespace: "team", Stream: "app"}

// Behaviour 87: everything of the image API is lost.
func TestRecoverStreamsFromTheStorage(t *testing.T) {
	storage := inmemory.New()
	before := startOn(t, storage)
	first := before.pushImage("team/app", "v1", "one")
	second := before.pushImage("team/app", "v1", "two")
	before.putManifest("team/app", "stable", second, ociManifest).want(201)
	child := before.image("team/app", "child")
	before.putManifest("team/app", digestOf(child), child, ociManifest).want(201)
	index := indexOf(child)
	before.putManifest("team/app", "multi", index, ociIndex).want(201)
	subject := before.pushImage("team/app", "signed", "signed")
	referrer := before.image("team/app", "referrer", fmt.Sprintf(`"subject":%s,`, descriptor(ociManifest, subject)))
	before.putManifest("team/app", digestOf(referrer), referrer, ociManifest).want(201)

	e := startOn(t, storage)
	e.get("/v2/team/app/manifests/v1").want(404)
	unchanged := files(t, storage)
	e.recover(recovery.Check).want(t, 6, 6, "recover would tag it stable, v1", "recover would tag it lost-found-"+strings.TrimPrefix(digestOf(first), "sha256:"), "there is no image stream")
	if !maps.Equal(unchanged, files(t, storage)) || e.api.Calls("CreateStream")+e.api.Calls("CreateMapping")+e.api.Calls("CreateImage") > 0 {
		t.Error("the check has written something")
	}

	e.recover(recovery.Recover).want(t, 6, 0)
	lost := "lost-found-" + strings.TrimPrefix(digestOf(first), "sha256:")
	want := []string{lost + "=" + digestOf(first), "multi=" + digestOf(index), "signed=" + digestOf(subject), "stable=" + digestOf(second), "v1=" + digestOf(second)}
	if got := e.tagsOf(teamApp); !slices.Equal(got, want) {
		t.Errorf("tags are %v, want %v", got, want)
	}
	for reference, raw := range map[string][]byte{lost: first, "v1": second, "stable": second, "multi": index, digestOf(child): child, "signed": subject, digestOf(referrer): referrer} {
		e.pulls("team/app", reference, raw)
	}
	if list := e.get("/v2/team/app/referrers/" + digestOf(subject)).want(200); !strings.Contains(string(list.body), digestOf(referrer)) {
		t.Errorf("the referrer is not listed: %s", list.body)
	}
	// What a push had recorded is what recovery records.
	for _, raw := range [][]byte{first, second, child, subject, referrer} {
		was, err := before.api.Image(t.Context(), digestOf(raw))
		if err != nil {
			t.Fatal(err)
		}
		is, err := e.api.Image(t.Context(), digestOf(raw))
		if err != nil {
			t.Fatal(err)
		}
		if string(was.DockerImageMetadata.Raw) != string(is.DockerImageMetadata.Raw) || !maps.Equal(was.Annotations, is.Annotations) || was.DockerImageReference != is.DockerImageReference {
			t.Errorf("image %s was\n%s\n%v and is\n%s\n%v", is.Name, was.DockerImageMetadata.Raw, was.Annotations, is.DockerImageMetadata.Raw, is.Annotations)
		}
	}
	again := e.api.Calls("CreateMapping")
	e.recover(recovery.Recover).want(t, 0, 0)
	if e.api.Calls("CreateMapping") != again {
		t.Error("the second run has written tags")
	}
}

// Behaviour 87: a storage of the stock server is adopted with its tags.
func TestRecoverAdoptsTheStorageOfAStockServer(t *testing.T) {
	directory := t.TempDir()
	stock := secondregistry.Start(t, secondregistry.Options{Directory: directory})
	one := stock.PushImage(t, "team/app", "v1", secondregistry.Image{Seed: "one"})
	two := stock.PushImage(t, "team/app", "v2", secondregistry.Image{Seed: "two", Docker: true})
	arm := stock.PushImage(t, "team/app", "", secondregistry.Image{Platform: imagespec.Platform{OS: "linux", Architecture: "arm64"}})
	multi := stock.PushIndex(t, "team/app", "multi", arm, one)
	signature := stock.PushArtifact(t, "team/app", "", "application/x.test", []byte("signature"), &one)
	stock.PushImage(t, "single", "v1", secondregistry.Image{})
	stock.PushImage(t, "a/b/c", "v1", secondregistry.Image{})
	stock.PushImage(t, "gone/app", "v1", secondregistry.Image{})

	e := startOn(t, filesystem.New(filesystem.DriverParameters{RootDirectory: directory, MaxThreads: 100}))
	result := e.recover(recovery.Recover)
	result.want(t, 8, 3, "single: the name is not", "a/b/c: the name is not", "namespace gone: it does not exist")
	want := []string{"multi=" + multi.Digest.String(), "v1=" + one.Digest.String(), "v2=" + two.Digest.String()}
	if got := e.tagsOf(teamApp); !slices.Equal(got, want) {
		t.Errorf("tags are %v, want %v", got, want)
	}
	for reference, d := range map[string]imagespec.Descriptor{"v1": one, "v2": two, "multi": multi, arm.Digest.String(): arm, signature.Digest.String(): signature} {
		e.pulls("team/app", reference, stock.Manifest(t, "team/app", d.Digest))
	}
	if list := e.get("/v2/team/app/referrers/" + one.Digest.String()).want(200); !strings.Contains(string(list.body), signature.Digest.String()) {
		t.Errorf("the signature is not listed: %s", list.body)
	}
	e.recover(recovery.Recover).want(t, 3, 3)
}

// Behaviour 87: what is missing in the storage is reported, each by its name.
func TestDatabaseCheckReportsMissingContent(t *testing.T) {
	e := start(t)
	gone, whole := e.pushImage("team/app", "gone", "gone"), e.pushImage("team/app", "whole", "whole")
	truncated := e.pushImage("team/app", "short", "short")
	path := func(d string) string {
		hex := strings.TrimPrefix(d, "sha256:")
		return "/docker/registry/v2/blobs/sha256/" + hex[:2] + "/" + hex
	}
	config, layer := blobDigests(t, gone)[0], blobDigests(t, gone)[1]
	for _, d := range []string{config, layer, digestOf(whole)} {
		if err := e.driver.Delete(t.Context(), path(d)); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.driver.PutContent(t.Context(), path(blobDigests(t, truncated)[1])+"/data", []byte("x")); err != nil {
		t.Fatal(err)
	}
	e.api.AddImage(&imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: "nonsense"}})
	stream, err := e.api.Stream(t.Context(), teamApp)
	if err != nil {
		t.Fatal(err)
	}
	stream.Status.Tags = append(stream.Status.Tags,
		imagev1.NamedTagEventList{Tag: "x-bad", Items: []imagev1.TagEvent{{Image: "sha256:bad"}}},
		imagev1.NamedTagEventList{Tag: "x-missing", Items: []imagev1.TagEvent{{Image: digestOf([]byte("nobody"))}}})
	e.api.AddStream(stream)
	result := e.recover(recovery.CheckDatabase)
	result.want(t, 7, 7, "config "+config+" is missing", "layer "+layer+" is missing", "its manifest is missing", "has 1 bytes in the storage and not",
		"image nonsense: the name is not", `x-bad: its history names "sha256:bad"`, "x-missing: its history names "+digestOf([]byte("nobody"))+", but there is no such Image")
	e.recover(recovery.CheckDatabase, "elsewhere").want(t, 0, 0)
	e.recover(recovery.CheckDatabase, "team").want(t, 6, 6)
}

// Behaviour 87: Images and annotations come back where the storage proves them.
func TestRecoverRepairsImagesAndAnnotations(t *testing.T) {
	e := start(t)
	lost, stripped := e.pushImage("team/app", "lost", "lost"), e.pushImage("team/app", "stripped", "stripped")
	e.api.DeleteImage(digestOf(lost))
	image, err := e.api.Image(t.Context(), digestOf(stripped))
	if err != nil {
		t.Fatal(err)
	}
	complete := maps.Clone(image.Annotations)
	image.Annotations = map[string]string{"mine": "kept"}
	e.api.AddImage(image)
	// An imported image says nothing of this registry, and stays as it is.
	imported := image.DeepCopy()
	imported.Name, imported.DockerImageReference = digestOf([]byte("imported")), "quay.io/a/b@"+digestOf([]byte("imported"))
	e.api.AddImage(imported)

	e.recover(recovery.Check).want(t, 3, 3, "it lacks annotations")
	e.recover(recovery.Recover).want(t, 2, 0)
	e.pulls("team/app", "lost", lost)
	if _, err := e.api.Image(t.Context(), digestOf(lost)); err != nil {
		t.Error(err)
	}
	image, err = e.api.Image(t.Context(), digestOf(stripped))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation, imagev1.ImageConfigDigestAnnotation} {
		if image.Annotations[key] != complete[key] {
			t.Errorf("annotation %s is %q, want %q", key, image.Annotations[key], complete[key])
		}
	}
	if image.Annotations["mine"] != "kept" {
		t.Error("an annotation of somebody else is gone")
	}
	if kept, err := e.api.Image(t.Context(), imported.Name); err != nil || len(kept.Annotations) != 1 {
		t.Errorf("the imported image is %v, error %v", kept, err)
	}
	e.recover(recovery.Recover).want(t, 0, 0)
}

// A tag that exists has the last word, whatever the storage notes.
// Behaviour 87.
func TestRecoverLeavesTagsThatExist(t *testing.T) {
	storage := inmemory.New()
	before := startOn(t, storage)
	old := before.pushImage("team/app", "v1", "old")
	e := startOn(t, storage)
	image := e.image("team/app", "new")
	if err := e.api.CreateStream(t.Context(), &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}}); err != nil {
		t.Fatal(err)
	}
	err := e.api.CreateMapping(t.Context(), &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}, Tag: "v1",
		Image: imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: digestOf(image)}, DockerImageReference: "quay.io/a/b@" + digestOf(image)},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.recover(recovery.Recover).want(t, 1, 0, "lost-found-")
	want := []string{"lost-found-" + strings.TrimPrefix(digestOf(old), "sha256:") + "=" + digestOf(old), "v1=" + digestOf(image)}
	if got := e.tagsOf(teamApp); !slices.Equal(got, want) {
		t.Errorf("tags are %v, want %v", got, want)
	}
}

// A push by digest that nobody tagged is no loss, and recovery gives it no tag.
func TestRecoverLeavesPushesByDigest(t *testing.T) {
	e := start(t)
	e.pushImage("team/app", "v1", "one")
	raw := e.image("team/app", "untagged")
	e.putManifest("team/app", digestOf(raw), raw, ociManifest).want(201)
	e.recover(recovery.Recover).want(t, 0, 0)
}

// What a linked manifest names must be linked in its repository, too.
// Behaviour 87.
func TestRecoverOpensNothingOfOthers(t *testing.T) {
	storage := inmemory.New()
	before := startOn(t, storage)
	secret := []byte("layer of elsewhere")
	before.pushBlob("elsewhere/app", secret, otherToken)
	theirs := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, []byte(`{}`)), descriptor(ociLayer, secret)))
	before.pushBlob("elsewhere/app", []byte(`{}`), otherToken)
	before.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: theirs, header: map[string]string{"Content-Type": ociManifest}, token: otherToken}).want(201)

	before.pushBlob("team/app", []byte(`{}`))
	e := startOn(t, storage)
	plant := func(raw []byte, tag string) {
		t.Helper()
		hex := strings.TrimPrefix(digestOf(raw), "sha256:")
		for path, content := range map[string]string{
			"/docker/registry/v2/blobs/sha256/" + hex[:2] + "/" + hex + "/data":                             string(raw),
			"/docker/registry/v2/repositories/team/app/_manifests/revisions/sha256/" + hex + "/link":        digestOf(raw),
			"/docker/registry/v2/repositories/team/app/_manifests/tags/" + tag + "/current/link":            digestOf(raw),
			"/docker/registry/v2/repositories/team/app/_manifests/tags/no-link-" + tag + "/current/link":    digestOf(theirs),
			"/docker/registry/v2/repositories/team/app/_manifests/revisions/sha256/" + nines(tag) + "/link": digestOf(theirs),
		} {
			if err := storage.PutContent(t.Context(), path, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	stolen := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s],"annotations":{"a":"b"}}`, ociManifest, descriptor(ociConfig, []byte(`{}`)), descriptor(ociLayer, secret)))
	plant(stolen, "blob")
	plant(indexOf(theirs), "child")
	plant(indexOf(stolen), "nested")
	result := e.recover(recovery.Recover, "team")
	result.want(t, 9, 9, digestOf(secret)+" is not linked in this repository", "its child "+digestOf(theirs)+" is not linked", "the link leads to another digest", "which is not linked in the repository")
	if got := e.tagsOf(teamApp); got != nil {
		t.Errorf("tags %v were made", got)
	}
	e.get("/v2/team/app/blobs/" + digestOf(secret)).want(404)
	e.get("/v2/team/app/manifests/" + digestOf(theirs)).want(404)
}

// nines is a digest that is nobody's.
func nines(seed string) string {
	return strings.TrimPrefix(digestOf([]byte("link of "+seed)), "sha256:")
}

// Behaviour 87.
func TestRecoverReportsWhatQuotasRefuseAndGoesOn(t *testing.T) {
	storage := inmemory.New()
	before := startOn(t, storage)
	before.pushImage("team/app", "v1", "one")
	before.pushImage("team/other", "v1", "two")
	e := startOn(t, storage)
	refusals := 0
	e.api.Fail(func(call string) error {
		if call != "CreateMapping" {
			return nil
		}
		if refusals++; refusals > 1 {
			return nil
		}
		return apierrors.NewForbidden(schema.GroupResource{Group: imagev1.GroupName, Resource: "imagestreammappings"}, "app", errors.New("exceeded quota: small, requested: alauda.io/images=1"))
	})
	e.recover(recovery.Recover).want(t, 2, 1, "exceeded quota: small")
	if e.tagsOf(route.Name{Namespace: "team", Stream: "other"}) == nil {
		t.Error("the second repository was not recovered")
	}
	// An API that is away ends the run, and the next one goes on.
	e.api.Fail(func(string) error { return apierrors.NewInternalError(errors.New("away")) })
	if result := e.recover(recovery.Recover); result.err == nil {
		t.Error("no error although the image API is away")
	}
	e.api.Fail(nil)
	e.recover(recovery.Recover).want(t, 1, 0)
}

// Behaviour 87: a run may end after any write, and the next one completes it.
func TestRecoverAfterAnInterruptedRecover(t *testing.T) {
	for stop := 1; ; stop++ {
		storage := inmemory.New()
		before := startOn(t, storage)
		image := before.pushImage("team/app", "a", "one")
		before.putManifest("team/app", "b", image, ociManifest).want(201)
		child := before.image("team/app", "child")
		before.putManifest("team/app", digestOf(child), child, ociManifest).want(201)
		before.putManifest("team/app", "multi", indexOf(child), ociIndex).want(201)
		want := before.tagsOf(teamApp)
		e := startOn(t, storage)
		writes := 0
		e.api.Fail(func(call string) error {
			if strings.HasPrefix(call, "Create") || call == "AnnotateImage" {
				if writes++; writes >= stop {
					return apierrors.NewInternalError(errors.New("killed"))
				}
			}
			return nil
		})
		interrupted := e.recover(recovery.Recover).err
		e.api.Fail(nil)
		if result := e.recover(recovery.Recover); result.err != nil || result.Left() > 0 {
			t.Fatalf("after write %d: %v\n%s", stop, result.err, result.text)
		}
		if got := e.tagsOf(teamApp); !slices.Equal(got, want) {
			t.Errorf("after write %d: tags are %v, want %v", stop, got, want)
		}
		e.pulls("team/app", digestOf(child), child)
		if interrupted == nil {
			if stop < 4 {
				t.Errorf("only %d writes", stop)
			}
			return
		}
	}
}

var _ recovery.Metadata = &imageapitest.API{}
