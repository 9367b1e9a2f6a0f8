// Package imagestreamtag serves imagestreamtags: one tag of a stream together
// with the image that it points at.
//
// In: requests that name "<stream>:<tag>". Out: objects put together from the
// stream and the Image, and changes of the stream: creating or updating a tag
// sets the tag in the stream's spec (and creates the stream when there is
// none), deleting it removes the tag with its history.
//
// Nothing is stored under this resource, Images are never changed or deleted,
// and there is no watch: clients watch imagestreams.
package imagestreamtag
