package imagetag

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/clienterrors"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/tagview"
)

// update is one PUT, PATCH or apply of a tag.
type update struct {
	rest      *REST
	name, tag string
	manager   string
	info      rest.UpdatedObjectInfo
	create    rest.ValidateObjectFunc
	update    rest.ValidateObjectUpdateFunc
	added     bool
}

// Update sets a tag in the spec of a stream, which is created when there is
// none, or takes it out of the spec. It reports a creation when the spec did
// not have the tag and has it now.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc, validate rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	streamName, tag, err := tagview.Split(name)
	if err != nil {
		return nil, false, err
	}
	u := &update{rest: r, name: name, tag: tag, manager: options.FieldManager, info: clienterrors.Of(info), create: create, update: validate}
	mutation := imagestream.Mutation{AllowCreate: true, DryRun: options.DryRun}
	stream, _, err := r.streams.Mutate(ctx, streamName, mutation, func(stream *imageapi.ImageStream) error {
		return u.apply(ctx, stream)
	})
	if err != nil {
		return nil, false, err
	}
	result, err := r.current(ctx, stream, tag)
	return result, u.added, err
}

// apply works on the current state of the stream, so it may run several times.
func (u *update) apply(ctx context.Context, stream *imageapi.ImageStream) error {
	streamNew := stream.ResourceVersion == ""
	old := &imageapi.ImageTag{}
	if !streamNew {
		current, err := u.rest.current(ctx, stream, u.tag)
		if err != nil {
			return err
		}
		old = current
		if old.ManagedFields, err = tagview.Claims(u.manager, "spec", old.Spec); err != nil {
			return err
		}
	}
	obj, err := u.info.UpdatedObject(ctx, old)
	if err != nil {
		return err
	}
	wanted, ok := obj.(*imageapi.ImageTag)
	if !ok {
		return apierrors.NewBadRequest(fmt.Sprintf("%T is not an ImageTag", obj))
	}
	if err := tagview.CheckVersion(resource(), u.name, wanted.ResourceVersion, u.info.Preconditions(), stream); err != nil {
		return err
	}
	if wanted.Spec == nil && !tagview.Exists(stream, u.tag) {
		return apierrors.NewBadRequest(fmt.Sprintf("image tag %s does not exist: spec must say where it comes from", u.name))
	}
	if err := u.validate(ctx, wanted, old, streamNew); err != nil {
		return err
	}
	_, found := stream.Spec.Tags[u.tag]
	u.added = !found && wanted.Spec != nil
	setTag(stream, u.tag, wanted.Spec)
	return nil
}

// validate runs strategy and admission.
func (u *update) validate(ctx context.Context, wanted, old *imageapi.ImageTag, streamNew bool) error {
	if streamNew {
		rest.FillObjectMetaSystemFields(&wanted.ObjectMeta)
		if err := rest.BeforeCreate(u.rest.strategy, ctx, wanted); err != nil {
			return err
		}
		if u.create != nil {
			return u.create(ctx, wanted.DeepCopyObject())
		}
		return nil
	}
	if wanted.ResourceVersion == "" {
		wanted.ResourceVersion = old.ResourceVersion
	}
	if err := rest.BeforeUpdate(u.rest.strategy, ctx, wanted, old); err != nil {
		return err
	}
	if u.update != nil {
		return u.update(ctx, wanted.DeepCopyObject(), old.DeepCopyObject())
	}
	return nil
}
