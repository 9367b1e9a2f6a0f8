package image

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
)

// strategy prepares and checks images.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	clock clock.PassiveClock
}

var (
	_ rest.RESTCreateStrategy              = strategy{}
	_ rest.RESTUpdateStrategy              = strategy{}
	_ rest.GarbageCollectionDeleteStrategy = strategy{}
)

func newStrategy(typer runtime.ObjectTyper, clock clock.PassiveClock) strategy {
	return strategy{ObjectTyper: typer, NameGenerator: names.SimpleNameGenerator, clock: clock}
}

// NamespaceScoped is false: one Image serves all streams.
func (strategy) NamespaceScoped() bool { return false }

// AllowCreateOnUpdate is false; server-side apply creates by itself.
func (strategy) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate is false: a writer must have seen what he replaces.
func (strategy) AllowUnconditionalUpdate(context.Context) bool { return false }

// DefaultGarbageCollectionPolicy refuses orphan and foreground deletion: the
// server never adds finalizers to an Image.
func (strategy) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	return rest.Unsupported
}

// PrepareForCreate completes an image from its manifest, if it carries one,
// and drops what the blob store keeps.
func (s strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	image := obj.(*imageapi.Image)
	if err := complete(image, s.clock.Now()); err != nil {
		// The image is recorded as it was sent; validation decides whether
		// that is enough.
		klog.V(2).InfoS("Image metadata could not be read from its manifest", "image", image.Name, "err", err)
	}
	dropStored(image)
	delete(image.Annotations, imagev1.ImageManagedTimeAnnotation)
}

// Validate checks a new image.
func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validation.Bounded(validation.Image(obj.(*imageapi.Image), nil))
}

// PrepareForUpdate restores what cannot change and completes an image that
// gets its manifest only now.
func (s strategy) PrepareForUpdate(_ context.Context, obj, oldObj runtime.Object) {
	image, old := obj.(*imageapi.Image), oldObj.(*imageapi.Image)
	restore(image, old)
	withdraw(image, old)
	s.dateManaged(image, old)
	if err := complete(image, s.clock.Now()); err != nil {
		klog.V(2).InfoS("Image metadata could not be read from its manifest", "image", image.Name, "err", err)
	}
	dropStored(image)
}

// ValidateUpdate checks a changed image.
func (strategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return validation.Bounded(validation.ImageUpdate(obj.(*imageapi.Image), old.(*imageapi.Image)))
}

// Canonicalize has nothing to do.
func (strategy) Canonicalize(runtime.Object) {}

// WarningsOnCreate has nothing to say.
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

// WarningsOnUpdate has nothing to say.
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// dateManaged notes when the bytes of an image that was there before came into
// the registry. What was proven about the image before that time was proven
// without its bytes. The time is the server's to say.
func (s strategy) dateManaged(image, old *imageapi.Image) {
	const managed = imagev1.ManagedByAlaudaAnnotation
	dated, wasDated := old.Annotations[imagev1.ImageManagedTimeAnnotation]
	switch {
	case image.Annotations[managed] != "true":
		delete(image.Annotations, imagev1.ImageManagedTimeAnnotation)
	case old.Annotations[managed] != "true":
		annotate(image, imagev1.ImageManagedTimeAnnotation, s.clock.Now().UTC().Format(time.RFC3339))
	case wasDated:
		annotate(image, imagev1.ImageManagedTimeAnnotation, dated)
	default:
		delete(image.Annotations, imagev1.ImageManagedTimeAnnotation)
	}
}

// dropStored removes the raw documents of an image whose manifest and config
// are in the blob store.
func dropStored(image *imageapi.Image) {
	if image.Annotations[imagev1.ImageManifestBlobStoredAnnotation] == "true" {
		image.DockerImageManifest, image.DockerImageConfig = "", ""
	}
}

// restore undoes changes of immutable parts and of raw documents that do not
// belong to the image.
func restore(image, old *imageapi.Image) {
	old.DockerImageMetadata.DeepCopyInto(&image.DockerImageMetadata)
	image.DockerImageMetadataVersion = old.DockerImageMetadataVersion
	image.DockerImageLayers = append([]imageapi.ImageLayer(nil), old.DockerImageLayers...)
	if len(old.DockerImageManifests) > 0 {
		image.DockerImageManifests = append([]imageapi.ImageManifest(nil), old.DockerImageManifests...)
	}
	if len(old.DockerImageSignatures) > 0 {
		image.DockerImageSignatures = old.DeepCopy().DockerImageSignatures
	}
	if image.DockerImageManifest != "" && image.DockerImageManifest != old.DockerImageManifest && !hashesTo(image.DockerImageManifest, image.Name) {
		image.DockerImageManifest = old.DockerImageManifest
	}
	if image.DockerImageConfig != "" && image.DockerImageConfig != old.DockerImageConfig && !hashesTo(image.DockerImageConfig, configDigest(image)) {
		image.DockerImageConfig = old.DockerImageConfig
	}
}
