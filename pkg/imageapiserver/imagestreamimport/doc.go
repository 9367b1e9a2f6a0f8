// Package imagestreamimport serves imagestreamimports: it looks up images in
// other registries and, if asked, records them in the stream of that name.
//
// In: a request with single images, a repository, or both. Out: the same
// request with a status for each image, and the stream after the import. The
// answer is 201 even if images failed: each has a status of its own.
//
// The work has to end before the generic API server cuts the request off. What
// is not finished by then is left to the controller that imports in the
// background, as a spec tag that was not yet looked at. Looking up is the work
// of package importer, recording that of package apply; the controllers use
// the same two. Nothing is stored under this resource itself.
package imagestreamimport
