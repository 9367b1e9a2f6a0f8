package imagestream

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/apis/image/validation"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// AccessReviewer asks for rights of the requesting user.
type AccessReviewer interface {
	// CanPull tells whether he may pull from a stream.
	CanPull(ctx context.Context, namespace, stream string) (bool, error)
	// IsTrustedWriter tells whether he may create images.
	IsTrustedWriter(ctx context.Context) (bool, error)
}

// streamFinder reads a stream of the namespace in ctx.
type streamFinder interface {
	Find(ctx context.Context, name string) (*imageapi.ImageStream, error)
}

// resolver lets status.tags follow new and changed tags of the spec.
type resolver struct {
	hosts   repository.HostSource
	access  AccessReviewer
	streams streamFinder
	clock   clock.PassiveClock
	limit   func() int
	// allowed may be nil.
	allowed allowlist.Source
}

// source is where a spec tag takes its image from.
type source struct {
	namespace, stream string
	// tag or id is set.
	tag, id string
}

// resolve adds the events that the spec tags that differ from old call for,
// and hands moved heads on to tracking tags. old is nil for a new stream.
func (r *resolver) resolve(ctx context.Context, stream, old *imageapi.ImageStream) field.ErrorList {
	noteAmbiguity(ctx, nil)
	names := tagsToResolve(stream, old)
	denied, errs := r.verify(ctx, stream, names)
	// Many tags may come from one stream; it is read and searched once,
	// whatever it weighs.
	origins := &remembered{streams: r.streams, found: map[source]foundStream{}, events: map[*imageapi.ImageStream]*sourceEvents{}}
	for _, name := range names {
		if !denied[name] {
			errs = append(errs, r.resolveTag(ctx, stream, name, origins)...)
		}
	}
	before := old
	if before == nil {
		before = &imageapi.ImageStream{}
	}
	history.Track(stream, before, r.limit())
	return errs
}

// verify asks once for each source stream in another namespace whether the
// user may pull from it. A denied source is not looked up, so that nobody
// learns whether it exists.
func (r *resolver) verify(ctx context.Context, stream *imageapi.ImageStream, names []string) (map[string]bool, field.ErrorList) {
	denied := map[string]bool{}
	answers := map[source]string{}
	var errs field.ErrorList
	for _, name := range names {
		tag := stream.Spec.Tags[name]
		from, ok := sourceOf(stream, &tag)
		if !ok || from.namespace == stream.Namespace {
			continue
		}
		pair := source{namespace: from.namespace, stream: from.stream}
		problem, asked := answers[pair]
		if !asked {
			problem = r.mayPull(ctx, pair)
			answers[pair] = problem
		}
		if problem != "" {
			denied[name] = true
			errs = append(errs, field.Forbidden(field.NewPath("spec", "tags").Key(name).Child("from"), problem))
		}
	}
	return denied, errs
}

// mayPull returns what stands against pulling from a stream, or nothing.
func (r *resolver) mayPull(ctx context.Context, from source) string {
	allowed, err := r.access.CanPull(ctx, from.namespace, from.stream)
	switch {
	case err != nil:
		return fmt.Sprintf("the right to pull from %s/%s could not be checked, try again", from.namespace, from.stream)
	case !allowed:
		return fmt.Sprintf("you may not pull from %s/%s: get imagestreams/layers is needed there", from.namespace, from.stream)
	}
	return ""
}

func (r *resolver) resolveTag(ctx context.Context, stream *imageapi.ImageStream, name string, origins *remembered) field.ErrorList {
	tag := stream.Spec.Tags[name]
	if tag.From.Kind == imagev1.KindDockerImage {
		if tag.Reference && tag.From.Name != "" {
			history.Add(stream, name, imageapi.TagEvent{
				Created:              metav1.NewTime(r.clock.Now()),
				DockerImageReference: tag.From.Name,
				Generation:           *tag.Generation,
			}, r.limit())
		}
		return nil
	}
	from, ok := sourceOf(stream, &tag)
	if !ok {
		return nil // Validation says what is wrong.
	}
	path := field.NewPath("spec", "tags").Key(name).Child("from", "name")
	origin := stream
	if from.namespace != stream.Namespace || from.stream != stream.Name {
		found, err := origins.find(ctx, from.namespace, from.stream)
		if apierrors.IsNotFound(err) {
			return field.ErrorList{field.NotFound(path, tag.From.Name)}
		}
		if err != nil {
			return field.ErrorList{field.InternalError(path, fmt.Errorf("image stream %s/%s: %w", from.namespace, from.stream, err))}
		}
		origin = found
	}
	event, found, problem := r.pick(ctx, origin, from, path, tag.From.Name, origins)
	if problem != nil {
		return field.ErrorList{problem}
	}
	if !found {
		return nil // Pending: the source tag has nothing yet.
	}
	event.Generation = *tag.Generation
	if !tag.Reference && origin != stream {
		event.DockerImageReference = r.here(stream, origin, event)
	}
	history.Add(stream, name, event, r.limit())
	return nil
}

// remembered reads each stream once, and arranges the history of each once:
// that of the stream itself as it is when an id is looked up in it first. The
// streams are only read from.
type remembered struct {
	streams streamFinder
	found   map[source]foundStream
	events  map[*imageapi.ImageStream]*sourceEvents
}

type foundStream struct {
	stream *imageapi.ImageStream
	err    error
}

func (m *remembered) find(ctx context.Context, namespace, name string) (*imageapi.ImageStream, error) {
	key := source{namespace: namespace, stream: name}
	if known, asked := m.found[key]; asked {
		return known.stream, known.err
	}
	stream, err := m.streams.Find(request.WithNamespace(ctx, namespace), name)
	m.found[key] = foundStream{stream, err}
	return stream, err
}

func (m *remembered) eventsOf(origin *imageapi.ImageStream, hosts repository.Hosts) *sourceEvents {
	events := m.events[origin]
	if events == nil {
		events = newSourceEvents(origin, hosts)
		m.events[origin] = events
	}
	return events
}

// pick finds the event that a source stands for.
func (r *resolver) pick(ctx context.Context, origin *imageapi.ImageStream, from source, path *field.Path, name string, origins *remembered) (imageapi.TagEvent, bool, *field.Error) {
	if from.tag != "" {
		head, found := history.Head(origin, from.tag)
		return head, found, nil
	}
	event, found, err := origins.eventsOf(origin, r.hosts()).find(from.id)
	if err != nil {
		noteAmbiguity(ctx, err)
		return imageapi.TagEvent{}, false, field.Invalid(path, name, err.Error())
	}
	if !found {
		return imageapi.TagEvent{}, false, field.NotFound(path, name)
	}
	// A local event proves that the children of an index were there when it
	// was made. A younger copy would prove it of children that came later,
	// perhaps into repositories of others.
	if !r.hosts().IsLocal(event.DockerImageReference, origin.Namespace, origin.Name) {
		event.Created = metav1.NewTime(r.clock.Now())
	}
	return event, true, nil
}

// here returns the reference under which stream records an event copied from
// origin: its own repository when the content is local there, so that pulls
// are authorised and served here, else the reference as it is.
func (r *resolver) here(stream, origin *imageapi.ImageStream, event imageapi.TagEvent) string {
	hosts := r.hosts()
	if event.Image == "" || !hosts.IsLocal(event.DockerImageReference, origin.Namespace, origin.Name) {
		return event.DockerImageReference
	}
	if spec, ok := hosts.PullSpec(stream.Namespace, stream.Name, event.Image); ok {
		return spec
	}
	return event.DockerImageReference
}

// sourceOf splits the source of a tag that comes from a stream. What cannot
// name a stream is none: nobody is asked about it and nothing is looked up.
func sourceOf(stream *imageapi.ImageStream, tag *imageapi.TagReference) (source, bool) {
	if tag.From == nil || tag.From.Name == "" {
		return source{}, false
	}
	from := source{namespace: namespaceOr(tag.From.Namespace, stream.Namespace)}
	var err error
	switch tag.From.Kind {
	case imagev1.KindImageStreamTag:
		from.stream, from.tag, err = validation.SplitTagSource(stream.Name, tag.From.Name)
	case imagev1.KindImageStreamImage:
		from.stream, from.id, err = validation.SplitImageSource(stream.Name, tag.From.Name)
	default:
		return source{}, false
	}
	return from, err == nil && validation.IsStream(from.namespace, from.stream)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
