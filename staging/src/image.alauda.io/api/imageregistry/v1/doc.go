// Package v1 holds the types of imageregistry.operator.alauda.io/v1: Config,
// which describes the registry of the cluster, and ImagePruner, which describes
// its scheduled clean-up.
//
// In: what administrators write into the singletons Config/cluster and
// ImagePruner/cluster. Out: the Go types, and through their markers the schemas
// of the two custom resource definitions with defaults and validation rules.
//
// Schema defaults are only those that hold whatever the cluster looks like.
// Defaults that the operator chooses while reconciling are constants in
// consts.go, and fields that depend on them stay empty in the stored object.
//
// +k8s:deepcopy-gen=package,register
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.alauda.image.api.imageregistry.v1
// +groupName=imageregistry.operator.alauda.io
package v1
