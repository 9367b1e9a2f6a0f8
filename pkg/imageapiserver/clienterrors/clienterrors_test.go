package clienterrors_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
)

func TestOnlyMistakesOfClientsBecomeBadRequests(t *testing.T) {
	plain := errors.New("the store is gone")
	conflict := apierrors.NewConflict(schema.GroupResource{}, "failed to create typed patch object", plain)
	for what, test := range map[string]struct {
		err  error
		want func(error) bool
	}{
		"unknown field": {errors.New("failed to create typed patch object (image.alauda.io/v1, Kind=Image): .nonsense: field not declared in schema"), apierrors.IsBadRequest},
		"other error":   {plain, func(err error) bool { return errors.Is(err, plain) && !apierrors.IsBadRequest(err) }},
		"with a status": {conflict, apierrors.IsConflict},
		"none":          {nil, func(err error) bool { return err == nil }},
	} {
		info := clienterrors.Of(rest.DefaultUpdatedObjectInfo(&imageapi.Image{}, func(_ context.Context, obj, _ runtime.Object) (runtime.Object, error) {
			return obj, test.err
		}))
		obj, err := info.UpdatedObject(t.Context(), &imageapi.Image{})
		if !test.want(err) || (err == nil) != (obj != nil) {
			t.Errorf("%s: %v, %v", what, obj, err)
		}
	}
}
