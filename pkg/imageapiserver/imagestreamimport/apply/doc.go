// Package apply records in an image stream what an import found.
//
// In: the stream as it was when the import began, and one Outcome for each
// image that was looked up. Out: the stored stream, and what is to be told
// about each outcome, for not everything that was found is recorded.
//
// Images are created before the stream names them, children before their
// index. The stream itself is changed in its current state: what others wrote
// meanwhile stays, and an outcome for a tag that somebody changed meanwhile is
// dropped. Failures are levels: the same failure again writes nothing.
//
// An image from this very registry is a copy, and only a copy of what is local
// to its source becomes local. Content from elsewhere never does, whatever a
// registry answers: references are made of what the user wrote and of the
// digest, and never of anything else.
//
// The package fetches nothing and asks for no rights.
package apply
