// Package v1 holds the types of the API group image.alauda.io/v1: images,
// image streams, their tags, and the requests that import or map an image.
//
// In: JSON from clients, the registry and the pruner. Out: the same types for
// every consumer that speaks to the API, without the server's dependencies.
//
// Images and image streams are stored objects. All other kinds are views on
// them or requests about them, computed by the server.
//
// The package also names every annotation, quota resource and limit type of
// the group (consts.go). It never talks to an API server, and it keeps no
// state: a default that a server may choose is given by the caller
// (defaults.go).
//
// +k8s:deepcopy-gen=package,register
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.alauda.image.api.image.v1
// +groupName=image.alauda.io
package v1
