// Package usage tells who uses how much of the registry: one row for each image, or for each image stream.
//
// In come a planner over a snapshot that remembers origins, and an Inventory of the blobs of every image,
// filled while the snapshot is read. Out come tables for people and lists for programs, written row by
// row.
//
// Blobs and images are held as numbers, so a large cluster fits into memory. Usage is what pruning would
// see as usage; what could be freed is what a plan with the given settings would free. It changes nothing
// and calls no API.
package usage
