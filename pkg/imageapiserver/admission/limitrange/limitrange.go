// Package limitrange is the admission plugin image.alauda.io/ImageLimitRange:
// it refuses images that are larger than the LimitRanges of their namespace
// allow (type alauda.io/Image, max.storage).
//
// In: ImageStreamMappings that are created, the LimitRanges of the cluster and
// the layer index. Out: nothing, or 403 with both sizes. The size of an image
// is that of its config and its distinct layers; of an index the size of its
// largest child that is known, never the sum.
//
// Who copies an existing image sends a description that nobody believes, so
// the size that the layer index knows counts as well. Imports are not checked,
// because they store no bytes. The plugin changes nothing.
package limitrange

import (
	"context"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/layers"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
)

// PluginName is the name of the plugin in flags.
const PluginName = imagev1.ImageLimitRangePluginName

// retrySeconds is when a client should ask again while the limits are not
// known.
const retrySeconds = 1

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(PluginName, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin checks the size of images.
type Plugin struct {
	*admission.Handler
	ranges *limits.Ranges
	index  layers.Index
	clock  clock.PassiveClock
}

var (
	_ admission.ValidationInterface                = &Plugin{}
	_ admission.InitializationValidator            = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
	_ WantsLayerIndex                              = &Plugin{}
)

// New makes a plugin that still has to be initialized.
func New() *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create), clock: clock.RealClock{}}
}

// WantsLayerIndex is implemented by plugins that need the layer index.
type WantsLayerIndex interface {
	SetLayerIndex(index layers.Index)
}

// Initializer hands the layer index to plugins.
type Initializer struct {
	// Index may begin to know images later.
	Index layers.Index
}

// Initialize implements admission.PluginInitializer.
func (i Initializer) Initialize(plugin admission.Interface) {
	if wants, ok := plugin.(WantsLayerIndex); ok {
		wants.SetLayerIndex(i.Index)
	}
}

// SetExternalKubeInformerFactory takes the LimitRanges.
func (p *Plugin) SetExternalKubeInformerFactory(factory informers.SharedInformerFactory) {
	p.ranges = limits.NewRanges(factory.Core().V1().LimitRanges())
}

// SetLayerIndex takes the index of sizes.
func (p *Plugin) SetLayerIndex(index layers.Index) { p.index = index }

// ValidateInitialization tells what is missing.
func (p *Plugin) ValidateInitialization() error {
	if p.ranges == nil || p.index == nil {
		return errors.New(PluginName + " needs informers and the layer index")
	}
	return nil
}

// Validate refuses mappings of images that are too large.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != imageapi.Resource(imagev1.ResourceNameImageStreamMappings) || a.GetSubresource() != "" {
		return nil
	}
	mapping, ok := a.GetObject().(*imageapi.ImageStreamMapping)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamMapping", a.GetObject()))
	}
	err := p.check(ctx, a.GetNamespace(), &mapping.Image)
	var exceeded *limits.ExceededError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exceeded):
		return admission.NewForbidden(a, err)
	case errors.Is(err, limits.ErrNotSynced), errors.Is(err, layers.ErrNotSynced):
		return apierrors.NewServerTimeout(a.GetResource().GroupResource(), "create", retrySeconds)
	}
	return apierrors.NewInternalError(fmt.Errorf("size of image %s: %w", mapping.Image.Name, err))
}

func (p *Plugin) check(ctx context.Context, namespace string, sent *imageapi.Image) error {
	ranges, err := p.ranges.In(namespace)
	if err != nil || !limits.HasImageLimit(ranges) {
		return err
	}
	size, err := p.size(ctx, image.Described(sent, p.clock.Now()))
	if err != nil {
		return err
	}
	return limits.CheckImage(ranges, size)
}
