package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// reads counts how often objects are opened.
type reads struct {
	driver.StorageDriver
	opened int
}

func (r *reads) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	r.opened++
	return r.StorageDriver.Reader(ctx, path, offset)
}

func newReads(t *testing.T) (*Store, *reads) {
	t.Helper()
	r := &reads{StorageDriver: inmemory.New()}
	s, err := New(t.Context(), r, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func TestServedManifestIsReadOnce(t *testing.T) {
	s, r := newReads(t)
	raw := []byte(`{"schemaVersion":2}`)
	d := manifest.Canonical(raw)
	if err := s.PutManifest(t.Context(), raw, d); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		info, err := s.Stat(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		for _, known := range []*Info{nil, &info} {
			if got, err := s.ServedManifest(t.Context(), d, known); err != nil || string(got) != string(raw) {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	if r.opened != 1 {
		t.Errorf("opened %d times, want once", r.opened)
	}
}

// What is gone or damaged in the storage is not served from memory, whoever did it.
func TestServedManifestFollowsTheStorage(t *testing.T) {
	s, r := newReads(t)
	raw := []byte(`{"schemaVersion":2}`)
	d := manifest.Canonical(raw)
	if err := s.PutManifest(t.Context(), raw, d); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ServedManifest(t.Context(), d, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.PutContent(t.Context(), blobPath(d), []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ServedManifest(t.Context(), d, nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
	if err := r.PutContent(t.Context(), blobPath(d), raw); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ServedManifest(t.Context(), d, nil); err != nil {
		t.Errorf("repaired: %v", err)
	}
	if err := r.Delete(t.Context(), blobDirectory(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ServedManifest(t.Context(), d, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if s.manifests.bytes != 0 || len(s.manifests.entries) != 0 {
		t.Errorf("%d bytes of deleted manifests are remembered", s.manifests.bytes)
	}
}

// A push looks at the storage and not at what is remembered: it repairs damaged bytes.
func TestPushRepairsWhatIsRemembered(t *testing.T) {
	s, r := newReads(t)
	raw := []byte(`{"schemaVersion":2}`)
	d := manifest.Canonical(raw)
	for range 2 {
		if err := s.PutManifest(t.Context(), raw, d); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ServedManifest(t.Context(), d, nil); err != nil || string(got) != string(raw) {
			t.Fatalf("%q, %v", got, err)
		}
		if err := r.PutContent(t.Context(), blobPath(d), []byte("damaged")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManifestCacheIsBounded(t *testing.T) {
	m := newManifestCache(10 * (1000 + manifestOverhead))
	at := time.Now()
	for i := range 100 {
		raw := make([]byte, 1000)
		copy(raw, fmt.Sprint(i))
		m.put(Info{Digest: manifest.Canonical(raw), Size: 1000, ModTime: at}, raw)
		if m.bytes > m.max || len(m.entries) != m.order.Len() {
			t.Fatalf("%d bytes in %d entries", m.bytes, len(m.entries))
		}
	}
	if len(m.entries) != 10 {
		t.Errorf("%d entries, want 10", len(m.entries))
	}
	large := make([]byte, m.max)
	m.put(Info{Digest: manifest.Canonical(large)}, large)
	if len(m.entries) != 10 {
		t.Errorf("%d entries after one that is too large", len(m.entries))
	}
}
