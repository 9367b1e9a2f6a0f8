// Package plan decides what a prune removes: revisions of tags, then images that nobody needs.
//
// In come a snapshot and the settings of the administrator. Out come decisions, each with the rule that
// it rests on, so that a report can say why something goes or stays. The first rule that matches wins;
// when in doubt, things are kept.
//
// Everything is pure. A stream is decided on twice, from the snapshot and from the fresh object before it
// is written, by the same function. It never calls an API; the one look-up that a decision may need comes
// in as a function.
package plan
