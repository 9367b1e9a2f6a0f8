// Package tags works on the tags of an ImageStream: what is wanted of a tag,
// which images it pointed to, how a new image enters that history, and what
// workloads get from it, by triggers or by short names.
//
// In: v1 objects as clients read them, annotations, image names. Out: tags,
// events, pull specs and fields of workloads, and for the functions that say so
// a changed status.
//
// All functions are pure. Nothing here checks permissions, writes to an API, or
// decides whether an event may be added; that is the API server's business.
//
// A history is a list of events, newest first. Its first event is the head.
package tags
