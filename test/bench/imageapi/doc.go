// Package imageapi measures the image API as its clients see it: requests pass kube-apiserver and the
// aggregation layer to a server on hidden custom resources, or on etcd itself, all on one machine.
//
// The figures tell whether a change made something slower; they are not asserted. What the storage
// costs by size is measured by hack/bench-storage.
package imageapi
