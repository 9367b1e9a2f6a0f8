// Package objectstorage tests the registry on an object store: a real S3 server on a
// directory (hack/s3server), behind TLS with a private CA, and behind a proxy that makes
// trouble on demand. The whole registry runs in the test process, with an image API in
// memory; where a process of its own is needed, the test binary starts itself again.
//
// The tests are tagged component, because they need the server's binary.
package objectstorage
