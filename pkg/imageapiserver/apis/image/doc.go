// Package image holds the internal types of the API group image.alauda.io.
//
// Requests are decoded into image.alauda.io/v1, converted to the types here,
// worked on by strategies, validation and storage, and converted back before
// they are stored or answered. The internal form differs from v1 where work is
// easier: tags of a stream are maps keyed by tag name (v1 has sorted lists) and
// the metadata of an image is a typed structure (v1 carries free-form JSON).
//
// The package contains types, their registration and trivial accessors. It
// never talks to a store and takes no decisions; those live in the packages
// named after the resources.
//
// +k8s:deepcopy-gen=package
// +groupName=image.alauda.io
package image
