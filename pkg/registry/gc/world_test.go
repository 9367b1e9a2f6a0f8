package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	storageRoot = "docker/registry/v2"
	address     = "registry.example:5000"
	longAgo     = 1000 * time.Hour
)

var app = route.Name{Namespace: "team", Stream: "app"}

// world is a storage in a directory and an image API in memory.
type world struct {
	*testing.T
	directory string
	driver    *faulty
	store     *store.Store
	api       *imageapitest.API
	options   Options
	findings  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, api: imageapitest.New(address, time.Now)}
	w.open()
	return w
}

// open puts the world on a new directory.
func (w *world) open() {
	w.Helper()
	w.directory, w.options = w.TempDir(), DefaultOptions()
	opened, err := store.OpenDriver(w.Context(), "filesystem", configuration.Parameters{"rootdirectory": w.directory}, nil)
	w.must(err)
	w.driver = &faulty{StorageDriver: opened}
	w.store, err = store.New(w.Context(), w.driver, store.Options{Now: time.Now})
	w.must(err)
	w.options.DryRun, w.options.VerifyDelay, w.options.Workers = false, 0, 4
	w.options.OnFinding = func(f Finding) { w.findings = append(w.findings, f.String()) }
}

// clone copies the storage, everything in it old, and shares the API, whose calls count as
// reads. It collects one object at a time.
func (w *world) clone() *world {
	w.Helper()
	copied := &world{T: w.T, api: w.api}
	copied.open()
	w.must(os.CopyFS(copied.directory, os.DirFS(w.directory)))
	copied.age()
	copied.options.Workers = 1
	copied.api.Fail(func(string) error { return copied.driver.read() })
	return copied
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// bytes stores content and returns its descriptor.
func (w *world) bytes(content string) v1.Descriptor {
	w.Helper()
	d := digest.FromString(content)
	w.must(w.store.PutManifest(w.Context(), []byte(content), d))
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: d, Size: int64(len(content))}
}

// image describes an image manifest; layers are stored, with their links in the repository.
func (w *world) image(name route.Name, content string, subject *v1.Descriptor) (raw string, own v1.Descriptor) {
	w.Helper()
	config := w.bytes(`{"os":"` + content + `"}`)
	config.MediaType = v1.MediaTypeImageConfig
	layers := []v1.Descriptor{w.bytes(content + " 1"), w.bytes(content + " 2")}
	for _, blob := range append(layers, config) {
		w.must(w.store.PutLink(w.Context(), name, store.Layers, blob.Digest, blob.Digest))
	}
	return document(w, v1.MediaTypeImageManifest, map[string]any{"config": config, "layers": layers, "subject": subject})
}

func (w *world) index(children ...v1.Descriptor) (string, v1.Descriptor) {
	w.Helper()
	return document(w, v1.MediaTypeImageIndex, map[string]any{"manifests": children})
}

func document(w *world, mediaType string, members map[string]any) (string, v1.Descriptor) {
	w.Helper()
	members["schemaVersion"], members["mediaType"] = 2, mediaType
	raw, err := json.Marshal(members)
	w.must(err)
	return string(raw), v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// put stores a manifest with its link and the entry of its subject.
func (w *world) put(name route.Name, raw string) digest.Digest {
	w.Helper()
	d := w.bytes(raw).Digest
	w.must(w.store.PutLink(w.Context(), name, store.Revisions, d, d))
	parsed, err := manifest.Parse([]byte(raw), "")
	w.must(err)
	if parsed.Subject != nil {
		w.must(w.store.PutReferrer(w.Context(), name, parsed.Subject.Digest, d, d))
	}
	return d
}

// record makes the Image of a manifest.
func (w *world) record(raw string) *imagev1.Image {
	w.Helper()
	parsed, err := manifest.Parse([]byte(raw), "")
	w.must(err)
	image := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: parsed.Digest.String(), Annotations: map[string]string{}}}
	image.DockerImageManifestMediaType = parsed.MediaType
	id := parsed.Digest
	if parsed.Config != nil {
		id = parsed.Config.Digest
	}
	image.DockerImageMetadata.Raw = fmt.Appendf(nil, `{"Id":%q}`, id)
	for _, layer := range parsed.Layers {
		image.DockerImageLayers = append(image.DockerImageLayers, imagev1.ImageLayer{Name: layer.Digest.String(), LayerSize: layer.Size})
	}
	for _, child := range parsed.Manifests {
		image.DockerImageManifests = append(image.DockerImageManifests, imagev1.ImageManifest{Digest: child.Digest.String()})
	}
	if parsed.Subject != nil {
		image.Annotations[imagev1.ImageSubjectAnnotation] = parsed.Subject.Digest.String()
	}
	w.api.AddImage(image)
	return image
}

// stream stores an ImageStream whose tags name the digests.
func (w *world) stream(name route.Name, images ...digest.Digest) {
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream}}
	for i, d := range images {
		stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{
			Tag: fmt.Sprint("t", i), Items: []imagev1.TagEvent{{Image: d.String(), DockerImageReference: address + "/" + name.String() + "@" + d.String()}},
		})
	}
	w.api.AddStream(stream)
}

// age makes everything that is stored old.
func (w *world) age() { w.ageBelow("", longAgo) }

func (w *world) ageBelow(path string, by time.Duration) {
	w.Helper()
	at := time.Now().Add(-by)
	w.must(filepath.WalkDir(filepath.Join(w.directory, path), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	}))
}

func (w *world) collect() (Report, error) {
	w.Helper()
	w.findings = nil
	collector := &Collector{Store: w.store, Metadata: w.api, Log: zap.NewNop()}
	return collector.Run(w.Context(), w.options, nil)
}

// mustCollect collects and wants neither an error nor failed deletions.
func (w *world) mustCollect() Report {
	w.Helper()
	report, err := w.collect()
	if err != nil || report.State != StateSucceeded || len(report.Errors) > 0 {
		w.Fatalf("%+v, %v", report, err)
	}
	return report
}

// files are all stored files.
func (w *world) files() map[string]bool {
	w.Helper()
	found := map[string]bool{}
	w.must(filepath.WalkDir(w.directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found[strings.TrimPrefix(path, w.directory+"/"+storageRoot+"/")] = true
		}
		return err
	}))
	return found
}

func (w *world) stored(d digest.Digest) bool {
	w.Helper()
	found, err := w.store.Stored(w.Context(), d)
	w.must(err)
	return found
}

func (w *world) linked(name route.Name, set store.Links, d digest.Digest) bool {
	w.Helper()
	_, err := w.store.LinkTime(w.Context(), name, set, d)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.Fatal(err)
	}
	return err == nil
}

// faulty is a driver that counts and can fail: reads at a number, removals by path.
type faulty struct {
	driver.StorageDriver

	mu       sync.Mutex
	reads    int
	failAt   int
	failed   bool
	cannot   func(path string) bool
	removals []string // after the failure

	// onPut hears of every small file before it is written.
	onPut func(path string)
	// hidden is what no listing shows, behind how late the clock of the storage is.
	hidden string
	behind time.Duration
}

// late has the time of a late clock.
type late struct {
	driver.FileInfo
	behind time.Duration
}

func (l late) ModTime() time.Time { return l.FileInfo.ModTime().Add(-l.behind) }

func (f *faulty) PutContent(ctx context.Context, path string, content []byte) error {
	if f.onPut != nil {
		f.onPut(path)
	}
	return f.StorageDriver.PutContent(ctx, path, content)
}

var errBroken = errors.New("the storage is broken")

// read counts one read of storage or API and fails the chosen one.
func (f *faulty) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.reads == f.failAt {
		f.failed = true
		return errBroken
	}
	return nil
}

func (f *faulty) GetContent(ctx context.Context, path string) ([]byte, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	return f.StorageDriver.GetContent(ctx, path)
}

func (f *faulty) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	return f.StorageDriver.Reader(ctx, path, offset)
}

func (f *faulty) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	info, err := f.StorageDriver.Stat(ctx, path)
	if err != nil || f.behind == 0 {
		return info, err
	}
	return late{info, f.behind}, nil
}

func (f *faulty) List(ctx context.Context, path string) ([]string, error) {
	if err := f.read(); err != nil {
		return nil, err
	}
	entries, err := f.StorageDriver.List(ctx, path)
	if f.hidden != "" {
		entries = slices.DeleteFunc(entries, func(entry string) bool {
			return strings.HasSuffix(entry, "/"+f.hidden) && strings.Contains(entry, "/blobs/")
		})
	}
	return entries, err
}

// Walk makes every step of a walk a read of its own.
func (f *faulty) Walk(ctx context.Context, path string, visit driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	return driver.WalkFallback(ctx, f, path, visit, options...)
}

// RemoveEmpty removes an empty directory, as the driver of a file system can.
func (f *faulty) RemoveEmpty(ctx context.Context, path string) error {
	return f.StorageDriver.(interface {
		RemoveEmpty(ctx context.Context, path string) error
	}).RemoveEmpty(ctx, path)
}

func (f *faulty) Delete(ctx context.Context, path string) error {
	f.mu.Lock()
	if f.failed {
		f.removals = append(f.removals, path)
	}
	cannot := f.cannot != nil && f.cannot(path)
	f.mu.Unlock()
	if cannot {
		return errBroken
	}
	return f.StorageDriver.Delete(ctx, path)
}
