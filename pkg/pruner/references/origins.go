package references

import (
	"slices"
	"strings"
)

// Origin is one place that refers to an image: a field of an object.
type Origin struct {
	Source
	// Path of the field, as spec.containers[0].image.
	Path string
	// Value is the string that stands there.
	Value string
	// Owner is the controller of a Pod; it has no kind if there is none.
	Owner Source
}

// origins remembers every place. Without RememberOrigins there is none, and an Index names the first user
// of each reference only: on a large cluster the places take more memory than everything else.
type origins struct {
	tags      map[streamTag][]Origin
	digests   map[streamDigest][]Origin
	anywhere  map[string][]Origin
	bare      map[string][]Origin
	protected map[Stream][]Origin
}

// RememberOrigins makes the index remember every place that refers to an image. It comes before the first
// object is added.
func (x *Index) RememberOrigins() {
	x.origins = &origins{
		tags:      map[streamTag][]Origin{},
		digests:   map[streamDigest][]Origin{},
		anywhere:  map[string][]Origin{},
		bare:      map[string][]Origin{},
		protected: map[Stream][]Origin{},
	}
}

// TagOrigins lists the places that use the tag of the stream, sorted.
func (x *Index) TagOrigins(stream Stream, tag string) []Origin {
	return placesOf(x, func(o *origins) []Origin { return o.tags[streamTag{stream, tag}] })
}

// DigestOrigins lists the places that use the digest in the stream, or without saying in which one, sorted.
func (x *Index) DigestOrigins(stream Stream, digest string) []Origin {
	return placesOf(x, func(o *origins) []Origin {
		return slices.Concat(o.digests[streamDigest{stream, digest}], o.bare[digest])
	})
}

// AnyDigestOrigins lists the places that use the digest, in whatever stream, sorted.
func (x *Index) AnyDigestOrigins(digest string) []Origin {
	return placesOf(x, func(o *origins) []Origin { return o.anywhere[digest] })
}

// ProtectorOrigins lists the places whose unclear text protects the whole stream, sorted.
func (x *Index) ProtectorOrigins(stream Stream) []Origin {
	return placesOf(x, func(o *origins) []Origin { return o.protected[stream] })
}

func placesOf(x *Index, of func(*origins) []Origin) []Origin {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.origins == nil {
		return nil
	}
	places := slices.Clone(of(x.origins))
	slices.SortFunc(places, func(a, b Origin) int {
		return strings.Compare(a.Kind+"/"+a.Namespace+"/"+a.Name+"/"+a.Path, b.Kind+"/"+b.Namespace+"/"+b.Name+"/"+b.Path)
	})
	return slices.Compact(places)
}

// remember enters a place if places are wanted; the lock is held.
func remember[K comparable](x *Index, of func(*origins) map[K][]Origin, key K, v value) {
	if x.origins == nil {
		return
	}
	place := Origin{Source: v.source, Path: v.path, Value: shortened(v.text), Owner: v.owner}
	places := of(x.origins)
	places[key] = append(places[key], place)
}
