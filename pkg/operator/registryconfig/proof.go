package registryconfig

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/pkg/operator/storage"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

// Preflight tests object stores beside the syncs.
type Preflight interface {
	// Look returns what is known about the request, and has it tested from now on instead of any other.
	Look(request preflight.Request) preflight.Verdict
	// Forget ends all tests.
	Forget()
}

// ready is the StorageReady condition, nil for storage that is not tested.
type ready = *storage.Existence

// judgement is what follows from a verdict.
type judgement struct {
	exists storage.Existence
	ready  ready
	// err is nil, waiting, permanent or transient.
	err error
	// proceed says that the registry may run with this storage.
	proceed bool
}

// judge decides whether a storage may be rolled out. What the registry runs with already stays in use whatever
// the test says: to stop it would help nobody, and its own health check knows better. accepted says that the
// Deployment carries the very request.
func judge(place string, verdict preflight.Verdict, accepted bool, previous []registryv1.OperatorCondition) judgement {
	switch {
	case !verdict.Known && accepted:
		out := judgement{proceed: true, exists: previousExistence(previous), ready: previousReady(previous)}
		if out.exists.Reason == "" {
			out.exists = unknown(registryv1.ReasonConfigurationChanged, "%s is being tested", place)
		}
		return out
	case !verdict.Known:
		return judgement{
			exists: unknown(registryv1.ReasonConfigurationChanged, "%s is being tested", place),
			ready:  ptrTo(unknown(registryv1.ReasonConfigurationChanged, "%s is being tested", place)),
			err:    fault.WaitingFor("the test of %s", place),
		}
	case verdict.OK:
		return judgement{
			proceed: true,
			exists:  storage.Existence{Status: registryv1.ConditionTrue, Reason: registryv1.ReasonBucketExists, Message: place + " is used as it is"},
			ready:   &storage.Existence{Status: registryv1.ConditionTrue, Reason: registryv1.ReasonReady, Message: "the last test of " + place + " succeeded"},
		}
	}
	message := fmt.Sprintf("the test of %s failed at %s", place, verdict.Sentence())
	out := judgement{proceed: accepted, exists: existenceOf(verdict.Reason, accepted, message)}
	if verdict.Transient() {
		out.ready = &storage.Existence{Status: registryv1.ConditionFalse, Reason: registryv1.ReasonStoragePreflightFailed, Message: message}
		out.err = errors.New(message)
		return out
	}
	out.ready = &storage.Existence{Status: registryv1.ConditionFalse, Reason: verdict.Reason, Message: message}
	out.err = fault.Permanentf(verdict.Reason, "%s; check spec.storage of Config %s and Secret %s", message, registryv1.SingletonName, registryv1.SecretPrivateConfigUser)
	return out
}

func existenceOf(reason string, accepted bool, message string) storage.Existence {
	no := func(reason string) storage.Existence {
		return storage.Existence{Status: registryv1.ConditionFalse, Reason: reason, Message: message}
	}
	switch {
	case reason == registryv1.ReasonBucketNotFound && accepted:
		return no(registryv1.ReasonBucketDeleted)
	case reason == registryv1.ReasonBucketNotFound:
		return no(registryv1.ReasonBucketNotFound)
	case reason == registryv1.ReasonStorageAccessDenied:
		return no(registryv1.ReasonAccessDenied)
	}
	return unknown(registryv1.ReasonUnknownError, "%s", message)
}

func unknown(reason, format string, args ...any) storage.Existence {
	return storage.Existence{Status: registryv1.ConditionUnknown, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func ptrTo(e storage.Existence) ready { return &e }

// previousReady repeats what is in the status.
func previousReady(previous []registryv1.OperatorCondition) ready {
	for _, condition := range previous {
		if condition.Type == registryv1.ConditionStorageReady {
			return &storage.Existence{Status: condition.Status, Reason: condition.Reason, Message: condition.Message}
		}
	}
	return nil
}

// proven says whether the registry may run with the storage of the plan. An object store has to be tested first,
// which happens beside the syncs. Without a proof the plan is void: what runs stays as it is.
func (c *Controller) proven(ctx context.Context, p *pass, config *registryv1.Config, d *deployments, out *outcome) bool {
	if out.plan.Object == nil {
		c.Preflight.Forget()
		d.in.StorageBundle = ""
		return true
	}
	request, err := render.StorageRequest(d.in)
	if !p.add(err) {
		out.plan = nil
		return false
	}
	deployment, err := live[appsv1.Deployment](ctx, c, "Deployment", registryv1.RegistryName)
	if !p.add(err) {
		out.plan = nil
		return false
	}
	accepted := deployment != nil && deployment.Annotations[registryv1.StorageTestedAnnotation] == request.Key
	judged := judge(out.plan.Object.Place, c.Preflight.Look(request), accepted, config.Status.Conditions)
	out.storage, out.ready = judged.exists, judged.ready
	p.add(judged.err)
	if !judged.proceed {
		d.in.Storage, out.plan = storage.Plan{}, nil
		return false
	}
	d.in.StorageTested, d.in.StorageBundle = request.Key, out.plan.Object.Bundle
	return true
}

// configured says whether the private configuration of the registry exists. Without an answer it is taken for
// there, because nothing of it may be lost.
func (c *Controller) configured(ctx context.Context, p *pass) bool {
	secret, err := live[corev1.Secret](ctx, c, "Secret", registryv1.SecretPrivateConfig)
	return !p.add(err) || secret != nil
}
