// Package model is a second opinion about what may be pruned: the rules of the specification, written down
// once more as slowly and as plainly as they stand there, without a line of the pruner's own code.
//
// In come a generated cluster and the wishes of an administrator. Out comes the list of revisions and
// images that may go. Its test compares it with what the program does on many clusters, each of them with
// many wishes; a difference is a bug of one of them.
//
// It is made for clusters of a few dozen objects: whatever it needs, it looks for in all of them.
package model
