// Package snapshot reads what a prune is decided on: image streams, images and the users of images, in
// this order, so that the newest knowledge is about usage.
//
// In come clients of the Kubernetes and the Image API. Out comes a Snapshot of projections: no full
// object is kept beyond its page. The time of the run is the one of the API server, taken from its first
// answer.
//
// A list is complete or the run ends: pages are retried, an expired list starts again, and a kind that
// cannot be listed is an error, because not knowing who uses an image is never a reason to delete it. It
// never changes anything.
package snapshot
