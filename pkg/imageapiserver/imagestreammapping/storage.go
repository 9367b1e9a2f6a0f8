// Package imagestreammapping serves imagestreammappings: it records an image
// and lets a tag of a stream point at it. The registry does this on every push
// of a manifest.
//
// In: a mapping with an image and a tag, named like the stream. Out: the Image
// (created when it is new) and an event in the history of the tag.
//
// A trusted writer, who may create images, is believed what he says. Everybody
// else can only copy what a stream of this registry contains from which he may
// pull; else an editor could publish, and then pull, any content whose digest
// he knows. Nothing is stored under this resource itself.
package imagestreammapping

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// attempts is how often an Image that is removed under the request's hands is
// created again.
const attempts = 3

// Streams reads and changes image streams of the namespace in ctx.
type Streams interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
	Mutate(ctx context.Context, name string, mutation imagestream.Mutation, fn func(*imageapi.ImageStream) error) (*imageapi.ImageStream, bool, error)
	Stamps(dryRun []string) *lastref.Request
	MaxTagHistory() int
	Admits(ctx context.Context, stream, old *imageapi.ImageStream) error
}

// Images reads and creates Images.
type Images interface {
	Find(ctx context.Context, name string) (*imageapi.Image, error)
	Record(ctx context.Context, image *imageapi.Image, dryRun []string) (*imageapi.Image, error)
	Mutate(ctx context.Context, name string, dryRun []string, fn func(*imageapi.Image) error) (*imageapi.Image, error)
}

// Layers tells what a stream contains, and what an image that comes proves.
type Layers interface {
	Layers(ctx context.Context, stream *imageapi.ImageStream) (*imageapi.ImageStreamLayers, error)
	Proof(ctx context.Context, now time.Time, digest string, children []string) (time.Time, error)
}

// Options are what mappings need.
type Options struct {
	Streams Streams
	Images  Images
	Layers  Layers
	Access  imagestream.AccessReviewer
	Hosts   repository.HostSource
	Typer   runtime.ObjectTyper
	Clock   clock.PassiveClock
}

// REST serves imagestreammappings.
type REST struct {
	Options
	strategy strategy
}

var (
	_ rest.Creater              = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST serves mappings.
func NewREST(options Options) *REST {
	return &REST{Options: options, strategy: strategy{ObjectTyper: options.Typer, NameGenerator: names.SimpleNameGenerator, hosts: options.Hosts}}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.ImageStreamMapping{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is true.
func (*REST) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagestreammapping" }

// Create records the image and moves the tag. The last of several mappings of
// one tag wins, and all succeed.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	mapping, ok := obj.(*imageapi.ImageStreamMapping)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamMapping", obj))
	}
	rest.FillObjectMetaSystemFields(&mapping.ObjectMeta)
	if err := rest.BeforeCreate(r.strategy, ctx, mapping); err != nil {
		return nil, err
	}
	if validate != nil {
		if err := validate(ctx, mapping.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	stream, err := r.Streams.Find(ctx, mapping.Name)
	if err != nil {
		return nil, err
	}
	trusted, err := r.Access.IsTrustedWriter(ctx)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("mapping into %s/%s: %w", mapping.Namespace, mapping.Name, err))
	}
	if trusted {
		if err := r.admits(ctx, mapping, stream); err != nil {
			return nil, err
		}
		err = r.write(imagestream.WithAnyRegistry(ctx), mapping, options.DryRun)
	} else {
		err = r.copy(ctx, mapping, stream, options.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// admits refuses a push that limits or quotas would refuse in the end, before
// its Image is stored: nobody would count what is stored by refused pushes.
func (r *REST) admits(ctx context.Context, mapping *imageapi.ImageStreamMapping, stream *imageapi.ImageStream) error {
	next := stream.DeepCopy()
	history.Add(next, mapping.Tag, imageapi.TagEvent{DockerImageReference: mapping.Image.DockerImageReference, Image: mapping.Image.Name}, r.Streams.MaxTagHistory())
	return r.Streams.Admits(ctx, next, stream)
}

// write is the way of a trusted writer.
func (r *REST) write(ctx context.Context, mapping *imageapi.ImageStreamMapping, dryRun []string) error {
	stamps := r.Streams.Stamps(dryRun)
	for attempt := 1; ; attempt++ {
		existed, err := r.record(ctx, mapping, stamps, dryRun)
		if err != nil {
			return err
		}
		created, err := r.proof(ctx, mapping.Image.Name, childrenOf(&mapping.Image))
		if err != nil {
			return err
		}
		err = r.move(ctx, mapping, imageapi.TagEvent{
			Created:              created,
			DockerImageReference: r.writtenReference(mapping, existed),
			Image:                mapping.Image.Name,
		}, stamps, dryRun)
		var gone *lastref.GoneError
		if !errors.As(err, &gone) {
			return err
		}
		if attempt == attempts {
			return apierrors.NewConflict(imageapi.Resource("imagestreammappings"), mapping.Name, gone)
		}
	}
}

// proof is the time of an event by which an image proves what is below it.
func (r *REST) proof(ctx context.Context, digest string, children []string) (metav1.Time, error) {
	now := r.Clock.Now()
	if len(children) == 0 {
		return metav1.NewTime(now), nil
	}
	proven, err := r.Layers.Proof(ctx, now, digest, children)
	return metav1.NewTime(proven), err
}

func childrenOf(image *imageapi.Image) []string {
	var digests []string
	for _, child := range image.DockerImageManifests {
		digests = append(digests, child.Digest)
	}
	return digests
}

// record creates the Image and tells whether it was there already. Of a stored
// Image a mapping changes nothing but that its bytes are here now.
func (r *REST) record(ctx context.Context, mapping *imageapi.ImageStreamMapping, stamps *lastref.Request, dryRun []string) (existed bool, err error) {
	image := mapping.Image.DeepCopy()
	image.ResourceVersion, image.UID = "", ""
	if _, err = r.Images.Record(ctx, image, dryRun); err == nil {
		stamps.Created(image.Name)
		return false, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	return true, r.noteManaged(ctx, image, dryRun)
}

// noteManaged records that the bytes of an Image which was imported before came
// into this registry by a push.
func (r *REST) noteManaged(ctx context.Context, pushed *imageapi.Image, dryRun []string) error {
	if pushed.Annotations[imagev1.ManagedByAlaudaAnnotation] != "true" {
		return nil
	}
	stored, err := r.Images.Find(ctx, pushed.Name)
	if err == nil && stored.Annotations[imagev1.ManagedByAlaudaAnnotation] != "true" {
		_, err = r.Images.Mutate(ctx, pushed.Name, dryRun, func(image *imageapi.Image) error {
			if image.Annotations == nil {
				image.Annotations = map[string]string{}
			}
			for _, key := range []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation} {
				if value, found := pushed.Annotations[key]; found {
					image.Annotations[key] = value
				}
			}
			return nil
		})
	}
	if apierrors.IsNotFound(err) {
		return nil // Removed just now: the stamp finds that, too, and it is made again.
	}
	return err
}

// writtenReference is what a trusted writer's event refers to. When the bytes
// are in this registry and the Image was recorded by another stream before,
// each stream refers to itself.
func (r *REST) writtenReference(mapping *imageapi.ImageStreamMapping, existed bool) string {
	if existed && mapping.Image.Annotations[imagev1.ManagedByAlaudaAnnotation] == "true" {
		if spec, ok := r.Hosts().PullSpec(mapping.Namespace, mapping.Name, mapping.Image.Name); ok {
			return spec
		}
	}
	return mapping.Image.DockerImageReference
}

// move adds the event to the tag and lets other tags follow.
func (r *REST) move(ctx context.Context, mapping *imageapi.ImageStreamMapping, event imageapi.TagEvent, stamps *lastref.Request, dryRun []string) error {
	mutation := imagestream.Mutation{
		Part:            imagestream.StatusOnly,
		DryRun:          dryRun,
		ResourceVersion: mapping.ResourceVersion,
		Stamps:          stamps,
	}
	limit := r.Streams.MaxTagHistory()
	_, _, err := r.Streams.Mutate(ctx, mapping.Name, mutation, func(stream *imageapi.ImageStream) error {
		before := stream.DeepCopy()
		next := event
		next.Generation = stream.Generation
		if history.Add(stream, mapping.Tag, next, limit) {
			history.Track(stream, before, limit)
		}
		return nil
	})
	return err
}
