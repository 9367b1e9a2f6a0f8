// Package image serves the resource images: what is known about each manifest.
//
// In: create, update, patch and delete requests for Images, and the same calls
// from other resources of the group (a mapping creates Images). Out: Images in
// the store, prepared and validated by the strategy: immutable parts are
// restored, raw manifests that live in the blob store are dropped, a manifest
// that does not hash to the image's name is refused.
//
// The package never reads or writes bytes of images and never looks at
// streams; deleting an Image is the pruner's decision alone.
package image
