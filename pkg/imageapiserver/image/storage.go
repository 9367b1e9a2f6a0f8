package image

import "k8s.io/apiserver/pkg/registry/generic/registry"

// REST serves images.
type REST struct {
	*registry.Store
}
