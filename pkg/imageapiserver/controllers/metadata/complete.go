package metadata

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

const (
	// maxDepth and maxChildren bound what is read for one index, as imports do.
	maxDepth    = 3
	maxChildren = 200
)

// errTooLarge says that an index has more below it than anybody could pull.
var errTooLarge = errors.New("the index names too many manifests or is nested too deeply")

// complete describes one Image from the registry. It does nothing for an Image that is complete, gone, or not of
// this registry.
func (c *Controller) complete(ctx context.Context, name string) error {
	image, err := c.Images.Find(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	namespace, stream, ours := c.Hosts().Own(image.DockerImageReference)
	if !ours || !Incomplete(image) {
		return nil
	}
	source, err := c.Registry.Repository(namespace, stream)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	read, err := fetch(ctx, source, name, image.DockerImageManifestMediaType)
	if err != nil {
		return fmt.Errorf("image %s in %s/%s: %w", name, namespace, stream, err)
	}
	if read.parsed.IsIndex() {
		below := &children{controller: c, source: source, namespace: namespace, stream: stream}
		if err := below.record(ctx, read.parsed, 1); err != nil {
			return fmt.Errorf("children of image %s in %s/%s: %w", name, namespace, stream, err)
		}
		if err := c.renew(ctx, name, below); err != nil {
			return err
		}
	}
	if err := c.Images.Change(ctx, name, read.describe); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("image %s: %w", name, err)
	}
	klog.FromContext(ctx).V(2).Info("Image completed", "digest", name, "namespace", namespace, "stream", stream)
	return nil
}

// document is a manifest with its config.
type document struct {
	parsed    *manifest.Manifest
	mediaType string
	config    []byte
}

// fetch reads a manifest and, unless it is an index, its config. announced is the media type that is recorded
// already, if any.
func fetch(ctx context.Context, source Repository, name, announced string) (*document, error) {
	answer, err := source.Manifest(ctx, name)
	if err != nil {
		return nil, err
	}
	if answer.Digest.String() != name {
		return nil, fmt.Errorf("the registry answered with %s", answer.Digest)
	}
	if announced == "" {
		announced = answer.MediaType
	}
	parsed, err := manifest.Parse(answer.Content, announced)
	if err != nil {
		return nil, err
	}
	read := &document{parsed: parsed, mediaType: announced}
	if !parsed.IsIndex() {
		if read.config, err = source.Blob(ctx, parsed.Config.Digest, manifest.MaxConfigBytes); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	return read, nil
}

// describe gives an Image the documents from which the store fills in the description. Because the bytes are
// here, the store keeps no copy of them.
func (d *document) describe(image *imageapi.Image) {
	image.DockerImageManifest = string(d.parsed.Raw)
	image.DockerImageConfig = string(d.config)
	if image.DockerImageManifestMediaType == "" {
		image.DockerImageManifestMediaType = d.mediaType
	}
	if image.Annotations == nil {
		image.Annotations = map[string]string{}
	}
	image.Annotations[imagev1.ManagedByAlaudaAnnotation] = "true"
	image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] = "true"
}

// children records what is below an index.
type children struct {
	controller        *Controller
	source            Repository
	namespace, stream string
	// digests are all children that were read, missing says that the repository does not have some.
	digests []string
	missing bool
}

// record creates the Images of the children, and stamps those that exist. A child that the repository does not
// have is left out: an index may name platforms that nobody pushed.
func (b *children) record(ctx context.Context, index *manifest.Manifest, depth int) error {
	if depth > maxDepth {
		return errTooLarge
	}
	for _, descriptor := range index.Manifests {
		if len(b.digests) >= maxChildren {
			return errTooLarge
		}
		name := descriptor.Digest.String()
		read, err := fetch(ctx, b.source, name, descriptor.MediaType)
		if remote.KindOf(err) == remote.NotFound && err != nil {
			b.missing = true
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.digests = append(b.digests, name)
		if read.parsed.IsIndex() {
			if err := b.record(ctx, read.parsed, depth+1); err != nil {
				return err
			}
		}
		if err := b.store(ctx, name, read); err != nil {
			return err
		}
	}
	return nil
}

func (b *children) store(ctx context.Context, name string, read *document) error {
	spec, ok := b.controller.Hosts().PullSpec(b.namespace, b.stream, name)
	if !ok {
		return errNoHost
	}
	image := &imageapi.Image{DockerImageReference: spec, DockerImageManifestMediaType: read.mediaType}
	image.Name = name
	read.describe(image)
	_, err := b.controller.Images.Record(ctx, image, nil)
	if err == nil || !apierrors.IsAlreadyExists(err) {
		return err
	}
	return b.controller.stamper.Begin(false).Stamp(ctx, []string{name})
}

// renew lets the items of an index say now, so that its children count as what came with it, in each stream
// whose repository has all of them.
func (c *Controller) renew(ctx context.Context, index string, below *children) error {
	if below.missing || len(below.digests) == 0 {
		return nil
	}
	hosts := c.Hosts()
	for _, stream := range c.Streams.All() {
		if !provesFor(stream, index, below.digests, hosts) {
			continue
		}
		if stream.Namespace != below.namespace || stream.Name != below.stream {
			readable, err := c.readable(ctx, stream, below.digests)
			if err != nil {
				return err
			}
			if !readable {
				continue
			}
		}
		if err := c.setNow(ctx, stream, index, below.digests); err != nil {
			return fmt.Errorf("items of image %s in %s/%s: %w", index, stream.Namespace, stream.Name, err)
		}
	}
	return nil
}

// readable tells whether the repository of a stream has all the manifests.
func (c *Controller) readable(ctx context.Context, stream *imageapi.ImageStream, digests []string) (bool, error) {
	source, err := c.Registry.Repository(stream.Namespace, stream.Name)
	if err != nil {
		return false, err
	}
	for _, name := range digests {
		if _, err := digest.Parse(name); err != nil {
			return false, fmt.Errorf("child %s: %w", name, err)
		}
		_, err := source.Head(ctx, name)
		if err != nil && remote.KindOf(err) == remote.NotFound {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("%s in %s/%s: %w", name, stream.Namespace, stream.Name, err)
		}
	}
	return true, nil
}

func (c *Controller) setNow(ctx context.Context, found *imageapi.ImageStream, index string, below []string) error {
	hosts, now := c.Hosts(), metav1.NewTime(c.Clock.Now())
	err := c.change(ctx, found, func(stream *imageapi.ImageStream) {
		if !provesFor(stream, index, below, hosts) {
			return
		}
		for tag, list := range stream.Status.Tags {
			for i, event := range list.Items {
				if event.Image == index && hosts.IsLocal(event.DockerImageReference, stream.Namespace, stream.Name) {
					list.Items[i].Created = now
				}
			}
			stream.Status.Tags[tag] = list
		}
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // The stream is gone, or another one has its name.
	}
	return err
}
