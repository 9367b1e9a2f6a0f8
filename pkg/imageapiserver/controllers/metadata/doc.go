// Package metadata completes Images that were recorded by name only, as a migration does: their bytes are in this
// registry, but layers, children and metadata are not in the Image.
//
// In: Images without layers, children and size whose reference names a repository of this registry, and read
// access to that registry with the server's own token. Out: the same Images described from their manifests and
// marked as managed; for an index also the Images of its children, and history items of now for the index, so
// that its children count as what came with it.
//
// Children count so only in a repository from which each of them can be read: the Image of an index proves
// nothing about bytes. An Image that has been completed is never looked at again.
//
// The package never fetches from other registries and never changes what an Image says about its content.
package metadata
