package imagestream

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// untypedPatch begins the error of an apply whose fields the kind does not
// have.
const untypedPatch = "failed to create typed patch object"

// ClientErrors turns errors about what the client sent, which the library
// would answer as failures of the server, into bad requests.
func ClientErrors(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo { return clientErrors{info} }

type clientErrors struct {
	rest.UpdatedObjectInfo
}

// UpdatedObject implements rest.UpdatedObjectInfo.
func (c clientErrors) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	obj, err := c.UpdatedObjectInfo.UpdatedObject(ctx, old)
	var status apierrors.APIStatus
	if err != nil && !errors.As(err, &status) && strings.HasPrefix(err.Error(), untypedPatch) {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return obj, err
}
