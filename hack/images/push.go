package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pushOptions are the flags of `push`.
type pushOptions struct {
	Root      string
	Out       string
	Only      []string
	Registry  string
	Tag       string
	PlainHTTP bool
}

func defaultPushOptions() pushOptions { return pushOptions{Root: ".", Out: "_output"} }

// Validate checks what can be checked without looking at the repository.
func (o pushOptions) Validate() error {
	if o.Registry == "" {
		return errors.New("--registry HOST/PREFIX is required")
	}
	tag := o.Tag
	if tag == "" {
		tag = "dev"
	}
	_, err := o.target("x", tag)
	return err
}

func (o pushOptions) target(image, tag string) (name.Tag, error) {
	var options []name.Option
	if o.PlainHTTP {
		options = append(options, name.Insecure)
	}
	target, err := name.NewTag(strings.TrimSuffix(o.Registry, "/")+"/"+image+":"+tag, options...)
	if err != nil {
		return name.Tag{}, fmt.Errorf("--registry %q: %w", o.Registry, err)
	}
	return target, nil
}

// push sends the built image indexes, with the credentials that docker or podman keep.
func push(ctx context.Context, options pushOptions, log io.Writer) error {
	all, err := loadSettings(options.Root)
	if err != nil {
		return err
	}
	selected, err := selectImages(all, options.Only)
	if err != nil {
		return err
	}
	for _, image := range selected {
		if image.Sample && len(options.Only) == 0 {
			continue // only the product's images are published unless asked for by name
		}
		if err := pushOne(ctx, options, image.Name, log); err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	return nil
}

func pushOne(ctx context.Context, options pushOptions, image string, log io.Writer) error {
	index, tag, err := readLayout(layoutDir(options.Out, image))
	if err != nil {
		return err
	}
	if options.Tag != "" {
		tag = options.Tag
	}
	target, err := options.target(image, tag)
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(target, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "pushed %s@%s\n", target, digest)
	return nil
}

// readLayout returns the image index of a layout and the tag it was built with.
func readLayout(dir string) (v1.ImageIndex, string, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, "", fmt.Errorf("is not built yet: %w", err)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, "", fmt.Errorf("layout %s: %w", dir, err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return nil, "", fmt.Errorf("layout %s: %w", dir, err)
	}
	if len(manifest.Manifests) != 1 {
		return nil, "", fmt.Errorf("layout %s: holds %d images, want one", dir, len(manifest.Manifests))
	}
	descriptor := manifest.Manifests[0]
	index, err := top.ImageIndex(descriptor.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("layout %s: %w", dir, err)
	}
	return index, descriptor.Annotations[refNameAnnotation], nil
}
