// Package references finds out which images the objects of a cluster use.
//
// In come workloads, image streams and the strings that they hold. Out comes an Index: which tags,
// which digests of which streams and which digests anywhere are in use, which streams are to be left
// alone as a whole, and which strings could not be understood.
//
// It errs on the side of use: hosts are not compared, so that an alias or a mirror can only keep more.
// Nothing is ever removed from an Index. It never calls an API.
package references
