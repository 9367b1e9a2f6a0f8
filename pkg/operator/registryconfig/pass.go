package registryconfig

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
)

// atOnce is the number of requests that one sync keeps in flight. The API server is the limit, not the
// network: more would only take the place of other clients.
const atOnce = 8

// pass collects what went wrong in one sync, so that a step can ask for the result that it needs. Faults
// keep their order, or the message of a condition would change from sync to sync.
type pass struct{ faults []objectFault }

// objectFault is what went wrong, with one object or, when ref is empty, with a step.
type objectFault struct {
	ref apply.Ref
	err error
}

// add takes the outcome of a step and says whether it succeeded.
func (p *pass) add(err error) bool { return p.fail(apply.Ref{}, err) }

// fail takes the outcome for one object.
func (p *pass) fail(ref apply.Ref, err error) bool {
	if err != nil {
		p.faults = append(p.faults, objectFault{ref, err})
	}
	return err == nil
}

// of returns the first fault of an object.
func (p *pass) of(ref apply.Ref) error {
	for _, fault := range p.faults {
		if fault.ref == ref {
			return fault.err
		}
	}
	return nil
}

// have says whether nothing went wrong with any of the objects.
func (p *pass) have(refs ...apply.Ref) bool {
	for _, ref := range refs {
		if p.of(ref) != nil {
			return false
		}
	}
	return true
}

// take removes the faults of an object and joins them.
func (p *pass) take(ref apply.Ref) error {
	var errs []error
	var rest []objectFault
	for _, fault := range p.faults {
		if fault.ref == ref {
			errs = append(errs, fault.err)
			continue
		}
		rest = append(rest, fault)
	}
	p.faults = rest
	return errors.Join(errs...)
}

// err joins all faults.
func (p *pass) err() error {
	var errs []error
	for _, fault := range p.faults {
		errs = append(errs, fault.err)
	}
	return errors.Join(errs...)
}

// together applies objects that do not need each other, several at a time.
func (c *Controller) together(ctx context.Context, p *pass, objects []*unstructured.Unstructured) {
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, object := range objects {
		group.Go(func() error {
			errs[i] = c.apply(ctx, object)
			return nil // one failure must not hold up the others
		})
	}
	if err := group.Wait(); err != nil {
		p.add(err)
	}
	for i, object := range objects {
		p.fail(apply.RefOf(object), errs[i])
	}
}

// LeftAlone says whether an object that exists is the administrator's: a role that he keeps for himself, and
// the ConfigMap that is created empty for him to fill.
func LeftAlone(live *unstructured.Unstructured) bool {
	switch live.GetKind() {
	case "ClusterRole":
		return live.GetAnnotations()[registryv1.AutoupdateAnnotation] == "false"
	case "ConfigMap":
		return live.GetName() == registryv1.ConfigMapTrustedCA
	default:
		return false
	}
}

func (c *Controller) inNamespace(kind, name string) apply.Ref {
	return apply.Ref{Kind: kind, Namespace: c.Settings.Namespace, Name: name}
}
