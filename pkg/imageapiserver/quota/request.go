package quota

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// releaseTimeout bounds giving back, which goes on after the client has left.
const releaseTimeout = 5 * time.Second

// Outcome is how a write ended.
type Outcome int

const (
	// Stored says that the stream is written.
	Stored Outcome = iota
	// NotStored says that it certainly is not.
	NotStored
	// Unknown says that it may be, for example after a time-out.
	Unknown
)

// Request is one request that writes a stream, with all its attempts. It is
// not safe for concurrent use, and must be ended.
type Request struct {
	gate   *Gate
	dryRun bool
	// telling tells of refusals though nothing is reserved.
	telling   bool
	namespace string
	state     *namespaceState
	// held is what this request has reserved, by the name of the quota.
	held map[string]Amounts
	// counted is its part of what is pending in the namespace.
	counted Amounts
	// doubt tells that something could not be given back.
	doubt bool
}

// Pass admits the step from old to stream, or refuses it with a
// *limits.ExceededError, an *ExceededError, ErrTryAgain or limits.ErrNotSynced.
// old is without a name for a new stream. Called again for another attempt it
// adjusts what it reserved.
func (r *Request) Pass(ctx context.Context, stream, old *imageapi.ImageStream) error {
	if err := r.gate.checkLimits(stream, old); err != nil {
		return err
	}
	quotas, err := r.gate.constraining(stream.Namespace)
	if err != nil {
		return err
	}
	if len(quotas) == 0 && len(r.held) == 0 {
		return nil
	}
	if !r.gate.index.HasSynced() {
		return errors.Join(ErrTryAgain, errors.New("the streams are not counted yet"))
	}
	if r.gate.index.Delta(stream, old).positive().zero() && len(r.held) == 0 {
		return nil
	}
	if r.state == nil {
		r.namespace, r.state = stream.Namespace, r.gate.enter(stream.Namespace)
	}
	if err := r.state.take(ctx); err != nil {
		return err
	}
	defer r.state.give()
	// Counted again: others may have had their turn meanwhile.
	delta := r.gate.index.Delta(stream, old).positive()
	if err := r.reserve(ctx, quotas, delta); err != nil {
		r.release(ctx)
		return err
	}
	if !r.dryRun {
		r.count(delta)
	}
	return nil
}

// Check tells whether a step would pass, for writers that store something else
// before the stream. It reserves nothing: the step itself has to pass, too.
func (g *Gate) Check(ctx context.Context, stream, old *imageapi.ImageStream) error {
	r := &Request{gate: g, dryRun: true, telling: true}
	defer r.End(ctx, Stored)
	return r.Pass(ctx, stream, old)
}

// reserve makes the reservations of all quotas what delta asks for.
func (r *Request) reserve(ctx context.Context, quotas []*corev1.ResourceQuota, delta Amounts) error {
	byName(quotas)
	for _, quota := range quotas {
		step := delta.minus(r.held[quota.Name]).limitedBy(quota.Spec.Hard)
		if step.zero() {
			continue
		}
		reserved, err := r.gate.change(ctx, quota, step, r.dryRun)
		if err != nil {
			if r.telling || !r.dryRun {
				r.gate.refused(quota, err)
			}
			return err
		}
		if reserved {
			r.hold(quota.Name, step)
		}
	}
	return nil
}

func (r *Request) hold(quota string, step Amounts) {
	if r.held == nil {
		r.held = map[string]Amounts{}
	}
	r.held[quota] = r.held[quota].plus(step)
}

// count makes the request's part of what is pending in the namespace now.
func (r *Request) count(now Amounts) {
	r.gate.noteReserved(r.state, now.minus(r.counted))
	r.counted = now
}

// End settles the request. After a write that was not stored its reservations
// are given back; after one whose outcome is unknown they stay, for it is
// better to count too much until the controller has counted again.
func (r *Request) End(ctx context.Context, outcome Outcome) {
	if r.state == nil {
		return
	}
	if outcome == NotStored && len(r.held) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
		defer cancel()
		if err := r.state.take(ctx); err == nil {
			r.release(ctx)
			r.state.give()
		}
	}
	r.count(nil)
	r.gate.leave(r.namespace)
	if outcome != Stored && len(r.held) > 0 || r.doubt {
		r.gate.inDoubt(r.namespace)
	}
	r.state, r.held = nil, nil
}

// release gives everything back. The caller has the turn. What fails here is
// corrected when the controller counts the namespace again.
func (r *Request) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	for name, held := range r.held {
		quota, err := r.gate.quotas.ResourceQuotas(r.namespace).Get(name)
		if err == nil && !held.zero() {
			_, err = r.gate.change(ctx, quota, Amounts{}.minus(held), false)
		}
		if err != nil && !apierrors.IsNotFound(err) {
			r.doubt = true
			klog.FromContext(ctx).V(2).Info("A reservation stays until the namespace is counted again", "namespace", r.namespace, "quota", name, "err", err)
		}
	}
	r.held = nil
	r.count(nil)
}
