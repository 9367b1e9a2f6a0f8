// Package generate makes clusters for tests and benchmarks of the pruner: images, image streams with
// histories, and workloads that use them.
//
// In comes a seed, or a size. Out comes a Cluster: a list of objects for each resource, the same for the
// same input. Small clusters hold what is rare and odd in every combination: indexes in indexes,
// signatures of missing subjects, references that nobody can read. Large ones have the shape and the
// weight of real ones and are made object by object, so that they need no memory.
//
// It decides nothing about what may be pruned and talks to no server.
package generate
