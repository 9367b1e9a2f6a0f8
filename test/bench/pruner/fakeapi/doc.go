// Package fakeapi serves a generated cluster over HTTP the way kube-apiserver and the image API do: lists
// in pages, Protobuf for the kinds of Kubernetes and JSON for images, watches on which nothing happens,
// changes with preconditions.
//
// In comes a Cluster. Out comes an http.Handler that counts what it was asked. The Date of its answers is
// the time of the cluster, so that ages do not depend on when a test runs. It checks no permission, and
// it is no model of an API server beyond what the pruner asks of one.
package fakeapi
