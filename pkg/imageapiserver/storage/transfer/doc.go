// Package transfer moves stored images and image streams as they are: out of a backend into a file,
// back, and from one backend to the other. It also checks what is stored.
//
// In: a Store for each backend, opened with the flags of the server. Out: the very JSON that the
// server stored, byte for byte, with uid, creation time and generation, without resourceVersion, since
// that belongs to the backend. Fields that this release does not know survive.
//
// Objects pass no strategy, no admission and no quota, so nothing is defaulted, stamped or counted:
// these are the tools of administrators who may write the records. A damaged record is reported and
// never copied, and an object that exists is only replaced on request. Images come before streams in
// every direction, so that an interrupted import leaves no stream that names a missing Image.
package transfer
