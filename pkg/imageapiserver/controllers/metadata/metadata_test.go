package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/oci/remote"
)

// content is what a registry keeps, by repository and digest.
type content struct {
	mu    sync.Mutex
	blobs map[string]map[digest.Digest][]byte
	types map[digest.Digest]string
	// reads counts the manifests that were read.
	reads int
	down  bool
}

func newContent() *content {
	return &content{blobs: map[string]map[digest.Digest][]byte{}, types: map[digest.Digest]string{}}
}

func (c *content) put(t *testing.T, repository, mediaType string, value any) v1.Descriptor {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs[repository] == nil {
		c.blobs[repository] = map[digest.Digest][]byte{}
	}
	name := digest.FromBytes(raw)
	c.blobs[repository][name], c.types[name] = raw, mediaType
	return v1.Descriptor{MediaType: mediaType, Digest: name, Size: int64(len(raw))}
}

func (c *content) image(t *testing.T, repository, word string) v1.Descriptor {
	t.Helper()
	config := c.put(t, repository, v1.MediaTypeImageConfig, map[string]any{"architecture": "amd64", "os": "linux", "author": word})
	return c.put(t, repository, v1.MediaTypeImageManifest, v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config,
		Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString(word), Size: 100}},
	})
}

func (c *content) index(t *testing.T, repository string, children ...v1.Descriptor) v1.Descriptor {
	t.Helper()
	return c.put(t, repository, v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: children,
	})
}

func (c *content) copy(from, to string, names ...digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs[to] == nil {
		c.blobs[to] = map[digest.Digest][]byte{}
	}
	for _, name := range names {
		c.blobs[to][name] = c.blobs[from][name]
	}
}

func (c *content) delete(repository string, name digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.blobs[repository], name)
}

// Repository implements Registry.
func (c *content) Repository(namespace, name string) (Repository, error) {
	return repo{c, namespace + "/" + name}, nil
}

type repo struct {
	*content
	name string
}

func (r repo) get(name digest.Digest) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return nil, errors.New("the registry does not answer")
	}
	raw, found := r.blobs[r.name][name]
	if !found {
		return nil, &remote.Error{Kind: remote.NotFound, Message: fmt.Sprintf("%s is not in %s", name, r.name)}
	}
	return raw, nil
}

func (r repo) Manifest(_ context.Context, name string) (*remote.Manifest, error) {
	raw, err := r.get(digest.Digest(name))
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	descriptor := remote.Descriptor{Digest: digest.FromBytes(raw), MediaType: r.types[digest.Digest(name)], Size: int64(len(raw))}
	return &remote.Manifest{Descriptor: descriptor, Content: raw}, nil
}

func (r repo) Head(_ context.Context, name string) (remote.Descriptor, error) {
	_, err := r.get(digest.Digest(name))
	return remote.Descriptor{}, err
}

func (r repo) Blob(_ context.Context, name digest.Digest, _ int64) ([]byte, error) {
	return r.get(name)
}

type streams struct{ *grouptest.Env }

func (s streams) All() []*imageapi.ImageStream {
	list, err := s.Streams().FindList(s.Request("alice", "", "imagestreams"), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	var all []*imageapi.ImageStream
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all
}

func newController(t *testing.T, env *grouptest.Env, registry Registry) *Controller {
	t.Helper()
	c, err := New(Options{
		Images: env.Group.Images, Streams: streams{env}, Store: env.Streams(), Registry: registry,
		Hosts: func() repository.Hosts { return env.Hosts }, Clock: env.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// backfill records an image as the documented migration does: by name, reference and media type.
func backfill(env *grouptest.Env, namespace, stream, tag string, image v1.Descriptor) {
	env.T.Helper()
	recorded := &imageapi.Image{
		DockerImageReference:         grouptest.Internal + "/" + namespace + "/" + stream + "@" + image.Digest.String(),
		DockerImageManifestMediaType: image.MediaType,
	}
	recorded.Name = image.Digest.String()
	env.Push(namespace, stream, tag, recorded)
}

func find(env *grouptest.Env, name digest.Digest) *imageapi.Image {
	env.T.Helper()
	image, err := env.Group.Images.Find(env.Request("alice", "", "images"), name.String())
	if err != nil {
		env.T.Fatal(err)
	}
	return image
}

// local returns the images that a stream may give out.
func local(env *grouptest.Env, namespace, name string) []string {
	env.T.Helper()
	contents, err := env.Group.Layers.Layers(env.Request("alice", namespace, "imagestreams"), env.Stream(namespace, name))
	if err != nil {
		env.T.Fatal(err)
	}
	var digests []string
	for name, image := range contents.Images {
		if image.Local {
			digests = append(digests, name)
		}
	}
	slices.Sort(digests)
	return digests
}

func sorted(descriptors ...v1.Descriptor) []string {
	var names []string
	for _, descriptor := range descriptors {
		names = append(names, descriptor.Digest.String())
	}
	slices.Sort(names)
	return names
}

// Behaviour 49: an Image that was recorded by name only is filled once, and never looked at again.
func TestBackfilledImageIsCompletedOnce(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	image := registry.image(t, "team-a/app", "one")
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "v1", image)
	recorded := find(env, image.Digest)
	if err := c.complete(t.Context(), image.Digest.String()); err != nil {
		t.Fatal(err)
	}
	done := find(env, image.Digest)
	if len(done.DockerImageLayers) != 1 || done.DockerImageLayers[0].LayerSize != 100 || done.DockerImageMetadata.Size <= 100 ||
		done.DockerImageMetadata.Author != "one" || done.DockerImageMetadata.Architecture != "amd64" {
		t.Errorf("the image is described as %+v", done)
	}
	if done.DockerImageManifest != "" || done.DockerImageConfig != "" {
		t.Error("raw documents were kept although the registry has them")
	}
	for _, annotation := range []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation} {
		if done.Annotations[annotation] != "true" {
			t.Errorf("%s is %q", annotation, done.Annotations[annotation])
		}
	}
	if done.DockerImageReference != recorded.DockerImageReference || done.DockerImageManifestMediaType != recorded.DockerImageManifestMediaType {
		t.Error("reference or media type changed, by which a migration sees that it has been here")
	}
	if err := c.complete(t.Context(), image.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if registry.reads != 1 || find(env, image.Digest).ResourceVersion != done.ResourceVersion {
		t.Errorf("read %d times; a complete image is left alone", registry.reads)
	}
}

// Behaviour 49: the children of a back-filled index become Images and count as what came with it.
func TestBackfilledIndexGetsItsChildren(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	amd64, arm64 := registry.image(t, "team-a/app", "amd64"), registry.image(t, "team-a/app", "arm64")
	inner := registry.index(t, "team-a/app", arm64)
	index := registry.index(t, "team-a/app", amd64, inner)
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "v1", index)
	env.Clock.Step(time.Hour)
	if err := c.complete(t.Context(), index.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if done := find(env, index.Digest); len(done.DockerImageManifests) != 2 || done.DockerImageMetadata.Size == 0 {
		t.Errorf("the index is described as %+v", done)
	}
	for _, child := range []v1.Descriptor{amd64, arm64} {
		if done := find(env, child.Digest); len(done.DockerImageLayers) != 1 || done.Annotations[imagev1.ManagedByAlaudaAnnotation] != "true" {
			t.Errorf("child is described as %+v", done)
		}
	}
	if got, want := local(env, "team-a", "app"), sorted(index, inner, amd64, arm64); !slices.Equal(got, want) {
		t.Errorf("the repository may give out %v, want %v", got, want)
	}
}

// An index proves its children only where they can be read: else who names digests could pull what others have.
func TestChildrenCountOnlyWhereTheyCanBeRead(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	child := registry.image(t, "team-a/app", "child")
	index := registry.index(t, "team-a/app", child)
	for _, namespace := range []string{"team-a", "team-b", "team-c", "team-d"} {
		env.CreateStream(grouptest.Stream(namespace, "app"))
		backfill(env, namespace, "app", "v1", index)
	}
	// team-b has nothing of the child, team-c has it, and team-d could get it from where it imports it from.
	registry.copy("team-a/app", "team-c/app", index.Digest, child.Digest)
	registry.copy("team-a/app", "team-d/app", index.Digest, child.Digest)
	foreign := &imageapi.Image{DockerImageReference: "registry.example/app@" + child.Digest.String()}
	foreign.Name = child.Digest.String()
	env.Push("team-d", "app", "child", foreign)
	if err := env.Group.Images.Change(t.Context(), foreign.Name, func(image *imageapi.Image) {
		image.Annotations = map[string]string{imagev1.ManagedByAlaudaAnnotation: "true"}
	}); err != nil {
		t.Fatal(err)
	}
	env.Clock.Step(time.Hour)
	if err := c.complete(t.Context(), index.Digest.String()); err != nil {
		t.Fatal(err)
	}
	renewed := env.Clock.Now()
	for namespace, want := range map[string]bool{"team-a": true, "team-b": false, "team-c": true, "team-d": false} {
		created := env.Stream(namespace, "app").Status.Tags["v1"].Items[0].Created
		if got := created.Time.Equal(renewed); got != want {
			t.Errorf("%s: item of the index is of %s, renewed: %v, want %v", namespace, created, got, want)
		}
	}
}

func TestIncompleteIndexIsDescribedButProvesNothing(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	here, absent := registry.image(t, "team-a/app", "here"), registry.image(t, "team-a/app", "absent")
	index := registry.index(t, "team-a/app", here, absent)
	registry.delete("team-a/app", absent.Digest)
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "v1", index)
	created := env.Stream("team-a", "app").Status.Tags["v1"].Items[0].Created
	env.Clock.Step(time.Hour)
	if err := c.complete(t.Context(), index.Digest.String()); err != nil {
		t.Fatal(err)
	}
	if done := find(env, index.Digest); len(done.DockerImageManifests) != 2 {
		t.Errorf("the index is described as %+v", done)
	}
	find(env, here.Digest)
	if now := env.Stream("team-a", "app").Status.Tags["v1"].Items[0].Created; !now.Equal(&created) {
		t.Errorf("the item of an index with an absent child is of %s", now)
	}
}

func TestExistingChildIsStampedBeforeThePrunerTakesIt(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	child := registry.image(t, "team-a/app", "child")
	index := registry.index(t, "team-a/app", child)
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "child", child)
	backfill(env, "team-a", "app", "v1", index)
	if err := c.complete(t.Context(), child.Digest.String()); err != nil {
		t.Fatal(err)
	}
	env.Clock.Step(time.Hour)
	if err := c.complete(t.Context(), index.Digest.String()); err != nil {
		t.Fatal(err)
	}
	want := env.Clock.Now().UTC().Format(time.RFC3339)
	if got := find(env, child.Digest).Annotations[imagev1.ImageLastReferencedTimeAnnotation]; got != want {
		t.Errorf("the child was last referenced at %q, want %q", got, want)
	}
}

func TestImagesOfOtherRegistriesAreLeftAlone(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	image := registry.image(t, "team-a/app", "one")
	env.CreateStream(grouptest.Stream("team-a", "app"))
	foreign := &imageapi.Image{DockerImageReference: "registry.example/team-a/app@" + image.Digest.String()}
	foreign.Name = image.Digest.String()
	env.Push("team-a", "app", "v1", foreign)
	if err := c.complete(t.Context(), foreign.Name); err != nil {
		t.Fatal(err)
	}
	if registry.reads != 0 || find(env, image.Digest).Annotations[imagev1.ManagedByAlaudaAnnotation] != "" {
		t.Error("an image of another registry was taken for ours")
	}
}

func TestEndlessIndexIsRefused(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	nested := registry.image(t, "team-a/app", "one")
	for range maxDepth + 1 {
		nested = registry.index(t, "team-a/app", nested)
	}
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "v1", nested)
	if err := c.complete(t.Context(), nested.Digest.String()); !errors.Is(err, errTooLarge) {
		t.Errorf("error is %v, want %v", err, errTooLarge)
	}
}

// Behaviour 49: the controller finds what is there when it starts, and tries again when the registry is down.
func TestControllerRetriesUntilTheRegistryAnswers(t *testing.T) {
	env, registry := grouptest.New(t), newContent()
	c := newController(t, env, registry)
	first, second := registry.image(t, "team-a/app", "one"), registry.image(t, "team-a/app", "two")
	env.CreateStream(grouptest.Stream("team-a", "app"))
	backfill(env, "team-a", "app", "v1", first)
	backfill(env, "team-a", "app", "v2", second)
	registry.down = true
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	complete := func() bool { return !Incomplete(find(env, first.Digest)) && !Incomplete(find(env, second.Digest)) }
	poll := func(limit time.Duration, done func() bool) bool {
		return wait.PollUntilContextTimeout(t.Context(), time.Millisecond, limit, true, func(context.Context) (bool, error) {
			env.Clock.Step(time.Second)
			return done(), nil
		}) == nil
	}
	if poll(100*time.Millisecond, complete) {
		t.Fatal("images were completed without their registry")
	}
	registry.mu.Lock()
	registry.down = false
	registry.mu.Unlock()
	if !poll(30*time.Second, complete) {
		t.Fatal("images were not completed after the registry came back")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.reads != 2 {
		t.Errorf("%d manifests were read, want 2", registry.reads)
	}
}
