package gc

import (
	"context"
	"fmt"
	"sync/atomic"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// Metadata is what the API knows. A list is complete or an error, and calls visit once
// for each page; the page belongs to visit until it returns.
type Metadata interface {
	StreamPages(ctx context.Context, visit func([]imagev1.ImageStream) error) error
	ImagePages(ctx context.Context, visit func([]imagev1.Image) error) error
	// RegistryConfig reads the Config of the operator; nil when there is no operator.
	RegistryConfig(ctx context.Context) (*imageregistryv1.Config, error)
}

const pageSize = 500

// NewKubeMetadata reads from the cluster.
func NewKubeMetadata(config *rest.Config) (Metadata, error) {
	warnings := &incomplete{}
	config = rest.CopyConfig(config)
	config.WarningHandlerWithContext = warnings
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("image API client: %w", err)
	}
	return &kubeMetadata{client: client, warnings: warnings}, nil
}

type kubeMetadata struct {
	client   versioned.Interface
	warnings *incomplete
}

// incomplete hears whether the API left damaged objects out of the list that is being read.
type incomplete struct{ heard atomic.Bool }

var _ rest.WarningHandlerWithContext = &incomplete{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (i *incomplete) HandleWarningHeaderWithContext(ctx context.Context, code int, agent, text string) {
	if text == imagev1.WarningIncompleteList {
		i.heard.Store(true)
	}
	rest.WarningLogger{}.HandleWarningHeaderWithContext(ctx, code, agent, text)
}

func (i *incomplete) check(what string) error {
	if !i.heard.Load() {
		return nil
	}
	return &Guard{GuardIncomplete, "the list of " + what + " lacks damaged objects; the log of the image API server names them"}
}

func (k *kubeMetadata) StreamPages(ctx context.Context, visit func([]imagev1.ImageStream) error) error {
	k.warnings.heard.Store(false)
	return eachPage("image streams", func(options metav1.ListOptions) (string, error) {
		list, err := k.client.ImageV1().ImageStreams(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return "", err
		}
		if err := k.warnings.check("image streams"); err != nil {
			return "", err
		}
		return list.Continue, visit(list.Items)
	})
}

func (k *kubeMetadata) ImagePages(ctx context.Context, visit func([]imagev1.Image) error) error {
	k.warnings.heard.Store(false)
	return eachPage("images", func(options metav1.ListOptions) (string, error) {
		list, err := k.client.ImageV1().Images().List(ctx, options)
		if err != nil {
			return "", err
		}
		if err := k.warnings.check("images"); err != nil {
			return "", err
		}
		return list.Continue, visit(list.Items)
	})
}

// eachPage reads a list to its end. A continuation that expired ends it with the error of
// the API: what was read then belongs to different moments.
func eachPage(what string, page func(metav1.ListOptions) (string, error)) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		next, err := page(options)
		if err != nil {
			return fmt.Errorf("list %s: %w", what, err)
		}
		if options.Continue = next; next == "" {
			return nil
		}
	}
}

// RegistryConfig implements Metadata. Without the operator nobody serves the group, which
// is "not found" as well.
func (k *kubeMetadata) RegistryConfig(ctx context.Context) (*imageregistryv1.Config, error) {
	config, err := k.client.ImageregistryV1().Configs().Get(ctx, imageregistryv1.SingletonName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Config %s: %w", imageregistryv1.SingletonName, err)
	}
	return config, nil
}
