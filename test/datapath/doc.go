// Package datapath tests image-registry together with what it depends on: a real kube-apiserver, an
// image-api-server behind it and ServiceAccount tokens that Kubernetes issued. Blobs lie in a directory.
// The tests push and pull like any client, over HTTP and with a client library, and look at the Image API
// for what was recorded.
package datapath
