package store

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxManifestBytes bounds the bytes of manifests that are remembered.
const maxManifestBytes = 32 << 20

// manifestOverhead is what an entry costs beside its bytes.
const manifestOverhead = 512

// ServedManifest is Manifest for bytes that are read again and again. Verified bytes are
// remembered and used while the storage still has an object of the same size and time,
// which one look at it tells each time: what any replica has deleted or replaced is not
// served, and a read costs neither the transfer nor the digest. known is what a look of
// this request has told, nil for none. The bytes are shared and must not be changed.
func (s *Store) ServedManifest(ctx context.Context, canonical digest.Digest, known *Info) ([]byte, error) {
	if known == nil {
		info, err := s.Stat(ctx, canonical)
		if err != nil {
			s.manifests.forget(canonical, err)
			return nil, err
		}
		known = &info
	}
	if raw := s.manifests.get(*known); raw != nil {
		return raw, nil
	}
	// The look came before the read: what is replaced in between does not match later.
	raw, err := s.Manifest(ctx, canonical)
	if err == nil && int64(len(raw)) == known.Size {
		s.manifests.put(*known, bytes.Clone(raw))
	}
	return raw, err
}

// manifestCache holds the bytes of manifests. What was not used for longest goes first.
type manifestCache struct {
	mu      sync.Mutex
	max     int64
	bytes   int64
	order   *list.List // of *rememberedManifest, used last in front
	entries map[digest.Digest]*list.Element
}

type rememberedManifest struct {
	info Info
	raw  []byte
}

func newManifestCache(maxBytes int64) *manifestCache {
	return &manifestCache{max: maxBytes, order: list.New(), entries: map[digest.Digest]*list.Element{}}
}

// get returns the bytes if they are those of an object that looks like this.
func (m *manifestCache) get(info Info) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	element, found := m.entries[info.Digest]
	if !found {
		return nil
	}
	entry := element.Value.(*rememberedManifest)
	if entry.info.Size != info.Size || !entry.info.ModTime.Equal(info.ModTime) {
		m.drop(element)
		return nil
	}
	m.order.MoveToFront(element)
	return entry.raw
}

func (m *manifestCache) put(info Info, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.entries[info.Digest])
	if cost(raw) > m.max {
		return
	}
	m.entries[info.Digest] = m.order.PushFront(&rememberedManifest{info, raw})
	m.bytes += cost(raw)
	for m.bytes > m.max {
		m.drop(m.order.Back())
	}
}

// forget drops what is not in the storage any more.
func (m *manifestCache) forget(d digest.Digest, err error) {
	if !errors.Is(err, ErrNotFound) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(m.entries[d])
}

func (m *manifestCache) drop(element *list.Element) {
	if element == nil {
		return
	}
	entry := m.order.Remove(element).(*rememberedManifest)
	delete(m.entries, entry.info.Digest)
	m.bytes -= cost(entry.raw)
}

func cost(raw []byte) int64 { return int64(cap(raw)) + manifestOverhead }
