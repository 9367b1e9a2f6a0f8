// Package gc finds what nobody uses in the storage of the registry and removes it:
// blobs, links of repositories, and repositories whose ImageStream is gone.
//
// In come the Images and ImageStreams (Metadata) and the storage; out comes a Report,
// the same for the online collector and for the command line. A Collector first marks
// what is in use, from the API and, where the API does not know, from stored manifests;
// then it plans; then, unless it is a dry run, it removes links, lists everything a second
// time, and hands each blob that is still unused to store.DeleteBlob, which has the last
// word about bytes that a push relies on.
//
// It never deletes on a guess: every error of reading, from the API or from the storage,
// ends the run before the next deletion, and a Guard ends it before the first. It keeps
// about 60 bytes for each digest. It knows no HTTP, no Lease and no command line.
package gc
