package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// formatVersion is raised when the way images are assembled changes, so that results of an older
// program are not taken for current.
const formatVersion = 1

// buildOptions are the flags of `build`.
type buildOptions struct {
	Root      string
	Out       string
	Platforms []string
	Only      []string
	Tag       string
	Registry  string
	CABundle  string
}

func defaultBuildOptions() buildOptions {
	return buildOptions{
		Root:      ".",
		Out:       "_output",
		Platforms: []string{"linux/amd64", "linux/arm64"},
		Tag:       "dev",
		Registry:  "localhost",
		CABundle:  caBundlePath,
	}
}

// Validate checks what can be checked without looking at the repository.
func (o buildOptions) Validate() error {
	if _, err := parsePlatforms(o.Platforms); err != nil {
		return err
	}
	if _, err := name.NewTag(o.reference("x"), name.StrictValidation); err != nil {
		return fmt.Errorf("--registry %q with --tag %q: %w", o.Registry, o.Tag, err)
	}
	return nil
}

func (o buildOptions) reference(image string) string {
	return strings.TrimSuffix(o.Registry, "/") + "/" + image + ":" + o.Tag
}

// builder makes images from compiled binaries.
type builder struct {
	options   buildOptions
	platforms []platform
	compiler  compiler
	caBundle  []byte
	log       io.Writer
}

// build compiles and assembles the selected images. Images without source are left out, and named in
// the error after the others were built.
func build(ctx context.Context, options buildOptions, log io.Writer) error {
	b, present, missing, err := newBuilder(ctx, options, log)
	if err != nil {
		return err
	}
	if err := b.readCABundle(present); err != nil {
		return err
	}
	if err := b.run(ctx, present); err != nil {
		return err
	}
	return noSource(missing)
}

// binaries compiles the programs of the product and nothing else; a sample is no part of it.
func binaries(ctx context.Context, options buildOptions, log io.Writer) error {
	b, present, missing, err := newBuilder(ctx, options, log)
	if err != nil {
		return err
	}
	present = slices.DeleteFunc(present, func(image imageSettings) bool { return image.Sample })
	if err := b.compile(ctx, present); err != nil {
		return err
	}
	return noSource(missing)
}

// newBuilder reads the table of images. It returns the selected ones, and the packages of those that have no source.
func newBuilder(ctx context.Context, options buildOptions, log io.Writer) (b builder, present []imageSettings, missing []string, err error) {
	all, err := loadSettings(options.Root)
	if err != nil {
		return b, nil, nil, err
	}
	selected, err := selectImages(all, options.Only)
	if err != nil {
		return b, nil, nil, err
	}
	platforms, err := parsePlatforms(options.Platforms)
	if err != nil {
		return b, nil, nil, err
	}
	if options.Out, err = filepath.Abs(options.Out); err != nil {
		return b, nil, nil, err
	}
	b = builder{options: options, platforms: platforms, log: log,
		compiler: compiler{root: options.Root, out: options.Out, stamp: readStamp(ctx, options.Root), stderr: log}}
	present, missing = splitMissing(options.Root, selected)
	return b, present, missing, nil
}

func noSource(missing []string) error {
	if len(missing) > 0 {
		return fmt.Errorf("no Go source in %s", strings.Join(missing, ", "))
	}
	return nil
}

func (b *builder) readCABundle(images []imageSettings) error {
	for _, image := range images {
		if !image.CABundle {
			continue
		}
		data, err := os.ReadFile(b.options.CABundle)
		if err != nil {
			return fmt.Errorf("root certificates for image %s (Debian package ca-certificates): %w", image.Name, err)
		}
		b.caBundle = data
		return nil
	}
	return nil
}

func (b *builder) run(ctx context.Context, images []imageSettings) error {
	if len(images) == 0 {
		return nil
	}
	if err := b.compile(ctx, images); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.options.Out, "images"), 0o755); err != nil {
		return err
	}
	for _, image := range images {
		if err := b.image(image); err != nil {
			return fmt.Errorf("image %s: %w", image.Name, err)
		}
	}
	return nil
}

// compile builds the programs of the images for every platform.
func (b *builder) compile(ctx context.Context, images []imageSettings) error {
	programs := slices.DeleteFunc(slices.Clone(images), imageSettings.contentOnly)
	if len(programs) == 0 {
		return nil
	}
	for _, p := range b.platforms {
		start := time.Now()
		if err := b.compiler.compile(ctx, p, programs); err != nil {
			return err
		}
		fmt.Fprintf(b.log, "compiled %d binaries for %s in %s\n", len(programs), p, time.Since(start).Round(100*time.Millisecond))
	}
	return nil
}

// image assembles one image unless the results of the same input are already there.
func (b *builder) image(image imageSettings) error {
	reference := b.options.reference(image.Name)
	key, err := b.inputKey(image)
	if err != nil {
		return err
	}
	keyFile := filepath.Join(b.options.Out, "images", "."+image.Name+".input")
	if b.current(image, keyFile, key) {
		fmt.Fprintf(b.log, "%s is up to date\n", reference)
		return nil
	}
	if err := os.Remove(keyFile); err != nil && !os.IsNotExist(err) {
		return err
	}
	index, images, err := b.assemble(image)
	if err != nil {
		return err
	}
	for _, one := range images {
		if err := writeArchive(archiveFile(b.options.Out, image.Name, one.platform), reference, b.options.Tag, one); err != nil {
			return err
		}
	}
	if err := writeLayout(layoutDir(b.options.Out, image.Name), reference, b.options.Tag, index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.log, "%s@%s\n", reference, digest)
	return os.WriteFile(keyFile, []byte(key), 0o644)
}

func (b *builder) assemble(image imageSettings) (v1.ImageIndex, []platformImage, error) {
	var shared []v1.Layer
	if !image.contentOnly() {
		base, err := newLayer(baseEntries(image, b.caBundle))
		if err != nil {
			return nil, nil, err
		}
		shared = append(shared, base)
	}
	var images []platformImage
	for _, p := range b.platforms {
		entries, err := b.entries(image, p)
		if err != nil {
			return nil, nil, err
		}
		product, err := newLayer(entries)
		if err != nil {
			return nil, nil, err
		}
		built, err := assemble(image, p, b.compiler.stamp, append(slices.Clone(shared), product))
		if err != nil {
			return nil, nil, err
		}
		images = append(images, platformImage{p, built})
	}
	return assembleIndex(images), images, nil
}

// entries are what only this image has.
func (b *builder) entries(image imageSettings, p platform) ([]entry, error) {
	if image.contentOnly() {
		return contentEntries(b.options.Root, image)
	}
	return productEntries(b.options.Root, image, b.compiler.binary(p, image)), nil
}

// inputKey is a digest over everything that decides about the results.
func (b *builder) inputKey(image imageSettings) (string, error) {
	sum := sha256.New()
	settings, err := json.Marshal(image)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "%d %s %s %v\n", formatVersion, settings, b.options.reference(image.Name), labels(image, b.compiler.stamp))
	if image.CABundle {
		fmt.Fprintf(sum, "%x\n", sha256.Sum256(b.caBundle))
	}
	for _, p := range b.platforms {
		fmt.Fprintln(sum, p)
		entries, err := b.entries(image, p)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			fmt.Fprintln(sum, e.path)
			file, err := os.Open(e.source)
			if err != nil {
				return "", err
			}
			_, err = io.Copy(sum, file)
			file.Close()
			if err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (b *builder) current(image imageSettings, keyFile, key string) bool {
	recorded, err := os.ReadFile(keyFile)
	if err != nil || string(recorded) != key {
		return false
	}
	results := []string{filepath.Join(layoutDir(b.options.Out, image.Name), "index.json")}
	for _, p := range b.platforms {
		results = append(results, archiveFile(b.options.Out, image.Name, p))
	}
	for _, result := range results {
		if _, err := os.Stat(result); err != nil {
			return false
		}
	}
	return true
}
