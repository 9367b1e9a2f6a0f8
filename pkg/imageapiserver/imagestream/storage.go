package imagestream

import (
	"context"
	"fmt"

	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
	"image.alauda.io/registry/pkg/imageapiserver/storage/watchmap"
)

// Options are what the store of streams needs.
type Options struct {
	RESTOptions generic.RESTOptionsGetter
	Typer       runtime.ObjectTyper
	Hosts       repository.HostSource
	Access      AccessReviewer
	Stamper     *lastref.Stamper
	Size        Sizer
	// Quota admits what streams add to their namespace; nil admits everything.
	Quota *quota.Gate
	// Allowed lists the registries that tags may name; nil is all.
	Allowed allowlist.Source
	// MaxTagHistory limits the events of each tag, 0 keeps all.
	MaxTagHistory func() int
	Clock         clock.PassiveClock
}

// REST serves imagestreams.
type REST struct {
	*registry.Store
	status   *registry.Store
	internal *registry.Store
	imported *registry.Store
	resolver *resolver
	stamper  *lastref.Stamper
	gate     *gate
}

var (
	_ rest.StandardStorage      = &REST{}
	_ rest.ShortNamesProvider   = &REST{}
	_ rest.CategoriesProvider   = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST builds the store of streams.
func NewREST(options Options) (*REST, error) {
	registerMetrics()
	r := &REST{
		stamper:  options.Stamper,
		gate:     &gate{size: options.Size, quota: options.Quota, resource: imageapi.Resource("imagestreams")},
		resolver: &resolver{hosts: options.Hosts, access: options.Access, clock: options.Clock, limit: options.MaxTagHistory, allowed: options.Allowed},
	}
	r.resolver.streams = r
	shared := strategy{ObjectTyper: options.Typer, NameGenerator: names.SimpleNameGenerator, resolver: r.resolver}
	spec := specStrategy{shared}
	attrs := attrsOf(options.Hosts)
	r.Store = &registry.Store{
		NewFunc:                   func() runtime.Object { return &imageapi.ImageStream{} },
		NewListFunc:               func() runtime.Object { return &imageapi.ImageStreamList{} },
		PredicateFunc:             predicate(attrs),
		DefaultQualifiedResource:  imageapi.Resource("imagestreams"),
		SingularQualifiedResource: imageapi.Resource("imagestream"),
		CreateStrategy:            spec,
		UpdateStrategy:            spec,
		DeleteStrategy:            spec,
		ResetFieldsStrategy:       spec,
		TableConvertor:            newTable(options.Clock),
	}
	if err := r.Store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options.RESTOptions, AttrFunc: attrs}); err != nil {
		return nil, fmt.Errorf("store of imagestreams: %w", err)
	}
	status, internal := *r.Store, *r.Store
	status.UpdateStrategy = statusStrategy{shared}
	status.ResetFieldsStrategy = statusStrategy{shared}
	internal.UpdateStrategy = shared
	imported := internal
	imported.CreateStrategy = importedStrategy{shared}
	r.status, r.internal, r.imported = &status, &internal, &imported
	return r, nil
}

// ShortNames implements rest.ShortNamesProvider.
func (*REST) ShortNames() []string { return []string{"is"} }

// Categories implements rest.CategoriesProvider.
func (*REST) Categories() []string { return []string{"all"} }

// Get returns a stream with current repository strings.
func (r *REST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	obj, err := r.Store.Get(ctx, name, options)
	if err != nil {
		return nil, err
	}
	return r.decorated(obj), nil
}

// List returns streams with current repository strings.
func (r *REST) List(ctx context.Context, options *metainternal.ListOptions) (runtime.Object, error) {
	obj, err := r.Store.List(ctx, options)
	if err != nil {
		return nil, err
	}
	if list, ok := obj.(*imageapi.ImageStreamList); ok {
		// Items are values of this list, and only strings in them are set:
		// what the watch cache holds stays as it is.
		for i := range list.Items {
			r.resolver.decorate(&list.Items[i])
		}
	}
	return obj, nil
}

// Watch sends streams with current repository strings.
func (r *REST) Watch(ctx context.Context, options *metainternal.ListOptions) (watch.Interface, error) {
	stream, err := r.Store.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return watchmap.New(stream, func(event watch.Event) watch.Event {
		if event.Type != watch.Bookmark && event.Type != watch.Error {
			event.Object = r.decorated(event.Object)
		}
		return event
	}), nil
}

// decorated returns a copy with current repository strings: the object may
// belong to the watch cache and to other watchers.
func (r *REST) decorated(obj runtime.Object) runtime.Object {
	if cached, ok := obj.(runtime.CacheableObject); ok {
		obj = cached.GetObject()
	}
	stream, ok := obj.(*imageapi.ImageStream)
	if !ok {
		return obj
	}
	decorated := *stream
	r.resolver.decorate(&decorated)
	return &decorated
}

// Create stores a new stream.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	ctx = withAmbiguity(ctx)
	passage := r.gate.begin(r.Stamps(options.DryRun), options.DryRun)
	var created runtime.Object
	err := passage.run(ctx, func() (err error) {
		created, err = r.Store.Create(ctx, obj, passage.onCreate(validate), options)
		return err
	})
	if err != nil {
		return nil, r.gate.explain(ctx, nameOf(obj), err)
	}
	return created, nil
}

// Update stores a changed stream.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, update rest.ValidateObjectUpdateFunc, forceCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	ctx = withAmbiguity(ctx)
	passage := r.gate.begin(r.Stamps(options.DryRun), options.DryRun)
	var obj runtime.Object
	var created bool
	err := passage.run(ctx, func() (err error) {
		obj, created, err = r.Store.Update(ctx, name, clienterrors.Of(info), passage.onCreate(create), passage.onUpdate(update), forceCreate, options)
		return err
	})
	if err != nil {
		return nil, false, r.gate.explain(ctx, name, err)
	}
	return obj, created, nil
}

func nameOf(obj runtime.Object) string {
	if stream, ok := obj.(*imageapi.ImageStream); ok {
		return stream.Name
	}
	return ""
}
