package imageapitest

import (
	"context"
	"slices"
	"strings"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// pageSize is small, so that lists of tests have several pages.
const pageSize = 2

// SetRegistryConfig stores the Config of the operator; nil removes it.
func (a *API) SetRegistryConfig(config *imageregistryv1.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = config
}

// RegistryConfig returns the Config of the operator, nil without.
func (a *API) RegistryConfig(context.Context) (*imageregistryv1.Config, error) {
	end, err := a.begin("RegistryConfig")
	if err != nil {
		return nil, err
	}
	defer end()
	return a.config.DeepCopy(), nil
}

// StreamPages lists all streams in pages. Every page is a call.
func (a *API) StreamPages(_ context.Context, visit func([]imagev1.ImageStream) error) error {
	return pages(a, "StreamPages", visit, func() (all []imagev1.ImageStream) {
		for _, stream := range a.streams {
			all = append(all, *stream.DeepCopy())
		}
		slices.SortFunc(all, func(x, y imagev1.ImageStream) int {
			return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name)
		})
		return all
	})
}

// ImagePages lists all images in pages. Every page is a call.
func (a *API) ImagePages(_ context.Context, visit func([]imagev1.Image) error) error {
	return pages(a, "ImagePages", visit, func() (all []imagev1.Image) {
		for _, image := range a.images {
			all = append(all, *image.DeepCopy())
		}
		slices.SortFunc(all, func(x, y imagev1.Image) int { return strings.Compare(x.Name, y.Name) })
		return all
	})
}

// pages visits what was there at the first page.
func pages[T any](a *API, call string, visit func([]T) error, list func() []T) error {
	end, err := a.begin(call)
	if err != nil {
		return err
	}
	all := list()
	end()
	for {
		page := all[:min(pageSize, len(all))]
		if err := visit(page); err != nil {
			return err
		}
		if all = all[len(page):]; len(all) == 0 {
			return nil
		}
		end, err := a.begin(call)
		if err != nil {
			return err
		}
		end()
	}
}
