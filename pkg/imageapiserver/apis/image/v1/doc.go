// Package v1 converts between image.alauda.io/v1, the types that clients and
// the store see, and the internal types of the group.
//
// In and out: objects of both forms, through the scheme. Conversions written
// by hand are those where the forms differ: lists of tags become maps (a name
// that occurs twice is refused, lists come out sorted by name) and the
// free-form metadata of an image becomes a typed structure. The package also
// registers defaults and the field labels that selectors may use.
//
// It knows nothing of requests, users or stores.
//
// +k8s:conversion-gen=image.alauda.io/registry/pkg/imageapiserver/apis/image
// +k8s:conversion-gen-external-types=image.alauda.io/api/image/v1
package v1
