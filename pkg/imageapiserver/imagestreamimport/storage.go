package imagestreamimport

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"

	"image.alauda.io/registry/pkg/imageapiserver/allowlist"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestreamimport/apply"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

const (
	// longest is the time for looking images up. The generic API server ends
	// a create after 34 s, and what was found has to be stored, too.
	longest = 25 * time.Second
	// reserve is left of a shorter deadline for storing.
	reserve = 5 * time.Second
)

// Credentials are what imports into a namespace may log in with.
type Credentials interface {
	Keyring(ctx context.Context, namespace string) (*keyring.Keyring, error)
}

// Options are what imports need.
type Options struct {
	Importer    importer.Interface
	Applier     *apply.Applier
	Credentials Credentials
	Streams     apply.Streams
	Access      imagestream.AccessReviewer
	// Allowed lists the registries to import from; nil is all.
	Allowed allowlist.Source
	Typer   runtime.ObjectTyper
}

// REST serves imagestreamimports.
type REST struct {
	Options
	strategy strategy
}

var (
	_ rest.Creater              = &REST{}
	_ rest.Scoper               = &REST{}
	_ rest.SingularNameProvider = &REST{}
)

// NewREST serves imports.
func NewREST(options Options) *REST {
	return &REST{Options: options, strategy: strategy{ObjectTyper: options.Typer, NameGenerator: names.SimpleNameGenerator}}
}

// New implements rest.Storage.
func (*REST) New() runtime.Object { return &imageapi.ImageStreamImport{} }

// Destroy has nothing to release.
func (*REST) Destroy() {}

// NamespaceScoped is true.
func (*REST) NamespaceScoped() bool { return true }

// GetSingularName implements rest.SingularNameProvider.
func (*REST) GetSingularName() string { return "imagestreamimport" }

// Create looks up what the request asks for and records it, if that is wanted.
func (r *REST) Create(ctx context.Context, obj runtime.Object, admit rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	request, ok := obj.(*imageapi.ImageStreamImport)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageStreamImport", obj))
	}
	wanted := precondition{uid: request.UID, version: request.ResourceVersion}
	rest.FillObjectMetaSystemFields(&request.ObjectMeta)
	if err := rest.BeforeCreate(r.strategy, ctx, request); err != nil {
		return nil, err
	}
	if admit != nil {
		if err := admit(ctx, request.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	ctx, err := r.checkRegistries(ctx, request)
	if err != nil {
		return nil, err
	}
	basis, err := r.target(ctx, request.Name, wanted)
	if err != nil {
		return nil, err
	}
	plan, err := r.lookUp(ctx, request, basis)
	if err != nil {
		return nil, err
	}
	return r.finish(ctx, request, basis, plan, options.DryRun)
}

// checkRegistries refuses registries that are not on the list. Who may create
// images decides himself; the context that is returned says so to the store.
func (r *REST) checkRegistries(ctx context.Context, request *imageapi.ImageStreamImport) (context.Context, error) {
	if r.Allowed == nil {
		return ctx, nil
	}
	list := r.Allowed()
	var errs field.ErrorList
	check := func(path *field.Path, from string, insecure bool) {
		if err := list.Check(path.Child("from", "name"), from, allowlist.TransportOf(insecure)); err != nil {
			errs = append(errs, err)
		}
	}
	spec := field.NewPath("spec")
	for i := range request.Spec.Images {
		image := &request.Spec.Images[i]
		check(spec.Child("images").Index(i), image.From.Name, image.ImportPolicy.Insecure)
	}
	if repository := request.Spec.Repository; repository != nil {
		check(spec.Child("repository"), repository.From.Name, repository.ImportPolicy.Insecure)
	}
	if len(errs) == 0 {
		return ctx, nil
	}
	trusted, err := r.Access.IsTrustedWriter(ctx)
	if err != nil {
		return ctx, apierrors.NewInternalError(fmt.Errorf("import into %s/%s: %w", request.Namespace, request.Name, err))
	}
	if trusted {
		return imagestream.WithAnyRegistry(ctx), nil
	}
	return ctx, apierrors.NewInvalid(imageapi.Kind("ImageStreamImport"), request.Name, errs)
}

// precondition is what the client says about the stream.
type precondition struct {
	uid     types.UID
	version string
}

// target reads the stream, nil when it is missing and may be.
func (r *REST) target(ctx context.Context, name string, wanted precondition) (*imageapi.ImageStream, error) {
	resource := imageapi.Resource("imagestreamimports")
	stream, err := r.Streams.Find(ctx, name)
	switch {
	case apierrors.IsNotFound(err) && wanted == precondition{}:
		return nil, nil
	case err != nil:
		return nil, err
	case wanted.uid != "" && wanted.uid != stream.UID:
		return nil, apierrors.NewNotFound(resource, name)
	case wanted.version != "" && wanted.version != stream.ResourceVersion:
		return nil, apierrors.NewConflict(resource, name,
			fmt.Errorf("the image stream has resourceVersion %s, not %s: read it again", stream.ResourceVersion, wanted.version))
	}
	return stream, nil
}

// lookUp runs the importer within its budget.
func (r *REST) lookUp(ctx context.Context, request *imageapi.ImageStreamImport, basis *imageapi.ImageStream) (*plan, error) {
	ring, err := r.Credentials.Keyring(ctx, request.Namespace)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("import into %s/%s: %w", request.Namespace, request.Name, err))
	}
	plan := newPlan(request, basis)
	plan.request.Keyring = ring
	limited, cancel := context.WithTimeout(ctx, budget(ctx, time.Now()))
	defer cancel()
	result := r.Importer.Import(limited, plan.request)
	if ctx.Err() != nil {
		// The client left, or the server ends. What was cut off says nothing
		// about the images.
		return nil, apierrors.NewTimeoutError(fmt.Sprintf("import into %s/%s: the request ended before its images were looked up", request.Namespace, request.Name), 0)
	}
	plan.take(result)
	return plan, nil
}

// budget is the time for looking images up.
func budget(ctx context.Context, now time.Time) time.Duration {
	deadline, limited := ctx.Deadline()
	if !limited {
		return longest
	}
	return min(longest, max(deadline.Sub(now)-reserve, 0))
}

// finish records the outcomes, if that is wanted, and builds the answer.
func (r *REST) finish(ctx context.Context, request *imageapi.ImageStreamImport, basis *imageapi.ImageStream, plan *plan, dryRun []string) (runtime.Object, error) {
	changes := apply.Request{Namespace: request.Namespace, Name: request.Name, Basis: basis, Outcomes: plan.outcomes, DryRun: dryRun}
	record := r.Applier.Apply
	if !request.Spec.Import {
		record = r.Applier.Preview
	}
	report, err := record(ctx, changes)
	if err != nil {
		return nil, err
	}
	request.Status = plan.status(report)
	return request, nil
}
