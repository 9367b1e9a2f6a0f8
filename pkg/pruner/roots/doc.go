// Package roots finds out which kinds of custom objects use images.
//
// In come what the API server says of itself (discovery and the published schemas), the table of known
// kinds, the configuration of the administrator and the kinds that he excluded. Out comes a list of kinds,
// each with the reason for which it is read and how it is to be read.
//
// When it cannot tell, a kind counts: one whose schema is not published, cannot be read or is too large is
// a root, and a group whose kinds are unknown is told of, so that the run can stop. Not knowing who uses an
// image is never a reason to delete it. It reads no object and never changes anything.
package roots
