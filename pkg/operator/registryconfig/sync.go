package registryconfig

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
)

// Sync brings the cluster one pass nearer to what Config asks for and reports. It returns when to look again
// and an error only for faults that deserve a back-off.
func (c *Controller) Sync(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	config, err := c.Configs.Get(ctx, registryv1.SingletonName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return resync, c.bootstrap(ctx)
	}
	if err != nil {
		return c.syncUnreadable(ctx, err)
	}
	deleting := config.DeletionTimestamp != nil
	out := c.work(ctx, config, deleting || config.Spec.ManagementState == registryv1.Removed)
	if deleting && out.removal.done {
		return resync, c.releaseFinalizer(ctx, config)
	}
	again, statusErr := c.report(ctx, config, out)
	classes := fault.Sort(out.err)
	return again, errors.Join(append(classes.Transient, statusErr)...)
}

// work takes the steps of the state that Config asks for, in less time than a sync has.
func (c *Controller) work(ctx context.Context, config *registryv1.Config, removing bool) outcome {
	ctx, cancel := context.WithTimeout(ctx, c.workTimeout)
	defer cancel()
	if removing || config.Spec.ManagementState == registryv1.Unmanaged {
		c.Preflight.Forget() // nothing depends on a test now
	}
	if removing {
		return c.remove(ctx, config)
	}
	c.memory.generations = config.Status.Generations
	c.memory.cleanupSince = time.Time{} // the next removal has a patience of its own
	switch {
	case c.namespaceEnding() || c.namespaceGone():
		return c.leaveNamespace(ctx)
	case config.Spec.ManagementState == registryv1.Unmanaged:
		return c.keepTrust(ctx, config)
	default:
		return c.manage(ctx, config)
	}
}

func (c *Controller) bootstrap(ctx context.Context) error {
	created, err := bootstrap.Config(ctx, c.Configs)
	if created {
		c.Events("Normal", "Bootstrapped", "Config cluster was created in state Removed; set spec.managementState to Managed to enable the registry")
	}
	return err
}

// keepTrust is all that happens in state Unmanaged: what clients trust follows the signer, or the whole cluster
// would suffer from an API, and nodes from a registry, that nobody trusts. What does not exist is not made.
func (c *Controller) keepTrust(ctx context.Context, config *registryv1.Config) outcome {
	if c.bundle() == "" {
		return outcome{}
	}
	p := &pass{}
	p.add(c.keepRegistrations(ctx))
	var objects []*unstructured.Unstructured
	one := func(_, _ string, object *unstructured.Unstructured, err error) {
		if p.add(err) && object != nil {
			objects = append(objects, object)
		}
	}
	in := render.Inputs{Settings: c.Settings, Config: config, ExternalHosts: config.Status.ExternalRegistryHostnames}
	var routesErr error
	in.Routes, routesErr = c.existingRoutes()
	if p.add(c.observeTrust(ctx, config, &in)) && p.add(routesErr) {
		c.trust(in, one)
		public, err := render.PublicConfigMap(in)
		one("", "", public, err)
	}
	for _, object := range objects {
		live, err := c.Applier.Live(ctx, apply.RefOf(object))
		if p.add(err) && live != nil {
			p.add(c.apply(ctx, object))
		}
	}
	return outcome{err: p.err()}
}

// convert decodes an object of the cache.
func convert[T any](object *unstructured.Unstructured) (*T, error) {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, out); err != nil {
		return nil, fmt.Errorf("decode %s: %w", apply.Describe(object), err)
	}
	return out, nil
}

// live reads an object and decodes it; nil when it does not exist.
func live[T any](ctx context.Context, c *Controller, kind, name string) (*T, error) {
	object, err := c.Applier.Live(ctx, apply.Ref{Kind: kind, Namespace: c.Settings.Namespace, Name: name})
	if err != nil || object == nil {
		return nil, err
	}
	return convert[T](object)
}
