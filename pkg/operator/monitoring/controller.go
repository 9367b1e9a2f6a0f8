package monitoring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/keyed"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	controllerName = "monitoring"
	syncTimeout    = 30 * time.Second
	// pause is the shortest time between two corrections of one object: whoever keeps changing it has no part
	// in the health of the registry and must not make the operator write all the time.
	pause = 30 * time.Second
	// settle is how long the cache may need to see a write of ours.
	settle = 2 * time.Second
)

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	Dynamic dynamic.Interface
	// Applier keeps the ConfigMap of the dashboard.
	Applier *apply.Applier
	// Configs is the informer of Config; the caller starts it after New.
	Configs  cache.SharedIndexInformer
	Settings render.Settings
	// Clock defaults to the real one.
	Clock clock.WithTicker
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	if o.Dynamic == nil || o.Applier == nil || o.Configs == nil {
		return errors.New("monitoring: Dynamic, Applier and Configs are required")
	}
	return o.Settings.Validate()
}

// Controller keeps the monitoring objects.
type Controller struct {
	Options
	*keyed.Single
	watches *watches
	// written is when each object was written last; only the worker uses it.
	written map[string]time.Time
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c := &Controller{Options: o, written: map[string]time.Time{}}
	c.Single = keyed.NewSingle(controllerName, o.Clock, c.Sync)
	var err error
	if c.watches, err = newWatches(o.Dynamic, o.Settings.Namespace, c.Enqueue); err != nil {
		return nil, err
	}
	registration, err := o.Configs.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.Enqueue() },
		UpdateFunc: func(before, after any) {
			if !apply.StatusOnly(before, after) {
				c.Enqueue()
			}
		},
		DeleteFunc: func(any) { c.Enqueue() },
	})
	if err != nil {
		return nil, fmt.Errorf("monitoring: watch Config: %w", err)
	}
	c.Await(c.watches.synced()...)
	c.Await(registration.HasSynced, o.Applier.Cache.HasSynced)
	err = o.Applier.Cache.OnEvent(func(object *unstructured.Unstructured, _ bool) {
		if object.GetKind() == "ConfigMap" && object.GetName() == render.DashboardConfigMap {
			c.Enqueue()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("monitoring: %w", err)
	}
	return c, nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	defer utilruntime.HandleCrashWithContext(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	c.watches.run(ctx, &group)
	defer c.watches.closeAll()
	c.Single.Run(ctx)
}

// Sync brings all objects to what the state of Config wants. It returns when to look again, zero for never.
func (c *Controller) Sync(ctx context.Context) (time.Duration, error) {
	sync, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	want := intentOf(c.config())
	if want == hold {
		return 0, nil
	}
	again, err := c.syncMonitors(sync, ctx, want)
	return again, errors.Join(err, c.syncDashboard(sync, want))
}

func (c *Controller) config() *registryv1.Config {
	object, exists, err := c.Configs.GetStore().GetByKey(registryv1.SingletonName)
	if err != nil || !exists {
		return nil
	}
	config, _ := object.(*registryv1.Config)
	return config
}

func (c *Controller) syncDashboard(ctx context.Context, want intent) error {
	dashboard, err := render.Dashboard(c.Settings)
	if err != nil {
		return err
	}
	if want == everything {
		_, _, err = c.Applier.Apply(ctx, dashboard)
		return err
	}
	_, err = c.Applier.Delete(ctx, apply.RefOf(dashboard))
	return err
}

// syncMonitors goes through all objects there are; a watch that it opens lives with life.
func (c *Controller) syncMonitors(ctx, life context.Context, want intent) (time.Duration, error) {
	all, err := render.Monitoring(c.Settings, true)
	if err != nil {
		return 0, err
	}
	wanted, err := render.Monitoring(c.Settings, want == everything)
	if err != nil {
		return 0, err
	}
	desired := map[string]*unstructured.Unstructured{}
	for _, object := range wanted {
		desired[object.GetKind()+"/"+object.GetName()] = object
	}
	var again time.Duration
	var errs []error
	for _, k := range kinds() {
		if !c.watches.served(k) {
			c.watches.close(k)
			continue
		}
		ready, err := c.watches.open(life, k)
		if err != nil || !ready {
			errs = append(errs, err)
			continue
		}
		for _, object := range all {
			if object.GetKind() != k.name {
				continue
			}
			wait, err := c.one(ctx, k, object.GetName(), desired[k.name+"/"+object.GetName()])
			errs = append(errs, err)
			if wait > 0 && (again == 0 || wait < again) {
				again = wait
			}
		}
	}
	return again, errors.Join(errs...)
}

// one brings one object to what is wanted, and returns how long it has to wait for that.
func (c *Controller) one(ctx context.Context, k kind, name string, desired *unstructured.Unstructured) (time.Duration, error) {
	live := c.watches.get(k, name)
	todo, why, err := decide(desired, live)
	if err != nil || todo == keep {
		return 0, err
	}
	if todo == foreign {
		klog.FromContext(ctx).Info("Object was made by somebody else and is left as it is", "kind", k.name, "name", name)
		return 0, nil
	}
	key := k.name + "/" + name
	least := settle
	if todo == change {
		least = pause
	}
	if wait := least - c.Clock.Now().Sub(c.written[key]); wait > 0 {
		return wait, nil
	}
	klog.FromContext(ctx).V(2).Info("Writing", "kind", k.name, "name", name, "because", why)
	err = c.write(ctx, k, todo, desired, live)
	switch {
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return 0, nil // the kind or the namespace is going
	case err != nil:
		return 0, fmt.Errorf("%s %s/%s: %w", k.name, c.Settings.Namespace, name, err)
	}
	c.written[key] = c.Clock.Now()
	return 0, nil
}

func (c *Controller) write(ctx context.Context, k kind, todo action, desired, live *unstructured.Unstructured) error {
	client := c.Dynamic.Resource(k.resourceVersion()).Namespace(c.Settings.Namespace)
	if todo == remove {
		uid := live.GetUID()
		return client.Delete(ctx, live.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	}
	if todo == change {
		desired = desired.DeepCopy()
		desired.SetUID(live.GetUID()) // only what was looked at
	}
	_, err := client.Apply(ctx, desired.GetName(), desired, metav1.ApplyOptions{FieldManager: registryv1.OperatorName, Force: true})
	return err
}
