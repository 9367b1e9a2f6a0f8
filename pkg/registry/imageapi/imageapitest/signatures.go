package imageapitest

import (
	"context"
	"slices"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// StreamImage implements signatures.Client: an image that the history of the stream names.
func (a *API) StreamImage(_ context.Context, name route.Name, digest string) (*imagev1.ImageStreamImage, error) {
	end, err := a.begin("StreamImage")
	if err != nil {
		return nil, err
	}
	defer end()
	stream, image := a.streams[name], a.images[digest]
	if stream == nil || image == nil || !slices.ContainsFunc(stream.Status.Tags, func(tag imagev1.NamedTagEventList) bool {
		return slices.ContainsFunc(tag.Items, func(item imagev1.TagEvent) bool { return item.Image == digest })
	}) {
		return nil, notFound("imagestreamimages", name.Stream+"@"+digest)
	}
	return &imagev1.ImageStreamImage{Image: *image.DeepCopy()}, nil
}

// CreateSignature implements signatures.Client.
func (a *API) CreateSignature(_ context.Context, signature *imagev1.ImageSignature) error {
	end, err := a.begin("CreateSignature")
	if err != nil {
		return err
	}
	defer end()
	digest, _, _ := strings.Cut(signature.Name, "@")
	image := a.images[digest]
	if image == nil {
		return notFound("images", digest)
	}
	for _, existing := range image.Signatures {
		if existing.Name == signature.Name {
			return apierrors.NewAlreadyExists(schema.GroupResource{Group: imagev1.GroupName, Resource: "imagesignatures"}, signature.Name)
		}
	}
	image.Signatures = append(image.Signatures, *signature.DeepCopy())
	return nil
}
