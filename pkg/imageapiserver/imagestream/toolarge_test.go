package imagestream_test

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
)

type tooLarge struct{}

func (tooLarge) Records(context.Context, []string) (map[string]*layers.Record, error) {
	return nil, layers.ErrTooLarge
}

// Who reads the answer is told what to do, and the registry that it is of no use to ask again.
func TestLayersThatAreTooLargeAreRefusedAsSuch(t *testing.T) {
	env := grouptest.New(t)
	stream := grouptest.Stream(ns, "app")
	stream.Status.Tags = map[string]imageapi.TagEventList{"v1": {Items: []imageapi.TagEvent{{Image: "sha256:1"}}}}
	_, err := imagestream.NewLayersREST(env.Streams(), tooLarge{}).Layers(env.Request("alice", ns, "imagestreams"), stream)
	if !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("error %v", err)
	}
}
