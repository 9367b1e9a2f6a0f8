// Package clienterrors answers mistakes of clients as such.
//
// In: what an update makes of an object, as the generic API server hands it to
// a store. Out: the same, with those errors as BadRequest that the library
// returns without a status and that are about what the client sent: a
// server-side apply of fields that the kind does not have. Without it they are
// answered with 500, and clients try again for ever.
//
// It judges by the error alone, and never changes an object or an error that
// has a status.
package clienterrors

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

// Of wraps what an update makes of an object.
func Of(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo { return wrapped{info} }

type wrapped struct {
	rest.UpdatedObjectInfo
}

// UpdatedObject implements rest.UpdatedObjectInfo.
func (w wrapped) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	obj, err := w.UpdatedObjectInfo.UpdatedObject(ctx, old)
	var status apierrors.APIStatus
	if err != nil && !errors.As(err, &status) && strings.HasPrefix(err.Error(), untypedPatch) {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return obj, err
}
