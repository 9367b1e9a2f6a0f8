package imagestream

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/util/dryrun"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/lastref"
	"image.alauda.io/registry/pkg/imageapiserver/limits"
	"image.alauda.io/registry/pkg/imageapiserver/quota"
)

// quotaRetrySeconds is when a client should ask again while limits and quotas
// cannot be checked.
const quotaRetrySeconds = 1

// passage is one request on its way through the gate, with all its attempts to
// store a stream.
type passage struct {
	gate   *gate
	stamps *lastref.Request
	quota  *quota.Request
	// refused tells that the last attempt ended in the gate.
	refused bool
	// tags are those that the last attempt changed, for the audit log; size is that of the stream.
	tags string
	size int
}

func (g *gate) begin(stamps *lastref.Request, dryRun []string) *passage {
	p := &passage{gate: g, stamps: stamps}
	if g.quota != nil {
		p.quota = g.quota.Begin(dryrun.IsDryRun(dryRun))
	}
	return p
}

func (p *passage) onCreate(next rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) (err error) {
		defer func() { p.refused = err != nil }()
		if next != nil {
			if err := next(ctx, obj); err != nil {
				return err
			}
		}
		return p.pass(ctx, obj.(*imageapi.ImageStream), &imageapi.ImageStream{})
	}
}

func (p *passage) onUpdate(next rest.ValidateObjectUpdateFunc) rest.ValidateObjectUpdateFunc {
	return func(ctx context.Context, obj, old runtime.Object) (err error) {
		defer func() { p.refused = err != nil }()
		if next != nil {
			if err := next(ctx, obj, old); err != nil {
				return err
			}
		}
		return p.pass(ctx, obj.(*imageapi.ImageStream), old.(*imageapi.ImageStream))
	}
}

// pass checks one attempt. The reservation of quota comes last, so that
// nothing before it needs to give it back.
func (p *passage) pass(ctx context.Context, stream, old *imageapi.ImageStream) error {
	var err error
	if p.size, err = p.gate.checkSize(stream, old); err != nil {
		return err
	}
	if audit.AuditContextFrom(ctx).Enabled() {
		p.tags = changedTags(stream, old)
	}
	if err := p.stamps.Stamp(ctx, history.TakenUp(stream, old)); err != nil {
		return err
	}
	if p.quota == nil {
		return nil
	}
	return p.gate.refusal(ctx, stream.Name, p.quota.Pass(ctx, stream, old))
}

// errInterrupted is how a write ended that did not return.
var errInterrupted = errors.New("the write of an image stream was interrupted")

// run makes the write and ends the passage, even when the write panics: the server survives that, and what was
// reserved would be pending for good.
func (p *passage) run(ctx context.Context, write func() error) error {
	err := errInterrupted
	defer func() { p.end(ctx, err) }()
	err = write()
	return err
}

// end notes what was stored and settles what the request reserved, by how the store answered.
func (p *passage) end(ctx context.Context, err error) {
	if err == nil {
		p.note(ctx)
	}
	if p.quota == nil {
		return
	}
	p.quota.End(ctx, p.outcome(err))
}

func (p *passage) outcome(err error) quota.Outcome {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return quota.Stored
	case p.refused:
		return quota.NotStored
	case errors.As(err, &status):
		if code := status.Status().Code; code >= http.StatusBadRequest && code < http.StatusInternalServerError && code != http.StatusRequestTimeout {
			return quota.NotStored
		}
	}
	return quota.Unknown
}

// refusal turns what limits and quotas say into the answer for the client.
func (g *gate) refusal(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	resource := RequestedResource(ctx, g.resource)
	var overLimit *limits.ExceededError
	var overQuota *quota.ExceededError
	switch {
	case errors.As(err, &overLimit), errors.As(err, &overQuota):
		return apierrors.NewForbidden(resource, name, err)
	case errors.Is(err, quota.ErrTryAgain), errors.Is(err, limits.ErrNotSynced):
		verb := "update"
		if info, found := request.RequestInfoFrom(ctx); found && info.Verb != "" {
			verb = info.Verb
		}
		return apierrors.NewServerTimeout(resource, verb, quotaRetrySeconds)
	}
	return apierrors.NewInternalError(err)
}
