package membership

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/streams"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var app = route.Name{Namespace: "team", Stream: "app"}

func d(text string) digest.Digest { return digest.FromString(bytesOf(text)) }

// bytesOf is the content that a word stands for: the word, or a manifest.
func bytesOf(text string) string {
	switch text {
	case "local":
		return manifestOf(d("config"), `{"digest":"`+d("layer").String()+`","size":5}`)
	case "mentioning":
		return manifestOf(d("config"), `{"digest":"`+d("secret").String()+`","size":6,"urls":["https://files.test/x"],"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}`)
	}
	return text
}

func manifestOf(config digest.Digest, layers string) string {
	return `{"schemaVersion":2,"config":{"digest":"` + config.String() + `","size":6},"layers":[` + layers + `]}`
}

// answers is an image API that knows one stream; other calls panic, none is expected.
type answers struct {
	imageapi.Client
	stream    *imagev1.ImageStream
	layers    *imagev1.ImageStreamLayers
	streamErr error
	layersErr error

	streamCalls, layersCalls int
}

func (a *answers) Stream(context.Context, route.Name) (*imagev1.ImageStream, error) {
	a.streamCalls++
	return a.stream, a.streamErr
}

func (a *answers) Layers(context.Context, route.Name) (*imagev1.ImageStreamLayers, error) {
	a.layersCalls++
	return a.layers, a.layersErr
}

// fixture is a stream with a pushed image "local", an index "index" with the child "child", and an imported
// image "imported" whose author named the blob "secret" of another repository.
type fixture struct {
	*Scope
	api   *answers
	store *store.Store
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	opened, err := store.OpenDriver(t.Context(), "inmemory", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := store.New(t.Context(), opened, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"layer", "config", "secret", "local", "index", "child", "imported", "linked", "foreign", "mentioning", "later"} {
		if err := blobs.PutManifest(t.Context(), []byte(bytesOf(content)), d(content)); err != nil {
			t.Fatal(err)
		}
	}
	config := d("config").String()
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}}
	stream.Status.Tags = []imagev1.NamedTagEventList{
		{Tag: "v1", Items: []imagev1.TagEvent{{Image: d("index").String()}, {Image: d("local").String()}}},
		{Tag: "failed"},
		{Tag: "odd", Items: []imagev1.TagEvent{{Image: "not a digest"}}},
		{Tag: "ext", Items: []imagev1.TagEvent{{Image: d("imported").String()}}},
	}
	api := &answers{stream: stream, layers: &imagev1.ImageStreamLayers{
		Blobs: map[string]imagev1.ImageLayerData{d("layer").String(): {}, d("secret").String(): {}},
		Images: map[string]imagev1.ImageBlobReferences{
			d("local").String():           {Layers: []string{d("layer").String()}, Config: &config, Local: true},
			d("index").String():           {Manifests: []string{d("child").String()}, Local: true},
			d("child").String():           {Local: true},
			d("imported").String():        {Layers: []string{d("secret").String()}, Manifests: []string{d("foreign").String()}},
			d("foreign").String():         {},
			d("not stored").String():      {Local: true},
			d("later").String():           {Local: true, ImageMissing: true},
			d("mentioning").String():      {Layers: []string{d("secret").String()}, Config: &config, Local: true},
			d("other secret").String():    {Layers: []string{d("secret").String()}},
			"no digest, but no harm done": {},
		},
	}}
	return &fixture{Scope: New(api, viewsOf(t, api), blobs, app), api: api, store: blobs}
}

func (f *fixture) link(t *testing.T, set store.Links, from, to digest.Digest) {
	t.Helper()
	if err := f.store.PutLink(t.Context(), app, set, from, to); err != nil {
		t.Fatal(err)
	}
}

// status returns the HTTP status of a refusal, 0 without one.
func status(err error) int {
	var refusal *apierror.Error
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	return 0
}

var (
	errMissing = apierrors.NewNotFound(imagev1.Resource("imagestreams"), "app")
	errDown    = apierrors.NewServiceUnavailable("down")
	// errUnserved is what an API server says about a path that nobody serves.
	errUnserved = &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}}
)

func TestTags(t *testing.T) {
	f := newFixture(t)
	tags, err := f.Tags(t.Context())
	if err != nil || !slices.Equal(tags, []string{"ext", "odd", "v1"}) {
		t.Errorf("tags %v, %v; want those with a history, sorted", tags, err)
	}
	if got, err := f.Tag(t.Context(), "v1"); err != nil || got != d("index") {
		t.Errorf("v1: %s, %v; want the newest", got, err)
	}
	for _, tag := range []string{"none", "failed", "odd"} {
		if _, err := f.Tag(t.Context(), tag); status(err) != http.StatusNotFound || !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want 404", tag, err)
		}
	}
	if f.api.streamCalls != 1 {
		t.Errorf("the stream was read %d times in one request", f.api.streamCalls)
	}
}

func TestTagErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want int
		code apierror.Code
	}{
		"missing stream": {errMissing, http.StatusNotFound, apierror.CodeNameUnknown},
		"API down":       {errDown, http.StatusServiceUnavailable, apierror.CodeUnavailable},
		"API not served": {errUnserved, http.StatusServiceUnavailable, apierror.CodeUnavailable},
		"no answer":      {errors.New("connection refused"), http.StatusServiceUnavailable, apierror.CodeUnavailable},
	} {
		f := newFixture(t)
		f.api.streamErr = test.err
		_, err := f.Tag(t.Context(), "v1")
		var refusal *apierror.Error
		if !errors.As(err, &refusal) || refusal.Status != test.want || refusal.Entries[0].Code != test.code {
			t.Errorf("%s: %v, want %d %s", name, err, test.want, test.code)
		}
	}
}

// Behaviour 76a and the rules of manifest membership.
func TestManifests(t *testing.T) {
	f := newFixture(t)
	f.link(t, store.Revisions, d("linked"), d("linked"))
	f.link(t, store.Revisions, digest.SHA512.FromString("linked"), d("linked"))
	for _, test := range []struct {
		name   string
		digest digest.Digest
		want   digest.Digest
	}{
		{"link", d("linked"), d("linked")},
		{"link of another algorithm", digest.SHA512.FromString("linked"), d("linked")},
		{"current item", d("index"), d("index")},
		{"history item", d("local"), d("local")},
		{"item that was imported", d("imported"), d("imported")},
		{"local child", d("child"), d("child")},
		{"child that is not local", d("foreign"), ""},
		{"child that was nobody's when the index came", d("later"), ""},
		{"stored, but of nobody here", d("secret"), ""},
		{"other algorithm without a link", digest.SHA512.FromString("local"), ""},
	} {
		got, err := f.Manifest(t.Context(), test.digest)
		if got != test.want || (test.want == "") != (status(err) == http.StatusNotFound && errors.Is(err, store.ErrNotFound)) {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	if f.api.streamCalls != 1 || f.api.layersCalls != 1 {
		t.Errorf("%d reads of the stream, %d of its layers; want one each", f.api.streamCalls, f.api.layersCalls)
	}
}

// Behaviour 77: links are asked first.
func TestOutageOfTheImageAPI(t *testing.T) {
	f := newFixture(t)
	f.api.streamErr, f.api.layersErr = errDown, errDown
	f.link(t, store.Revisions, d("linked"), d("linked"))
	f.link(t, store.Layers, d("layer"), d("layer"))
	if _, err := f.Manifest(t.Context(), d("linked")); err != nil {
		t.Errorf("linked manifest: %v", err)
	}
	if _, err := f.Blob(t.Context(), d("layer")); err != nil {
		t.Errorf("linked blob: %v", err)
	}
	if f.api.streamCalls+f.api.layersCalls != 0 {
		t.Error("the image API was asked about what is linked")
	}
	_, manifest := f.Manifest(t.Context(), d("local"))
	_, blob := f.Blob(t.Context(), d("config"))
	_, reaches := f.Reaches(t.Context(), d("local"))
	_, uses := f.Uses(t.Context(), d("layer"))
	_, parent := f.ParentOf(t.Context(), d("child"))
	for what, err := range map[string]error{"manifest": manifest, "blob": blob, "reaches": reaches, "uses": uses, "parent": parent} {
		if status(err) != http.StatusServiceUnavailable || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v, want 503", what, err)
		}
	}
}

func TestLayersFailAfterTheStreamAnswered(t *testing.T) {
	f := newFixture(t)
	f.api.layersErr = errDown
	if _, err := f.Manifest(t.Context(), d("child")); status(err) != http.StatusServiceUnavailable {
		t.Errorf("child: %v, want 503", err)
	}
	if _, err := f.Manifest(t.Context(), d("local")); err != nil {
		t.Errorf("item of the stream: %v", err)
	}
}

// The rules of blob membership, and behaviour 76a.
func TestBlobs(t *testing.T) {
	f := newFixture(t)
	f.link(t, store.Layers, d("linked"), d("linked"))
	f.link(t, store.Layers, digest.SHA512.FromString("linked"), d("linked"))
	f.link(t, store.Layers, d("dangling"), d("dangling"))
	for _, test := range []struct {
		name   string
		digest digest.Digest
		want   digest.Digest
	}{
		{"link", d("linked"), d("linked")},
		{"link of another algorithm", digest.SHA512.FromString("linked"), d("linked")},
		{"link without bytes", d("dangling"), ""},
		{"layer of a local image", d("layer"), d("layer")},
		{"config of a local image", d("config"), d("config")},
		{"manifest of a local image", d("child"), d("child")},
		{"local, but not stored", d("not stored"), ""},
		{"layer that an imported image names, and a local one as foreign", d("secret"), ""},
		{"child of an index that is no image but was stored later", d("later"), ""},
		{"manifest that is not local", d("imported"), ""},
		{"unknown", d("unknown"), ""},
	} {
		got, err := f.Blob(t.Context(), test.digest)
		if got.Digest != test.want || (test.want == "") != errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %q, %v; want %q", test.name, got.Digest, err, test.want)
		}
	}
	if f.api.layersCalls != 1 {
		t.Errorf("the layers were read %d times in one request", f.api.layersCalls)
	}
	if f.api.streamCalls != 0 {
		t.Error("the stream was read for a blob")
	}
}

func TestMissingStream(t *testing.T) {
	f := newFixture(t)
	f.api.streamErr, f.api.layersErr = errMissing, errMissing
	if _, err := f.Manifest(t.Context(), d("local")); status(err) != http.StatusNotFound {
		t.Errorf("manifest: %v, want 404", err)
	}
	if _, err := f.Blob(t.Context(), d("layer")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("blob: %v, want not found", err)
	}
	reaches, err := f.Reaches(t.Context(), d("local"))
	uses, usesErr := f.Uses(t.Context(), d("layer"))
	parent, parentErr := f.ParentOf(t.Context(), d("child"))
	if reaches || uses || parent != "" || err != nil || usesErr != nil || parentErr != nil {
		t.Errorf("a missing stream reaches something: %t %t %q, %v %v %v", reaches, uses, parent, err, usesErr, parentErr)
	}
}

func TestUseByTheStream(t *testing.T) {
	f := newFixture(t)
	for content, want := range map[string]struct {
		reaches, uses bool
		parent        string
	}{
		"index":     {true, true, ""},
		"child":     {true, true, "index"},
		"foreign":   {true, true, "imported"},
		"layer":     {false, true, ""},
		"secret":    {false, true, ""},
		"elsewhere": {false, false, ""},
	} {
		reaches, err := f.Reaches(t.Context(), d(content))
		uses, usesErr := f.Uses(t.Context(), d(content))
		parent, parentErr := f.ParentOf(t.Context(), d(content))
		if err := errors.Join(err, usesErr, parentErr); err != nil {
			t.Fatal(err)
		}
		wantParent := ""
		if want.parent != "" {
			wantParent = d(want.parent).String()
		}
		if reaches != want.reaches || uses != want.uses || parent != wantParent {
			t.Errorf("%s: reached %t, used %t, parent %q; want %+v", content, reaches, uses, parent, want)
		}
	}
}

// viewsOf are views without a watch: each look reads the stream.
func viewsOf(t *testing.T, api imageapi.Client) *streams.Views {
	t.Helper()
	views, err := streams.New(streams.Options{API: api})
	if err != nil {
		t.Fatal(err)
	}
	return views
}
