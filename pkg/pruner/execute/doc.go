// Package execute carries a prune plan out.
//
// In come a planner and the client of the Image API. First each stream with something to remove is read
// again, decided on anew and written at the version that was read; then images that nobody needs are
// deleted, whatever names an image before the image, each at the version of the snapshot. Out come the
// items that were deleted, skipped because somebody was faster, or failed.
//
// A stream that could not be written keeps everything that it names. Nothing is forced, nothing is
// created, and an interruption at any point leaves no index without its children. It never talks to the
// registry.
package execute
