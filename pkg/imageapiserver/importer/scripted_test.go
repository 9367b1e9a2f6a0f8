package importer

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	testingclock "k8s.io/utils/clock/testing"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

// scripted is a set of registries whose every answer the test decides. Keys are
// "<host>/<path>" and then tags or digests.
type scripted struct {
	mu        sync.Mutex
	manifests map[string]map[string]*remote.Manifest
	blobs     map[digest.Digest][]byte
	tags      map[string][]string
	errors    map[string]error
	// before is called before each answer, with the reference asked for.
	before func(ctx context.Context, asked string) error
	asked  []string
	opened []remote.RepositoryOptions
}

func newScripted() *scripted {
	return &scripted{
		manifests: map[string]map[string]*remote.Manifest{}, blobs: map[digest.Digest][]byte{},
		tags: map[string][]string{}, errors: map[string]error{},
	}
}

type scriptedRepository struct {
	*scripted
	name string
}

func (s *scripted) Repository(options remote.RepositoryOptions) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, options)
	name := options.Reference.Registry + "/" + repositoryPath(options.Reference)
	if err := s.errors["open "+name]; err != nil {
		return nil, err
	}
	return &scriptedRepository{s, name}, nil
}

func (r *scriptedRepository) answer(ctx context.Context, verb, what string) error {
	asked := verb + " " + r.name + " " + what
	r.mu.Lock()
	r.asked = append(r.asked, asked)
	before, err := r.before, r.errors[asked]
	r.mu.Unlock()
	if before != nil {
		if err := before(ctx, asked); err != nil {
			return err
		}
	}
	return err
}

func (r *scriptedRepository) find(reference string) (*remote.Manifest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.manifests[r.name][reference]; m != nil {
		return m, nil
	}
	return nil, &remote.Error{Kind: remote.NotFound, Message: r.name + ": " + reference + " not found"}
}

func (r *scriptedRepository) Manifest(ctx context.Context, reference string) (*remote.Manifest, error) {
	if err := r.answer(ctx, "GET", reference); err != nil {
		return nil, err
	}
	return r.find(reference)
}

func (r *scriptedRepository) Head(ctx context.Context, reference string) (remote.Descriptor, error) {
	if err := r.answer(ctx, "HEAD", reference); err != nil {
		return remote.Descriptor{}, err
	}
	m, err := r.find(reference)
	if err != nil {
		return remote.Descriptor{}, err
	}
	return m.Descriptor, nil
}

func (r *scriptedRepository) Blob(ctx context.Context, wanted digest.Digest, _ int64) ([]byte, error) {
	if err := r.answer(ctx, "BLOB", wanted.String()); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if blob, found := r.blobs[wanted]; found {
		return blob, nil
	}
	return nil, &remote.Error{Kind: remote.NotFound, Message: "blob not found"}
}

func (r *scriptedRepository) Tags(ctx context.Context, _ int) ([]string, error) {
	if err := r.answer(ctx, "TAGS", ""); err != nil {
		return nil, err
	}
	return r.tags[r.name], nil
}

// put stores a document under its digest and, if given, a tag.
func (s *scripted) put(name, tag, mediaType string, raw []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	m := &remote.Manifest{Descriptor: remote.Descriptor{Digest: d.Digest, MediaType: mediaType, Size: d.Size}, Content: raw, Source: name}
	if s.manifests[name] == nil {
		s.manifests[name] = map[string]*remote.Manifest{}
	}
	s.manifests[name][d.Digest.String()] = m
	if tag != "" {
		s.manifests[name][tag] = m
		s.tags[name] = append(s.tags[name], tag)
	}
	return d
}

func (s *scripted) blob(mediaType string, raw []byte) v1.Descriptor {
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	s.blobs[d.Digest] = raw
	return d
}

// image stores an image for a platform. seed makes it different from others.
func (s *scripted) image(name, tag, arch, seed string) v1.Descriptor {
	config := s.blob(manifest.OCIConfig, fmt.Appendf(nil, `{"os":"linux","architecture":%q,"author":%q,"config":{"Labels":{"a":"b"}}}`, arch, seed))
	raw := document(map[string]any{
		"mediaType": manifest.OCIManifest, "config": config,
		"layers": []v1.Descriptor{{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString(seed), Size: 1000}},
	})
	d := s.put(name, tag, manifest.OCIManifest, raw)
	d.Platform = &v1.Platform{OS: "linux", Architecture: arch}
	return d
}

func (s *scripted) index(name, tag string, children ...v1.Descriptor) v1.Descriptor {
	if children == nil {
		children = []v1.Descriptor{}
	}
	return s.put(name, tag, manifest.OCIIndex, document(map[string]any{"mediaType": manifest.OCIIndex, "manifests": children}))
}

func document(fields map[string]any) []byte {
	fields["schemaVersion"] = 2
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return raw
}

var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// engine returns an Importer on scripted registries that prefers linux/amd64.
func engine(t testing.TB, registries Registries, change ...func(*Options)) *Importer {
	t.Helper()
	options := DefaultOptions()
	options.Registries, options.Settings = registries, DefaultSettings
	options.Platform = Platform{Arch: "amd64", OS: "linux"}
	options.Clock = testingclock.NewFakePassiveClock(testTime)
	for _, c := range change {
		c(&options)
	}
	i, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func legacy(from string) Item {
	return Item{From: from, Policy: Policy{ImportMode: imageapi.ImportModeLegacy}}
}

// one imports a single item and checks that it has exactly one of image and error.
func one(t *testing.T, i *Importer, item Item) ItemResult {
	t.Helper()
	result := i.Import(t.Context(), Request{Items: []Item{item}})
	if len(result.Items) != 1 {
		t.Fatalf("%d results for one item", len(result.Items))
	}
	exclusive(t, result.Items[0])
	return result.Items[0]
}

func exclusive(t *testing.T, r ItemResult) {
	t.Helper()
	n := 0
	for _, set := range []bool{r.Image != nil, r.Err != nil, r.Unchanged} {
		if set {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("image %v, error %v, unchanged %v: exactly one is wanted", r.Image != nil, r.Err, r.Unchanged)
	}
}

func imported(t *testing.T, r ItemResult) ItemResult {
	t.Helper()
	if r.Err != nil {
		t.Fatalf("import failed: %s %s", r.Err.Reason, r.Err.Message)
	}
	return r
}

func childDigests(r ItemResult) []string {
	var names []string
	for _, child := range r.Children {
		names = append(names, child.Name)
	}
	return names
}

func failed(t *testing.T, r ItemResult, reason, text string) {
	t.Helper()
	if r.Err == nil {
		t.Fatalf("imported, want %s", reason)
	}
	if string(r.Err.Reason) != reason || !strings.Contains(r.Err.Message, text) {
		t.Errorf("error %s %q, want %s with %q", r.Err.Reason, r.Err.Message, reason, text)
	}
	if r.Err.Code == 0 {
		t.Errorf("reason %s has no code", r.Err.Reason)
	}
}
