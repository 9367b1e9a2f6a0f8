// Package imageimport tests imagestreamimports on a real kube-apiserver and etcd, with a stock second
// registry on loopback: single images, whole repositories, previews, credentials of a namespace. The tests
// send what users send, JSON through the aggregation layer.
package imageimport
