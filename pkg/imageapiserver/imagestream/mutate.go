package imagestream

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/util/dryrun"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
)

// Part says which part of a stream a mutation changes.
type Part int

const (
	// SpecAndStatus takes both as the mutation leaves them; new and changed
	// spec tags are resolved. This is for tags.
	SpecAndStatus Part = iota
	// StatusOnly takes the status; the spec stays. This is for mappings.
	StatusOnly
	// Imported is SpecAndStatus, and a stream that is created keeps the status
	// that the mutation gave it. This is for imports.
	Imported
)

// Mutation says how a stream is changed on behalf of another resource.
type Mutation struct {
	Part Part
	// AllowCreate lets the mutation start from an empty stream when there is
	// none. The stream is then created as a user would create it.
	AllowCreate bool
	// DryRun stores nothing.
	DryRun []string
	// UID and ResourceVersion, when set, must be those of the stream.
	UID             types.UID
	ResourceVersion string
	// Stamps of the request, nil to begin with none. With Stamps, a
	// *lastref.GoneError is returned as it is, so that the caller can create
	// the Image again.
	Stamps *lastref.Request
}

// Stamps begins the stamps of a request.
func (r *REST) Stamps(dryRun []string) *lastref.Request {
	return r.stamper.Begin(dryrun.IsDryRun(dryRun))
}

// MaxTagHistory is the number of events to keep for each tag, 0 keeps all.
func (r *REST) MaxTagHistory() int { return r.resolver.limit() }

// Find reads a stream of the namespace in ctx.
func (r *REST) Find(ctx context.Context, name string) (*imageapi.ImageStream, error) {
	obj, err := r.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageStream), nil
}

// FindList reads streams.
func (r *REST) FindList(ctx context.Context, options *metainternal.ListOptions) (*imageapi.ImageStreamList, error) {
	obj, err := r.List(ctx, options)
	if err != nil {
		return nil, err
	}
	return obj.(*imageapi.ImageStreamList), nil
}

// Mutate applies fn to the current state of the stream. fn may be called
// several times, each time with a fresh copy, and must depend on nothing but
// that copy. Two mutations never conflict: each sees what the other stored. An
// fn that changes nothing writes nothing.
func (r *REST) Mutate(ctx context.Context, name string, mutation Mutation, fn func(*imageapi.ImageStream) error) (stream *imageapi.ImageStream, created bool, err error) {
	store := r.internal
	switch mutation.Part {
	case StatusOnly:
		store = r.status
	case Imported:
		store = r.imported
	}
	stamps := mutation.Stamps
	if stamps == nil {
		stamps = r.Stamps(mutation.DryRun)
	}
	ctx = withAmbiguity(ctx)
	info := &mutationInfo{name: name, mutation: mutation, fn: fn}
	stream, created, err = r.update(ctx, store, name, info, mutation, stamps)
	if err != nil && mutation.Stamps == nil {
		err = r.gate.explain(ctx, name, err)
	}
	return stream, created, err
}

func (r *REST) update(ctx context.Context, store *registry.Store, name string, info *mutationInfo, mutation Mutation, stamps *lastref.Request) (*imageapi.ImageStream, bool, error) {
	passage := r.gate.begin(stamps, mutation.DryRun)
	var obj runtime.Object
	var created bool
	err := passage.run(ctx, func() (err error) {
		obj, created, err = store.Update(ctx, name, info, passage.onCreate(nil), passage.onUpdate(nil),
			mutation.AllowCreate, &metav1.UpdateOptions{DryRun: mutation.DryRun})
		return err
	})
	if err != nil {
		return nil, false, err
	}
	stream, ok := obj.(*imageapi.ImageStream)
	if !ok {
		return nil, false, fmt.Errorf("image stream %s: the store returned a %T", name, obj)
	}
	return stream, created, nil
}

// mutationInfo applies a function to whatever state the store has.
type mutationInfo struct {
	name     string
	mutation Mutation
	fn       func(*imageapi.ImageStream) error
}

// Preconditions are checked in UpdatedObject, where the answer can name the
// requested resource.
func (*mutationInfo) Preconditions() *metav1.Preconditions { return nil }

// UpdatedObject returns the changed copy.
func (m *mutationInfo) UpdatedObject(ctx context.Context, current runtime.Object) (runtime.Object, error) {
	stream, ok := current.DeepCopyObject().(*imageapi.ImageStream)
	if !ok {
		return nil, fmt.Errorf("image stream %s: the store returned a %T", m.name, current)
	}
	if err := m.check(ctx, stream); err != nil {
		return nil, err
	}
	if stream.ResourceVersion == "" {
		stream.Name = m.name
		stream.Namespace = request.NamespaceValue(ctx)
	}
	if err := m.fn(stream); err != nil {
		return nil, err
	}
	return stream, nil
}

func (m *mutationInfo) check(ctx context.Context, stream *imageapi.ImageStream) error {
	resource := RequestedResource(ctx, imageapi.Resource("imagestreams"))
	if stream.ResourceVersion == "" && (m.mutation.UID != "" || m.mutation.ResourceVersion != "") {
		return apierrors.NewNotFound(resource, m.name)
	}
	if uid := m.mutation.UID; uid != "" && uid != stream.UID {
		return apierrors.NewConflict(resource, m.name, fmt.Errorf("the image stream has UID %s, not %s", stream.UID, uid))
	}
	if version := m.mutation.ResourceVersion; version != "" && version != stream.ResourceVersion {
		return apierrors.NewConflict(resource, m.name, fmt.Errorf("the image stream has resourceVersion %s, not %s: read it again", stream.ResourceVersion, version))
	}
	return nil
}
