// Package signature verifies simple signatures of images, which are OpenPGP messages with a claim about an
// image.
//
// In come the keys that are trusted, the identity that is expected, and the content of a signature, which
// may come from anybody. Out comes a finding: whether the signature is trusted, by which key, or for which
// reason it is not; and how that is recorded in the signature.
//
// Whatever the content is, it costs bounded time and memory: the sequence of packets is checked before the
// OpenPGP library sees them, and what is compressed is unpacked up to a limit. It calls no API, reads no
// file and stores no key.
package signature
