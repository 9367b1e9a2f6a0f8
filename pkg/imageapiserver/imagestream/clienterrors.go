package imagestream

import (
	"k8s.io/apiserver/pkg/registry/rest"

	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
)

// ClientErrors is clienterrors.Of.
func ClientErrors(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo { return clienterrors.Of(info) }
