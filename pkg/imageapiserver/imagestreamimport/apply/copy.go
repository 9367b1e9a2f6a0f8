package apply

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/copying"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// item is an outcome with what the stream will record of it.
type item struct {
	Outcome
	// event has no generation yet.
	event imageapi.TagEvent
	// images are to be created in this order: children, then the image.
	images []*imageapi.Image
}

// plan finds out what each outcome will record. A copy of what its source does
// not contain becomes a failure.
func (a *Applier) plan(ctx context.Context, req *Request) ([]item, error) {
	p := planner{Applier: a, request: req, hosts: a.Hosts(), now: a.now(), sources: map[types.NamespacedName]*source{}}
	items := make([]item, len(req.Outcomes))
	for i, outcome := range req.Outcomes {
		items[i].Outcome = outcome
		if outcome.Result.Image == nil || outcome.Result.Err != nil {
			continue
		}
		if err := p.plan(ctx, &items[i]); err != nil {
			return nil, err
		}
	}
	return items, nil
}

type planner struct {
	*Applier
	request *Request
	hosts   repository.Hosts
	now     metav1.Time
	sources map[types.NamespacedName]*source
}

// source is a stream of this registry that images are copied from.
type source struct {
	stream   *imageapi.ImageStream
	contents *imageapi.ImageStreamLayers
}

func (p *planner) plan(ctx context.Context, item *item) error {
	ref, err := reference.Parse(item.From)
	if err != nil {
		item.fail(metav1.StatusReasonInvalid, http.StatusUnprocessableEntity, err.Error())
		return nil
	}
	digest := item.Result.Image.Name
	if reference.ValidateDigest(digest) != nil || item.Tag != "" && reference.ValidateTag(item.Tag) != nil {
		item.fail(metav1.StatusReasonInvalid, http.StatusUnprocessableEntity, fmt.Sprintf("%s: tag or digest is not well-formed", item.From))
		return nil
	}
	if p.hosts.Owns(ref.Registry) {
		return p.copy(ctx, item, ref, digest)
	}
	ref.Tag, ref.ID = "", digest
	item.event = imageapi.TagEvent{Created: p.now, DockerImageReference: ref.Exact(), Image: digest}
	item.take(func(image *imageapi.Image) {
		ref.ID = image.Name
		image.DockerImageReference = ref.Exact()
	})
	return nil
}

// copy plans an image of this registry. That it could be fetched has shown that
// it may be copied; whether its bytes are here is what the source stream says.
func (p *planner) copy(ctx context.Context, item *item, ref reference.DockerImageReference, digest string) error {
	absent := func() {
		item.fail(metav1.StatusReasonNotFound, http.StatusNotFound, fmt.Sprintf("%s: the image stream does not contain %s", item.From, digest))
	}
	ref.Tag, ref.ID = "", digest
	namespace, name, ok := p.hosts.Own(ref.Exact())
	if !ok {
		absent()
		return nil
	}
	from, err := p.source(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	if from == nil {
		absent()
		return nil
	}
	event, local, found := copying.Copy{
		Source: from.stream, Contents: from.contents, Digest: digest,
		Namespace: p.request.Namespace, Name: p.request.Name, Hosts: p.hosts, Now: p.now,
	}.Event()
	if !found {
		absent()
		return nil
	}
	item.event = event
	item.take(func(image *imageapi.Image) {
		ref.ID = image.Name
		image.DockerImageReference = ref.Exact()
		if local && from.contents.Images[image.Name].Local {
			image.Annotations[imagev1.ManagedByAlaudaAnnotation] = "true"
		}
	})
	return nil
}

// source reads a stream and its contents once, nil when there is none.
func (p *planner) source(ctx context.Context, key types.NamespacedName) (*source, error) {
	if known, asked := p.sources[key]; asked {
		return known, nil
	}
	stream, err := p.Streams.Find(request.WithNamespace(ctx, key.Namespace), key.Name)
	if apierrors.IsNotFound(err) {
		p.sources[key] = nil
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("image stream %s: %w", key, err)
	}
	contents, err := p.Layers.Layers(ctx, stream)
	if err != nil {
		return nil, err
	}
	p.sources[key] = &source{stream: stream, contents: contents}
	return p.sources[key], nil
}

// take copies the images of the result as they will be stored. What a registry
// said about who keeps the bytes, and since when, counts for nothing.
func (i *item) take(finish func(*imageapi.Image)) {
	for _, image := range append(append([]*imageapi.Image(nil), i.Result.Children...), i.Result.Image) {
		stored := image.DeepCopy()
		stored.ResourceVersion, stored.UID = "", ""
		stored.DockerImageManifest, stored.DockerImageConfig = "", ""
		stored.Signatures = nil
		if stored.Annotations == nil {
			stored.Annotations = map[string]string{}
		}
		for _, key := range []string{imagev1.ManagedByAlaudaAnnotation, imagev1.ImageManifestBlobStoredAnnotation, imagev1.ImageLastReferencedTimeAnnotation, imagev1.KeepAnnotation} {
			delete(stored.Annotations, key)
		}
		finish(stored)
		i.images = append(i.images, stored)
	}
}

// fail turns what was found into a failure.
func (i *item) fail(reason metav1.StatusReason, code int32, message string) {
	result := importer.ItemResult{Tag: i.Result.Tag, Err: &importer.Error{Reason: reason, Code: code, Message: message}}
	i.Result, i.images = result, nil
}
