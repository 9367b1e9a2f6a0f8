// Package links removes from the repositories of the registry what pruned streams no longer name.
//
// In come, for each stream, the images that its history lost and those that it still lists, the relations
// between images, and the client of the registry. Out come the lines of a report. A link goes when only
// images need it that the stream lost: not one that is listed, a child of one, or a referrer to one. As long
// as a listed image is missing or incomplete, no link of its stream goes: nobody knows what it needs.
//
// It asks for deletions only after the stream was written, each once, manifests before the blobs they name,
// and leaves the last word to the registry, which knows of pushes. Bytes are not its business. Without a
// client it only says what would go.
package links
