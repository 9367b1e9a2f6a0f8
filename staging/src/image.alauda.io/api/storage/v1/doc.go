// Package v1 holds the types of storage.image.alauda.io/v1, the hidden custom
// resources in which image-api-server keeps images and image streams when it
// has no database of its own.
//
// Each record carries one API object as one opaque payload. Nothing of the
// record's own metadata but its resourceVersion is ever shown to users.
//
// Only the API server writes records. Users, backup tools apart, have no
// business here: read images and image streams instead.
//
// +k8s:deepcopy-gen=package,register
// +groupName=storage.image.alauda.io
package v1
