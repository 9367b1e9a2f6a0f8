// Package imagetag serves imagetags: one tag of a stream with its source and
// its whole history, whether or not it points at an image.
//
// In: requests that name "<stream>:<tag>". Out: objects put together from the
// stream and, for a single tag, the Image; and changes of the stream: creating
// or updating a tag sets the tag in the stream's spec (and creates the stream
// when there is none), an update without spec takes the tag out of the spec
// and keeps the history, deleting it removes both.
//
// Nothing is stored under this resource, Images are never changed or deleted,
// and there is no watch: clients watch imagestreams.
package imagetag
