// Package report prints what a prune does: lines for people and scripts, or one document for programs.
//
// In come items, one for each thing that was deleted, is to be deleted, was skipped or could not be. Out
// come the lines, the summary, the document and the short text that Kubernetes keeps of a finished
// container.
//
// It never decides anything and never prints a secret: all it knows are names, digests, sizes and reasons.
package report
