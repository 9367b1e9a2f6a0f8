// Package layers computes what a repository may serve: the blobs and manifests
// named by the history of an image stream, and which of them are local, that
// is, entered the registry through this very repository.
//
// In: a stream and an Index, which returns reduced records of Images by
// digest. Out: an ImageStreamLayers object. The package also holds the
// simplest Index, which reads every Image from the store; an in-memory index
// of all Images can take its place.
//
// It never decides who may ask (that is the authorizer's work) and never reads
// bytes of images.
package layers

import (
	"context"
	"errors"
	"fmt"
	"time"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// ErrNotSynced is returned by an Index that has not yet seen all Images. It is
// answered to clients as a server time-out that tells when to ask again.
var ErrNotSynced = errors.New("the layer index has not yet synced")

// ErrTooLarge is returned for images that name more than MaxReferences.
var ErrTooLarge = fmt.Errorf("its images name more than %d layers and children: prune its history or spread the images over several streams", MaxReferences)

// Record is the part of an Image that the layers of a stream are made of.
// Records are shared between requests and never modified.
type Record struct {
	// Name is the digest of the image.
	Name string
	// Created is when the image came: the creation time of the Image object, or
	// the later time at which its bytes came into the registry.
	Created time.Time
	// Managed tells that the bytes are in the registry.
	Managed bool
	// MediaType of the manifest, empty when not recorded.
	MediaType string
	// ConfigID is the digest of the config (dockerImageMetadata.Id).
	ConfigID string
	// ConfigSize is the size of the config in bytes, nil when not known.
	ConfigSize *int64
	// Layers are the layers, base layer first.
	Layers []imageapi.ImageLayer
	// Children are the digests of the children of an index.
	Children []string
}

// Index finds reduced records of Images.
type Index interface {
	// Records returns the records of those digests whose Image exists. A
	// digest without Image is left out of the result. It returns
	// ErrNotSynced, possibly wrapped, while it cannot know.
	Records(ctx context.Context, digests []string) (map[string]*Record, error)
}
