// Package digestcache remembers for a few minutes which blobs a repository may serve, so
// that a pull asks neither the storage nor the image API again for every layer.
//
// In come digests with their size and the names of repositories that were just proven to
// have them; out comes whether a repository has a digest, and which repositories have it.
// Everything known about a digest ends together, one TTL after the digest came in, and
// both the digests and the names are bounded. Where other registries have a blob is
// remembered by pull-through, for each stream on its own.
//
// A removal is final for this replica: whoever looked before it and wants to add after it
// is refused, because what he saw is gone. That takes a Mark, made before looking.
//
// The cache never proves that bytes exist, and nothing but GET of a blob may trust it: not
// HEAD, not a mount, not the check of a manifest. A nil *Cache is one that is switched off.
package digestcache

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// SizeUnknown is the size of a blob that was proven to belong to a repository without
// looking at its bytes.
const SizeUnknown int64 = -1

// Observer hears about look-ups. Scoped ones ask for a digest in a repository, the others
// whether anything is known about the digest.
type Observer interface {
	DigestCacheUsed(scoped, hit bool)
}

// Options of a Cache.
type Options struct {
	// TTL is the life of what is known about a digest. Zero switches the cache off.
	TTL time.Duration
	// Digests is the number of digests, Repositories that of names for each of them,
	// Names that of names altogether.
	Digests, Repositories, Names int
	Now                          func() time.Time
	Observer                     Observer
}

// DefaultOptions returns the bounds of the registry, without clock and observer.
func DefaultOptions() Options {
	return Options{TTL: 5 * time.Minute, Digests: 24576, Repositories: 2048, Names: 262144}
}

// Validate checks the options.
func (o Options) Validate() error {
	switch {
	case o.TTL < 0:
		return fmt.Errorf("digest cache: negative TTL %s", o.TTL)
	case o.Digests <= 0 || o.Repositories <= 0 || o.Names <= 0:
		return fmt.Errorf("digest cache: %d digests, %d repositories and %d names must all be positive", o.Digests, o.Repositories, o.Names)
	case o.Now == nil:
		return fmt.Errorf("digest cache: no clock")
	}
	return nil
}

// Mark is a moment in the order of removals.
type Mark uint64

// known is what is known about a digest.
type known struct {
	digest digest.Digest
	size   int64
	added  time.Time
	places map[string]*list.Element // of *membership, by repository
	order  *list.List               // newest use first
}

type membership struct {
	repository string
	mark       Mark
}

// Cache holds memberships. It may be used concurrently.
type Cache struct {
	options Options

	mu      sync.Mutex
	digests map[digest.Digest]*list.Element // of *known
	order   *list.List                      // newest use first
	names   int
	removed removals
}

// New returns a Cache, or nil for a TTL of zero.
func New(options Options) (*Cache, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.TTL == 0 {
		return nil, nil
	}
	return &Cache{
		options: options, digests: map[digest.Digest]*list.Element{}, order: list.New(),
		removed: newRemovals(options.TTL),
	}, nil
}

// Mark returns the present moment. It has to be taken before looking at what is added.
func (c *Cache) Mark() Mark {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.removed.now
}

// AddBlob notes that a repository may serve a blob, as was seen after the mark.
func (c *Cache) AddBlob(mark Mark, repository string, d digest.Digest, size int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed.since(mark, digestKey(d)) || c.removed.since(mark, repositoryKey(repository)) {
		return
	}
	entry := c.live(d)
	if entry == nil {
		entry = &known{digest: d, size: SizeUnknown, added: c.options.Now(), places: map[string]*list.Element{}, order: list.New()}
		c.digests[d] = c.order.PushFront(entry)
	}
	if size != SizeUnknown {
		entry.size = size
	}
	c.addPlace(entry, &membership{repository: repository, mark: mark})
	for c.order.Len() > c.options.Digests || c.names > c.options.Names {
		c.drop(c.order.Back().Value.(*known)) //nolint:forcetypeassert // nothing else is in the list
	}
}

func (c *Cache) addPlace(entry *known, member *membership) {
	if element, found := entry.places[member.repository]; found {
		element.Value = member
		entry.order.MoveToFront(element)
		return
	}
	entry.places[member.repository] = entry.order.PushFront(member)
	c.names++
	if entry.order.Len() > c.options.Repositories {
		c.dropPlace(entry, entry.order.Back())
	}
}

// Blob tells whether a repository may serve a blob, and its size, which can be
// SizeUnknown.
func (c *Cache) Blob(repository string, d digest.Digest) (size int64, found bool) {
	if c == nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.live(d)
	c.observe(false, entry != nil)
	if entry != nil {
		element := entry.places[repository]
		found = element != nil && c.valid(entry, element)
		if found {
			entry.order.MoveToFront(element)
			c.order.MoveToFront(c.digests[d])
			size = entry.size
		}
	}
	c.observe(true, found)
	return size, found
}

// Repositories returns up to limit repositories that have the blob, those that were used
// last first.
func (c *Cache) Repositories(d digest.Digest, limit int) (names []string) {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := c.live(d)
	c.observe(false, entry != nil)
	if entry == nil {
		return nil
	}
	for element := entry.order.Front(); element != nil && len(names) < limit; {
		next := element.Next()
		if c.valid(entry, element) {
			names = append(names, element.Value.(*membership).repository) //nolint:forcetypeassert // nothing else is in the list
		}
		element = next
	}
	return names
}

// Forget drops everything about a digest.
func (c *Cache) Forget(d digest.Digest) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry := c.live(d); entry != nil {
		c.drop(entry)
	}
	c.note(digestKey(d))
}

// ForgetRepository drops a repository from all digests. It has to be called after
// the removal that is the reason.
func (c *Cache) ForgetRepository(repository string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(repositoryKey(repository))
}

// note records a removal. When there were too many to remember, nothing stays.
func (c *Cache) note(key string) {
	if c.removed.note(key, c.options.Now()) {
		return
	}
	clear(c.digests)
	c.order.Init()
	c.names = 0
}

// live returns what is known about a digest and has not ended.
func (c *Cache) live(d digest.Digest) *known {
	element, found := c.digests[d]
	if !found {
		return nil
	}
	entry := element.Value.(*known) //nolint:forcetypeassert // nothing else is in the list
	if age := c.options.Now().Sub(entry.added); age < 0 || age >= c.options.TTL {
		c.drop(entry)
		return nil
	}
	return entry
}

// valid drops a membership whose repository lost something since it came.
func (c *Cache) valid(entry *known, element *list.Element) bool {
	member := element.Value.(*membership) //nolint:forcetypeassert // nothing else is in the list
	if !c.removed.since(member.mark, repositoryKey(member.repository)) {
		return true
	}
	c.dropPlace(entry, element)
	return false
}

func (c *Cache) drop(entry *known) {
	c.order.Remove(c.digests[entry.digest])
	delete(c.digests, entry.digest)
	c.names -= len(entry.places)
}

func (c *Cache) dropPlace(entry *known, element *list.Element) {
	member := entry.order.Remove(element).(*membership) //nolint:forcetypeassert // nothing else is in the list
	delete(entry.places, member.repository)
	c.names--
}

func (c *Cache) observe(scoped, hit bool) {
	if c.options.Observer != nil {
		c.options.Observer.DigestCacheUsed(scoped, hit)
	}
}
