// Package tags works on the tags of an ImageStream: what is wanted of a tag,
// which images it pointed to, and how a new image enters that history.
//
// In: v1 objects as clients read them. Out: tags, events and pull specs, and
// for the functions that say so a changed status.
//
// All functions are pure. Nothing here checks permissions, writes to an API, or
// decides whether an event may be added; that is the API server's business.
//
// A history is a list of events, newest first. Its first event is the head.
package tags
