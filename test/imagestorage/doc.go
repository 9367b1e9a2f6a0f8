// Package imagestorage tests what is below the image API against a real kube-apiserver and etcd: the
// commands that export, import, migrate and verify the records, the guard over the records, what
// becomes of them when a namespace goes, and that image requests do not starve their own inner calls.
//
// The server and the commands run inside the test process with the shipped roles, hidden kinds and
// policies. Conformance of the storage itself is tested beside its code.
package imagestorage
