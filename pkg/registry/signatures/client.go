package signatures

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Client makes the calls to the image API; errors are those of the API.
type Client interface {
	// StreamImage reads an image as part of a stream; it is not found when the stream has
	// it not.
	StreamImage(ctx context.Context, name route.Name, digest string) (*imagev1.ImageStreamImage, error)
	// CreateSignature adds a signature to the image that its name says.
	CreateSignature(ctx context.Context, signature *imagev1.ImageSignature) error
}

type kubeClient struct{ images versioned.Interface }

// NewKubeClient returns the Client of a cluster.
func NewKubeClient(config *rest.Config) (Client, error) {
	images, err := versioned.NewForConfig(imageapi.CallConfig(config))
	if err != nil {
		return nil, fmt.Errorf("client of image signatures: %w", err)
	}
	return kubeClient{images}, nil
}

func (k kubeClient) StreamImage(ctx context.Context, name route.Name, digest string) (*imagev1.ImageStreamImage, error) {
	return k.images.ImageV1().ImageStreamImages(name.Namespace).Get(ctx, name.Stream+"@"+digest, metav1.GetOptions{})
}

func (k kubeClient) CreateSignature(ctx context.Context, signature *imagev1.ImageSignature) error {
	_, err := k.images.ImageV1().ImageSignatures().Create(ctx, signature, metav1.CreateOptions{})
	return err
}

// Refusal turns an error of the image API into what the client must see.
func Refusal(err error, name route.Name, digest string) error {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err):
		return apierror.New(http.StatusNotFound, apierror.CodeManifestUnknown, "image stream %q has no image %s", name, digest).WithCause(err)
	case apierrors.IsAlreadyExists(err):
		return apierror.New(http.StatusConflict, apierror.CodeSignatureExists, "the image has this signature already").WithCause(err)
	case (apierrors.IsBadRequest(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err)) && errors.As(err, &status):
		return invalid("%s", status.Status().Message).WithCause(err)
	}
	return imageapi.Refusal(err, name)
}
