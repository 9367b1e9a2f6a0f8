// Package standalone stands in for the cluster when authentication is switched off
// (auth: none): the registry is then a plain OCI registry on its storage, for tests and
// for development on one's own machine.
//
// API answers what handlers ask the image API from the links in the storage: the tags of a
// repository are its tag links, a repository exists when it has anything, and what is not
// linked in it is not in it. Nothing is recorded but those links, which the handlers write
// themselves. Metadata tells collections what is linked, which is what is in use. Reviewer
// allows everything to everybody.
//
// It is never used beside a cluster: the composition takes either this package or the
// clients of the Kubernetes API.
package standalone

import (
	"context"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// API implements imageapi.Client on a storage.
type API struct {
	store      *store.Store
	serverAddr string
	now        func() time.Time
}

var _ imageapi.Client = (*API)(nil)

// NewAPI returns the API of a storage for a registry with that address.
func NewAPI(blobs *store.Store, serverAddr string, now func() time.Time) *API {
	return &API{store: blobs, serverAddr: serverAddr, now: now}
}

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: imagev1.GroupName, Resource: resource}, name)
}

// exists fails for a repository that has nothing.
func (a *API) exists(ctx context.Context, name route.Name) error {
	found, err := a.store.HasRepository(ctx, name)
	if err == nil && !found {
		err = notFound(imagev1.ResourceNameImageStreams, name.Stream)
	}
	return err
}

// Stream implements imageapi.Client: each tag has the one item that its link names.
func (a *API) Stream(ctx context.Context, name route.Name) (*imagev1.ImageStream, error) {
	if err := a.exists(ctx, name); err != nil {
		return nil, err
	}
	repository := a.serverAddr + "/" + name.String()
	stream := &imagev1.ImageStream{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream},
		Status:     imagev1.ImageStreamStatus{DockerImageRepository: repository},
	}
	err := a.tags(ctx, name, func(tag string, canonical digest.Digest) error {
		stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: tag, Items: []imagev1.TagEvent{{
			Image: canonical.String(), DockerImageReference: repository + "@" + canonical.String(), Created: metav1.NewTime(a.now()),
		}}})
		return nil
	})
	return stream, err
}

// tags visits the tags of a repository in the order of their names.
func (a *API) tags(ctx context.Context, name route.Name, visit func(tag string, canonical digest.Digest) error) error {
	return store.Inventory{Store: a.store}.Tags(ctx, name.String(), visit)
}

// StreamNames implements imageapi.Client.
func (a *API) StreamNames(ctx context.Context) ([]route.Name, error) {
	repositories, err := a.store.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	var names []route.Name
	for _, repository := range repositories {
		if name, served := repository.Name(); served {
			names = append(names, name)
		}
	}
	return names, nil
}

// Layers implements imageapi.Client: what a repository has is said by its links alone.
func (a *API) Layers(ctx context.Context, name route.Name) (*imagev1.ImageStreamLayers, error) {
	if err := a.exists(ctx, name); err != nil {
		return nil, err
	}
	return &imagev1.ImageStreamLayers{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Stream}}, nil
}

// DeleteTag implements imageapi.Client.
func (a *API) DeleteTag(ctx context.Context, name route.Name, tag string) error {
	found := false
	err := a.tags(ctx, name, func(one string, _ digest.Digest) error {
		found = found || one == tag
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		return notFound("imagestreamtags", name.Stream+":"+tag)
	}
	return a.store.RemoveTagHint(ctx, name, tag)
}

// Image implements imageapi.Client: whatever is asked for is new, so that nothing of it has
// to be renewed.
func (a *API) Image(_ context.Context, name string) (*imagev1.Image, error) {
	return &imagev1.Image{ObjectMeta: metav1.ObjectMeta{
		Name: name, CreationTimestamp: metav1.NewTime(a.now()),
		Annotations: map[string]string{imagev1.ManagedByAlaudaAnnotation: "true", imagev1.ImageManifestBlobStoredAnnotation: "true"},
	}}, nil
}

// CreateStream implements imageapi.Client; repositories come with their first link.
func (*API) CreateStream(context.Context, *imagev1.ImageStream) error { return nil }

// UpdateStreamStatus implements imageapi.Client; there is no history to change.
func (*API) UpdateStreamStatus(context.Context, *imagev1.ImageStream) error { return nil }

// CreateMapping implements imageapi.Client; the handlers write the tag link last.
func (*API) CreateMapping(context.Context, *imagev1.ImageStreamMapping) error { return nil }

// CreateImage implements imageapi.Client; there are no Images.
func (*API) CreateImage(context.Context, *imagev1.Image) error { return nil }

// AnnotateImage implements imageapi.Client.
func (*API) AnnotateImage(context.Context, string, map[string]string) error { return nil }

// Secrets implements imageapi.Client.
func (*API) Secrets(context.Context, route.Name) ([]corev1.Secret, error) { return nil, nil }

// Reviewer implements auth.Reviewer and allows everything.
type Reviewer struct{}

// ReviewToken implements auth.Reviewer: every token is good, so that clients which are
// configured with one need not be changed.
func (Reviewer) ReviewToken(_ context.Context, _ string, audiences []string) (auth.TokenResult, error) {
	return auth.TokenResult{Authenticated: true, Identity: auth.Anonymous(), Audiences: audiences}, nil
}

// ReviewAccess implements auth.Reviewer.
func (Reviewer) ReviewAccess(context.Context, auth.Identity, auth.Attributes) (auth.Decision, error) {
	return auth.Decision{Allowed: true}, nil
}
