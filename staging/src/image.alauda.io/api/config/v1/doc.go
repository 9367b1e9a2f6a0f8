// Package v1 holds ImageAPIServerConfig, the configuration file of
// image-api-server (config.image.alauda.io/v1).
//
// In: the YAML that the operator renders into a ConfigMap. Out: a configuration
// with every default filled in (SetDefaults).
//
// The type is not served by any API server. Reading files, strict decoding and
// validation are the server's business.
//
// +k8s:deepcopy-gen=package,register
// +groupName=config.image.alauda.io
package v1
