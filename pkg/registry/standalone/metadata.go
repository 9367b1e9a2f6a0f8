package standalone

import (
	"context"

	imagev1 "image.alauda.io/api/image/v1"
	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// everything is the tag under which a stream's history names all that is linked.
const everything = "linked"

// Metadata says to collections what is in use: every manifest that is linked in a
// repository, tagged or not. Who wants the bytes of one back deletes the manifest.
type Metadata struct{ api *API }

// Metadata returns what collections ask.
func (a *API) Metadata() Metadata { return Metadata{a} }

// StreamPages visits the repositories, each with all its manifests in its history, so that
// the links to what they consist of stay as well.
func (m Metadata) StreamPages(ctx context.Context, visit func([]imagev1.ImageStream) error) error {
	return m.repositories(ctx, func(name route.Name) error {
		history := imagev1.NamedTagEventList{Tag: everything}
		err := m.manifests(ctx, name, func(canonical digest.Digest) {
			history.Items = append(history.Items, imagev1.TagEvent{Image: canonical.String()})
		})
		if err != nil {
			return err
		}
		return visit([]imagev1.ImageStream{{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream},
			Status:     imagev1.ImageStreamStatus{Tags: []imagev1.NamedTagEventList{history}},
		}})
	})
}

// ImagePages visits the manifests. What they consist of is read from the storage.
func (m Metadata) ImagePages(ctx context.Context, visit func([]imagev1.Image) error) error {
	return m.repositories(ctx, func(name route.Name) error {
		var page []imagev1.Image
		err := m.manifests(ctx, name, func(canonical digest.Digest) {
			page = append(page, imagev1.Image{ObjectMeta: metav1.ObjectMeta{
				Name: canonical.String(), Annotations: map[string]string{imagev1.ImageManifestBlobStoredAnnotation: "true"},
			}})
		})
		if err != nil || len(page) == 0 {
			return err
		}
		return visit(page)
	})
}

// RegistryConfig finds no operator.
func (Metadata) RegistryConfig(context.Context) (*imageregistryv1.Config, error) { return nil, nil }

func (m Metadata) repositories(ctx context.Context, visit func(route.Name) error) error {
	names, err := m.api.StreamNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

func (m Metadata) manifests(ctx context.Context, name route.Name, visit func(canonical digest.Digest)) error {
	return store.Inventory{Store: m.api.store}.Links(ctx, name.String(), store.Revisions, func(_, canonical digest.Digest) error {
		visit(canonical)
		return nil
	})
}
