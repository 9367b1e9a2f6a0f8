//go:build component

package pruner

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// use is an image of a stream that an object names by digest. by tells the object, as long as nobody changes it.
type use struct{ stream, digest, by string }

// used are the images that objects name and that are there.
func (l *life) used(t *testing.T) []use {
	t.Helper()
	var all []use
	for _, one := range l.uses(t, heard) {
		if _, err := l.Images.ImageV1().Images().Get(t.Context(), one.digest, metav1.GetOptions{}); err == nil {
			all = append(all, one)
		}
	}
	return all
}

// checkUsed: the Images that objects named all the time are still there, with all their bytes.
func (l *life) checkUsed(t *testing.T, all []use) {
	t.Helper()
	for _, one := range all {
		image, err := l.Images.ImageV1().Images().Get(t.Context(), one.digest, metav1.GetOptions{})
		if err == nil {
			l.complete(t, image)
		} else if slices.Contains(l.uses(t, 0), one) { // else somebody gave it up, and it may go
			t.Errorf("%s uses %s@%s: %v", one.by, one.stream, one.digest, err)
		}
	}
}

// complete: everything that an Image consists of is stored.
func (l *life) complete(t *testing.T, image *imagev1.Image) {
	t.Helper()
	needed := []string{image.Name}
	for _, layer := range image.DockerImageLayers {
		needed = append(needed, layer.Name)
	}
	if config := image.Annotations[imagev1.ImageConfigDigestAnnotation]; config != "" {
		needed = append(needed, config)
	}
	for _, digest := range needed {
		if !l.stored(t, digest) {
			t.Errorf("Image %s misses blob %s", image.Name, digest)
		}
	}
}

// checkAll looks at everything while nobody changes anything.
func (l *life) checkAll(t *testing.T) {
	t.Helper()
	images, err := l.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	exists := map[string]bool{}
	for i := range images.Items {
		exists[images.Items[i].Name] = true
		l.complete(t, &images.Items[i])
	}
	for i := range images.Items {
		for _, child := range images.Items[i].DockerImageManifests {
			if !exists[child.Digest] {
				t.Errorf("index %s misses its child %s", images.Items[i].Name, child.Digest)
			}
		}
	}
	for n := range streams {
		stream := fmt.Sprint("app", n)
		for _, digest := range l.listed(t, stream) {
			if !exists[digest] {
				t.Errorf("stream %s names %s, which does not exist", stream, digest)
			} else if err := l.pull(t.Context(), stream, digest); err != nil {
				t.Errorf("%s@%s cannot be pulled: %v", stream, digest, err)
			}
		}
	}
	l.checkUsed(t, l.used(t))
}

// pull reads a manifest with everything below it through the registry.
func (l *life) pull(ctx context.Context, stream, digest string) error {
	descriptor, err := remote.Get(l.digestOf(stream, digest), l.options(ctx)...)
	if err != nil {
		return err
	}
	if index, err := descriptor.ImageIndex(); err == nil && descriptor.MediaType.IsIndex() {
		manifest, err := index.IndexManifest()
		if err != nil {
			return err
		}
		for _, child := range manifest.Manifests {
			if err := l.pull(ctx, stream, child.Digest.String()); err != nil {
				return fmt.Errorf("child %s: %w", child.Digest, err)
			}
		}
		l.tally.pulled.Add(1)
		return nil
	}
	image, err := descriptor.Image()
	if err != nil {
		return err
	}
	config, err := image.ConfigName()
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	blobs := []string{config.String()}
	for _, layer := range layers {
		hash, err := layer.Digest()
		if err != nil {
			return err
		}
		blobs = append(blobs, hash.String())
	}
	for _, blob := range blobs {
		if err := l.readBlob(ctx, stream, blob); err != nil {
			return fmt.Errorf("blob %s: %w", blob, err)
		}
	}
	l.tally.pulled.Add(1)
	return nil
}

func (l *life) digestOf(stream, digest string) name.Digest {
	repository, _ := name.NewRepository(l.host+"/"+l.namespace+"/"+stream, name.Insecure) // names of this test
	return repository.Digest(digest)
}

func (l *life) readBlob(ctx context.Context, stream, digest string) error {
	layer, err := remote.Layer(l.digestOf(stream, digest), l.options(ctx)...)
	if err != nil {
		return err
	}
	content, err := layer.Compressed() // verified while it is read
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return err
}
