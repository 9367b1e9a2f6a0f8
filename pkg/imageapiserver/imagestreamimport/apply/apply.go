package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/importer"
)

// attempts is how often Images that are removed under the import's hands are
// created again.
const attempts = 3

// Preview tells what Apply would report and stores nothing.
func (a *Applier) Preview(ctx context.Context, req Request) (Report, error) {
	items, err := a.plan(request.WithNamespace(ctx, req.Namespace), &req)
	if err != nil {
		return Report{}, err
	}
	return Report{Results: results(items)}, nil
}

// Apply records the outcomes in the stream, which is created when it is
// missing and had no basis. The error of a limit or a quota is returned as it
// is (Forbidden), after the tags that it kept from being recorded got a
// condition that says so. A stream that is gone is NotFound, and one that was
// replaced by another of the same name is a Conflict.
func (a *Applier) Apply(ctx context.Context, req Request) (Report, error) {
	ctx = request.WithNamespace(ctx, req.Namespace)
	items, err := a.plan(ctx, &req)
	if err != nil {
		return Report{}, err
	}
	if err := a.admits(ctx, &req, items); err != nil {
		a.refused(ctx, &req, items, err)
		return Report{}, err
	}
	recorder := newRecorder(a, &req)
	for attempt := 1; ; attempt++ {
		if err := recorder.record(ctx, items); err != nil {
			return Report{}, err
		}
		stream, dropped, err := a.write(ctx, &req, items, recorder.stamps)
		if err == nil {
			for i := range items {
				if dropped[i] {
					items[i].fail(metav1.StatusReasonConflict, http.StatusConflict,
						fmt.Sprintf("tag %s was changed while it was imported, the result is dropped", items[i].Tag))
				}
			}
			return Report{Stream: stream, Results: results(items)}, nil
		}
		var gone *lastref.GoneError
		if errors.As(err, &gone) {
			if attempt < attempts {
				recorder.forget()
				continue
			}
			return Report{}, apierrors.NewConflict(imagestream.RequestedResource(ctx, imageapi.Resource("imagestreams")), req.Name, gone)
		}
		a.refused(ctx, &req, items, err)
		return Report{}, err
	}
}

// write puts the items to the current state of the stream.
func (a *Applier) write(ctx context.Context, req *Request, items []item, stamps *lastref.Request) (stream *imageapi.ImageStream, dropped []bool, err error) {
	mutation := imagestream.Mutation{Part: imagestream.Imported, DryRun: req.DryRun, Stamps: stamps, AllowCreate: req.Basis == nil}
	if req.Basis != nil {
		mutation.UID = req.Basis.UID
	}
	limit := a.Streams.MaxTagHistory()
	now := a.now()
	stream, _, err = a.Streams.Mutate(ctx, req.Name, mutation, func(stream *imageapi.ImageStream) error {
		c := change{stream: stream, basis: req.Basis, background: req.Background, now: now, limit: limit}
		dropped = c.apply(items)
		return nil
	})
	return stream, dropped, err
}

// refused says on the tags that were to show a new image which limit or quota
// kept it away. It is a help for who looks at the stream; the request has its
// own answer.
func (a *Applier) refused(ctx context.Context, req *Request, items []item, refusal error) {
	if !apierrors.IsForbidden(refusal) || req.Basis == nil {
		return
	}
	now := a.now()
	mutation := imagestream.Mutation{Part: imagestream.StatusOnly, DryRun: req.DryRun, UID: req.Basis.UID}
	_, _, err := a.Streams.Mutate(ctx, req.Name, mutation, func(stream *imageapi.ImageStream) error {
		refuse(stream, req.Basis, items, refusal.Error(), now)
		return nil
	})
	if err != nil {
		klog.FromContext(ctx).V(2).Info("The refusal of an import could not be recorded", "namespace", req.Namespace, "imageStream", req.Name, "err", err)
	}
}

// refuse adds the conditions of a refusal to the tags that would have been new,
// and to those that the controller would otherwise import again and again.
func refuse(stream, basis *imageapi.ImageStream, items []item, message string, now metav1.Time) {
	for i := range items {
		tag := items[i].Tag
		if tag == "" || movedSince(basis, stream, tag) {
			continue
		}
		head, shows := history.Head(stream, tag)
		spec := stream.Spec.Tags[tag]
		if shows && (spec.Generation == nil || *spec.Generation <= head.Generation) {
			continue
		}
		generation := max(stream.Generation, 1)
		if spec.Generation != nil {
			generation = *spec.Generation
		}
		condition := failed(string(metav1.StatusReasonForbidden), message, generation, now)
		if !slices.ContainsFunc(stream.Status.Tags[tag].Conditions, func(had imageapi.TagEventCondition) bool {
			condition.LastTransitionTime = had.LastTransitionTime
			return had == condition
		}) {
			condition.LastTransitionTime = now
			c := change{stream: stream}
			c.setConditions(tag, []imageapi.TagEventCondition{condition})
		}
	}
}

func results(items []item) []importer.ItemResult {
	results := make([]importer.ItemResult, len(items))
	for i := range items {
		results[i] = items[i].Result
	}
	return results
}
