package apply

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// Outcome is what an import found for one image.
type Outcome struct {
	// Tag of the stream. An outcome without tag is reported and not recorded.
	Tag string
	// From is the pull spec that was asked for, which the spec tag gets.
	From string
	// ImportPolicy is written to the spec tag of an image that was found.
	ImportPolicy imageapi.TagImportPolicy
	// ReferencePolicy is for a spec tag that has none.
	ReferencePolicy imageapi.TagReferencePolicy
	// CreateTag lets a failure create a spec tag that is missing: the user
	// asked for this very tag.
	CreateTag bool
	// Result is what the importer says.
	Result importer.ItemResult
}

// Request is what one import brings.
type Request struct {
	// Namespace and Name of the stream.
	Namespace, Name string
	// Basis is the stream as it was when the import began, nil when there was
	// none. A stream with another UID is not touched.
	Basis *imageapi.ImageStream
	// Outcomes may name a tag more than once; the last one holds.
	Outcomes []Outcome
	// Background says that nobody goes on with what is unfinished, so it
	// counts as failed. Otherwise the spec tag is left for the controller.
	Background bool
	// DryRun stores nothing.
	DryRun []string
}

// Report is what became of a request.
type Report struct {
	// Stream is the stored stream. It is nil after Preview.
	Stream *imageapi.ImageStream
	// Results are those of the outcomes, in the same order, but for those that
	// turned out not to be recordable.
	Results []importer.ItemResult
}

// Streams reads and changes image streams of the namespace in ctx.
type Streams interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
	Mutate(ctx context.Context, name string, mutation imagestream.Mutation, fn func(*imageapi.ImageStream) error) (*imageapi.ImageStream, bool, error)
	Admits(ctx context.Context, stream, old *imageapi.ImageStream) error
	Stamps(dryRun []string) *lastref.Request
	MaxTagHistory() int
}

// Images creates Images.
type Images interface {
	Record(ctx context.Context, image *imageapi.Image, dryRun []string) (*imageapi.Image, error)
}

// Layers tells what a stream contains.
type Layers interface {
	Layers(ctx context.Context, stream *imageapi.ImageStream) (*imageapi.ImageStreamLayers, error)
}

// Options are what an Applier needs.
type Options struct {
	Streams Streams
	Images  Images
	Layers  Layers
	Hosts   repository.HostSource
	Clock   clock.PassiveClock
}

// Validate tells what is missing.
func (o Options) Validate() error {
	if o.Streams == nil || o.Images == nil || o.Layers == nil || o.Hosts == nil || o.Clock == nil {
		return errors.New("apply imports: Streams, Images, Layers, Hosts and Clock must be set")
	}
	return nil
}

// Applier records imports. It is safe for concurrent use.
type Applier struct {
	Options
}

// New makes an Applier.
func New(options Options) (*Applier, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Applier{Options: options}, nil
}

func (a *Applier) now() metav1.Time { return metav1.NewTime(a.Clock.Now()) }
