package clienterrors_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	conversions "image.alauda.io/registry/pkg/imageapiserver/apis/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
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
		"unknown value": {errors.New("failed to convert to unversioned (/x; image.alauda.io/v1, Kind=Image): dockerImageMetadata: json"), apierrors.IsBadRequest},
		"wire form":     {&conversions.WireError{Field: "spec.tags", Err: errors.New("duplicate tag")}, apierrors.IsBadRequest},
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

// A request has room for a hundred thousand labels, and each can be wrong.
func TestManyMistakesInMetadataAreRefusedAtOnce(t *testing.T) {
	labelled := func(count int) *imageapi.Image {
		image := &imageapi.Image{}
		image.Name, image.Labels = "x", map[string]string{}
		for i := range count {
			image.Labels[fmt.Sprint("a b", i)] = "c d"
		}
		return image
	}
	_, err := clienterrors.Of(rest.DefaultUpdatedObjectInfo(labelled(50_000))).UpdatedObject(t.Context(), &imageapi.Image{})
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		t.Fatalf("%.300v, want Invalid", err)
	}
	details := status.Status().Details
	if details.Kind != "Image" || details.Group != "image.alauda.io" || details.Name != "x" || len(details.Causes) != validation.MaxErrors+1 || details.Causes[0].Field != "metadata.labels" {
		t.Errorf("details are %s %s %s with %d causes", details.Group, details.Kind, details.Name, len(details.Causes))
	}
	// Few mistakes are left to the store, which finds others besides.
	if _, err := clienterrors.Of(rest.DefaultUpdatedObjectInfo(labelled(1))).UpdatedObject(t.Context(), &imageapi.Image{}); err != nil {
		t.Errorf("one mistake: %v", err)
	}
}
