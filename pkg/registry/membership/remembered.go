package membership

import (
	"context"

	"image.alauda.io/registry/pkg/registry/digestcache"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
)

// memory is where a Scope notes what it has proven. The mark is as old as the Scope, so
// that nothing is noted which was removed while the request ran.
type memory struct {
	cache *digestcache.Cache
	mark  digestcache.Mark
}

// Remembering makes the Scope note what it proves. A nil cache notes nothing.
func (s *Scope) Remembering(cache *digestcache.Cache) *Scope {
	s.memory = memory{cache, cache.Mark()}
	return s
}

// RememberedBlob finds a blob that this repository was lately proven to serve, without
// asking the image API or looking at links. It is for reading blobs only: the bytes may be
// gone, and on other replicas the right may be.
func (s *Scope) RememberedBlob(ctx context.Context, d digest.Digest) (info store.Info, found bool) {
	size, found := s.memory.cache.Blob(s.name.String(), d)
	if !found {
		return store.Info{}, false
	}
	if size != digestcache.SizeUnknown {
		return store.Info{Digest: d, Size: size}, true
	}
	info, err := s.store.Stat(ctx, d)
	if err != nil {
		return store.Info{}, false // whoever asks without the cache gives the answer
	}
	s.remember(d, info.Size)
	return info, true
}

// remember notes a blob under its canonical digest. Aliases of other algorithms belong to
// one repository and are not noted.
func (s *Scope) remember(canonical digest.Digest, size int64) {
	if canonical.Algorithm() == digest.SHA256 {
		s.memory.cache.AddBlob(s.memory.mark, s.name.String(), canonical, size)
	}
}
