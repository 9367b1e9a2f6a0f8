// Package render turns Config/cluster, ImagePruner/cluster and what was observed in the cluster into the
// objects that the operator wants to exist.
//
// In come Inputs, a plain value that the controllers gather. Out come unstructured objects that hold exactly
// the fields the operator owns: the base is the YAML of package manifests, completed with names of images,
// replicas, environment, storage and placement. Every function is pure: the same inputs give the same
// objects, whatever the order of maps.
//
// The package reads no clock and no cluster, applies nothing and decides nothing about conditions. A rule, a
// probe or a mount that does not depend on Config is never written here but in manifests/operands.
package render
