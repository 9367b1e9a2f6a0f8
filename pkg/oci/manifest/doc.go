// Package manifest reads image manifests and image indexes.
//
// What comes in is the raw JSON of a manifest, the media type it was announced
// with and, for Describe, the JSON of its config blob. What goes out is a checked
// Manifest with its descriptors and the description that an Image object of the
// group image.alauda.io carries: layers, children, configuration and size.
//
// The registry uses it for every push and the image API server for every import,
// so that one document is never read as a manifest by one of them and as an index
// by the other (CVE-2021-41190): members are matched by their exact names, a
// repeated member is refused, and a document that is both kinds is refused.
//
// It never talks to a network or a store, never rewrites the bytes it is given and
// never drops members that it does not know.
package manifest
