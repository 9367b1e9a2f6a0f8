// Package clienterrors answers mistakes of clients as such, and in time.
//
// In: what an update makes of an object, as the generic API server hands it to
// a store. Out: the same, with those errors as BadRequest that the library
// returns without a status and that are about what the client sent: a
// server-side apply of fields that the kind does not have, and values that the
// kind cannot hold. Without it they are answered with 500, and clients try
// again for ever. And metadata with very many mistakes are refused here with the
// first of them: the library would name all, at the cost of the square of their
// number.
//
// It never changes an object, nor an error that has a status.
package clienterrors

import (
	"context"
	"errors"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	genericvalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	conversions "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// untyped begin errors about a server-side apply that the library makes without
// a type: fields that the kind does not have, and values that it cannot hold.
var untyped = []string{"failed to create typed patch object", "failed to convert to unversioned"}

// Of wraps what an update makes of an object.
func Of(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo { return wrapped{info} }

type wrapped struct {
	rest.UpdatedObjectInfo
}

// UpdatedObject implements rest.UpdatedObjectInfo.
func (w wrapped) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	obj, err := w.UpdatedObjectInfo.UpdatedObject(ctx, old)
	if err != nil {
		return nil, answer(err)
	}
	return obj, metadata(obj)
}

func answer(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	var wire *conversions.WireError
	if errors.As(err, &wire) {
		return apierrors.NewBadRequest(err.Error())
	}
	for _, beginning := range untyped {
		if strings.HasPrefix(err.Error(), beginning) {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	return err
}

// metadata refuses an object whose metadata have more mistakes than an answer
// names.
func metadata(obj runtime.Object) error {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil //nolint:nilerr // the store says what is wrong with it
	}
	errs := genericvalidation.ValidateObjectMetaAccessor(accessor, accessor.GetNamespace() != "", anyName, field.NewPath("metadata"))
	if len(errs) <= validation.MaxErrors {
		return nil
	}
	kind := imageapi.Kind(reflect.TypeOf(obj).Elem().Name())
	return apierrors.NewInvalid(kind, accessor.GetName(), validation.Bounded(errs))
}

// anyName leaves names to the store.
func anyName(string, bool) []string { return nil }
