package main

import (
	"fmt"
	"maps"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// labels are the standard annotations of OCI images, as configuration labels.
func labels(image imageSettings, s stamp) map[string]string {
	labels := map[string]string{
		"org.opencontainers.image.title":       image.Name,
		"org.opencontainers.image.description": image.Description,
	}
	if image.Sample {
		return labels
	}
	labels["org.opencontainers.image.vendor"] = "image.alauda.io"
	labels["org.opencontainers.image.version"] = s.Version
	if s.Commit != "" {
		labels["org.opencontainers.image.revision"] = s.Commit
	}
	maps.Copy(labels, image.Labels)
	return labels
}

// assemble makes the image of one platform from its layers.
func assemble(image imageSettings, p platform, s stamp, layers []v1.Layer) (v1.Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	config := &v1.ConfigFile{
		OS:           p.OS,
		Architecture: p.Arch,
		Created:      v1.Time{Time: epoch},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User:       image.User,
			Entrypoint: []string{image.entrypoint()},
			Env:        []string{"PATH=/usr/bin"},
			WorkingDir: "/",
			Labels:     labels(image, s),
		},
	}
	if image.contentOnly() {
		config.Config = v1.Config{Labels: config.Config.Labels}
	}
	configured, err := mutate.ConfigFile(base, config)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Name, err)
	}
	var additions []mutate.Addendum
	for _, layer := range layers {
		additions = append(additions, mutate.Addendum{
			Layer:     layer,
			MediaType: types.OCILayer,
			History:   v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "hack/images"},
		})
	}
	built, err := mutate.Append(configured, additions...)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image.Name, err)
	}
	return built, nil
}

// platformImage is the image of one platform.
type platformImage struct {
	platform platform
	image    v1.Image
}

// assembleIndex joins the images of all platforms.
func assembleIndex(images []platformImage) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, one := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        one.image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: one.platform.OS, Architecture: one.platform.Arch}},
		})
	}
	return index
}
