package references

import (
	"slices"
	"strings"
	"sync"
)

// Stream names an image stream.
type Stream struct {
	Namespace, Name string
}

// String returns "namespace/name".
func (s Stream) String() string { return s.Namespace + "/" + s.Name }

// Source is the object that uses an image.
type Source struct {
	Kind, Namespace, Name string
}

// String returns "Kind namespace/name".
func (s Source) String() string {
	if s.Namespace == "" {
		return s.Kind + " " + s.Name
	}
	return s.Kind + " " + s.Namespace + "/" + s.Name
}

// Invalid is a string that ought to be an image reference and is not.
type Invalid struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Path      string `json:"path"`
	Value     string `json:"value"`
	Error     string `json:"error"`
}

// Known says which streams exist. Local tells whether short names of the namespace mean the stream.
type Known interface {
	Has(stream Stream) (exists, local bool)
	// HasNamespace tells whether there is a stream in the namespace.
	HasNamespace(name string) bool
	// Digests lists what the history of the stream names.
	Digests(stream Stream) []string
}

type streamTag struct {
	Stream
	tag string
}

type streamDigest struct {
	Stream
	digest string
}

// Index holds the references. It may be filled and read by several goroutines.
type Index struct {
	known Known
	hosts *Hosts
	// names are those of this registry, for references in the middle of a text.
	names *Hosts
	// memory spares parsing.
	memory memory

	mu        sync.RWMutex
	tags      map[streamTag]Source
	digests   map[streamDigest]Source
	anywhere  map[string]Source
	protected map[Stream]Source
	// bare are those of anywhere that were named without a stream, namespaces those all of whose streams are
	// protected.
	bare, namespaces map[string]Source

	invalid []Invalid
	count   int
	// origins is nil unless places are to be remembered.
	origins *origins
	// settled: it was decided that invalid references only protect.
	settled bool
}

// NewIndex starts an empty index over the streams that exist.
func NewIndex(known Known) *Index {
	return &Index{
		known:     known,
		tags:      map[streamTag]Source{},
		digests:   map[streamDigest]Source{},
		anywhere:  map[string]Source{},
		protected: map[Stream]Source{},
		bare:      map[string]Source{}, namespaces: map[string]Source{},
	}
}

// LimitTo makes references count only if their host is among the known ones. It comes before the first
// object is added.
func (x *Index) LimitTo(hosts *Hosts) { x.hosts = hosts }

// value is one string of an object.
type value struct {
	source Source
	path   string
	text   string
	// owner is the controller of a Pod.
	owner Source
	// lookup: short names are resolved even without the stream's consent.
	lookup bool
	// lenient: the string was written by the system; what does not parse is no mistake of anybody.
	lenient bool
	// scanned: the string was met in a field of unknown meaning. It counts only for streams that exist, or
	// every address in a custom object would be remembered.
	scanned bool
}

// add records one string.
func (x *Index) add(v value) {
	if isPlaceholder(v.text) {
		x.protectMentioned(v)
		return
	}
	ref, err := x.memory.parse(v.text)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		if v.lenient {
			return
		}
		x.protectWords(v)
		if !x.settled {
			x.invalid = append(x.invalid, Invalid{
				Kind: v.source.Kind, Namespace: v.source.Namespace, Name: v.source.Name,
				Path: v.path, Value: shortened(v.text), Error: shortened(err.Error()),
			})
		}
		return
	}
	x.record(v, ref)
}

// record enters a parsed reference; the lock is held.
func (x *Index) record(v value, ref Reference) {
	elsewhere := ref.Host != "" && !x.hosts.Has(ref.Host)
	if elsewhere && ref.Kind != Local {
		ref.Kind = None
	}
	if exists, _ := x.known.Has(Stream{ref.Namespace, ref.Name}); v.scanned && ref.Kind == Tag && !exists {
		ref.Kind = None
	}
	switch ref.Kind {
	case Tag:
		x.useTag(Stream{ref.Namespace, ref.Name}, ref.Tag, v)
	case Digest:
		x.useDigest(Stream{ref.Namespace, ref.Name}, ref.Digest, v)
	case Bare:
		x.useBare(ref.Digest, v)
	case Local:
		if ref.Digest != "" && !elsewhere {
			x.useBare(ref.Digest, v)
		}
	}
	short := Stream{v.source.Namespace, ref.LastName}
	exists, local := x.known.Has(short)
	if !exists || !(v.lookup || ref.Kind == Local && local) {
		return
	}
	if ref.Digest != "" {
		x.useDigest(short, ref.Digest, v)
		return
	}
	if ref.Tag != "" {
		x.useTag(short, ref.Tag, v)
	}
}

func (x *Index) useTag(stream Stream, tag string, v value) {
	x.count++
	keepFirst(x.tags, streamTag{stream, tag}, v.source)
	remember(x, func(o *origins) map[streamTag][]Origin { return o.tags }, streamTag{stream, tag}, v)
}

func (x *Index) useDigest(stream Stream, digest string, v value) {
	x.count++
	keepFirst(x.digests, streamDigest{stream, digest}, v.source)
	remember(x, func(o *origins) map[streamDigest][]Origin { return o.digests }, streamDigest{stream, digest}, v)
	x.useAnywhere(digest, v)
}

// useBare: nobody knows where the image came from, so it counts wherever it is.
func (x *Index) useBare(digest string, v value) {
	x.count++
	keepFirst(x.bare, digest, v.source)
	remember(x, func(o *origins) map[string][]Origin { return o.bare }, digest, v)
	x.useAnywhere(digest, v)
}

func (x *Index) useAnywhere(digest string, v value) {
	keepFirst(x.anywhere, digest, v.source)
	remember(x, func(o *origins) map[string][]Origin { return o.anywhere }, digest, v)
}

func keepFirst[K comparable](m map[K]Source, key K, source Source) {
	if _, known := m[key]; !known {
		m[key] = source
	}
}

// IgnoreInvalid returns the invalid references, for warnings. The streams that they mention are protected.
// Those that come later, from objects that appear during the run, only protect.
func (x *Index) IgnoreInvalid() []Invalid {
	invalid := x.Invalid()
	x.mu.Lock()
	x.settled = true
	x.mu.Unlock()
	return invalid
}

// Invalid lists what could not be understood, by object.
func (x *Index) Invalid() []Invalid {
	x.mu.RLock()
	defer x.mu.RUnlock()
	sorted := slices.Clone(x.invalid)
	slices.SortFunc(sorted, func(a, b Invalid) int {
		return strings.Compare(a.Kind+"/"+a.Namespace+"/"+a.Name+a.Path, b.Kind+"/"+b.Namespace+"/"+b.Name+b.Path)
	})
	return slices.Compact(sorted)
}

// Count is the number of references found.
func (x *Index) Count() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.count
}

// TagUser returns who uses the tag of the stream.
func (x *Index) TagUser(stream Stream, tag string) (Source, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	source, used := x.tags[streamTag{stream, tag}]
	return source, used
}

// DigestUser returns who uses the digest in the stream, or without saying in which one.
func (x *Index) DigestUser(stream Stream, digest string) (Source, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	source, used := x.digests[streamDigest{stream, digest}]
	if !used {
		source, used = x.bare[digest]
	}
	return source, used
}

// AnyDigestUser returns who uses the digest, in whatever stream.
func (x *Index) AnyDigestUser(digest string) (Source, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	source, used := x.anywhere[digest]
	return source, used
}

// Protector returns whose unclear reference protects the whole stream.
func (x *Index) Protector(stream Stream) (Source, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	source, protected := x.protected[stream]
	if !protected {
		source, protected = x.namespaces[stream.Namespace]
	}
	return source, protected
}
