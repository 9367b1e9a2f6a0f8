// Package docker10 holds DockerImage, the description of an image that is kept
// in Image.dockerImageMetadata.
//
// In: the raw JSON of that field. Out: the same JSON. The JSON names are those
// of the container engine's image config, capitalised, so that existing tools
// read them.
//
// The types are not served by themselves and are never decoded strictly: what
// they do not know is dropped.
//
// +k8s:deepcopy-gen=package,register
// +groupName=image.alauda.io
package docker10
