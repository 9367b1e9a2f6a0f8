package namespacepull

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/keyed"
	"image.alauda.io/registry/pkg/operator/pullsecret"
)

const (
	controllerName = "namespace-pull"
	configName     = imageregistryv1.SingletonName
	syncTimeout    = 30 * time.Second
	// reportInterval is the shortest time between two events about one namespace.
	reportInterval = time.Hour
)

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	// Client may be shared with the pull secrets.
	Client kubernetes.Interface
	// Namespaces serves all namespaces; the caller starts its factory after New.
	Namespaces coreinformers.NamespaceInformer
	// Configs is the informer of Config; the caller starts its factory after New.
	Configs cache.SharedIndexInformer
	// Namespace is the operand namespace.
	Namespace string
	// Clock defaults to the real one.
	Clock clock.WithTicker
	// Events records an event on Config/cluster; optional.
	Events func(eventType, reason, message string)
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Client == nil:
		return errors.New("namespace pull: Client is required")
	case o.Namespaces == nil || o.Configs == nil:
		return errors.New("namespace pull: Namespaces and Configs are required")
	case o.Namespace == "":
		return errors.New("namespace pull: Namespace is required")
	}
	return nil
}

// Controller keeps the RoleBindings as Decide wants them.
type Controller struct {
	Options
	factory    informers.SharedInformerFactory
	bindings   rbaclisters.RoleBindingLister
	namespaces corelisters.NamespaceLister
	queue      keyed.Queue[string]
	loop       *keyed.Loop[string]

	// mu guards reported: the namespaces whose RoleBinding was complained about, and when.
	mu       sync.Mutex
	reported map[string]time.Time
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, BindingName).String()
	c := &Controller{
		Options: o,
		factory: informers.NewSharedInformerFactoryWithOptions(o.Client, 0,
			informers.WithTweakListOptions(func(list *metav1.ListOptions) { list.FieldSelector = byName }),
			informers.WithTransform(trim)),
		namespaces: o.Namespaces.Lister(),
		reported:   map[string]time.Time{},
		queue:      keyed.NewQueue[string](controllerName, o.Clock, nil),
	}
	bindings := c.factory.Rbac().V1().RoleBindings()
	c.bindings = bindings.Lister()
	watches := []struct {
		informer cache.SharedIndexInformer
		handle   func(any)
	}{
		{o.Namespaces.Informer(), func(obj any) { c.enqueue(obj, false) }},
		{bindings.Informer(), func(obj any) { c.enqueue(obj, true) }},
		{o.Configs, func(any) { c.enqueueAll() }},
	}
	var synced []cache.InformerSynced
	for _, watch := range watches {
		registration, err := watch.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    watch.handle,
			UpdateFunc: func(_, obj any) { watch.handle(obj) },
			DeleteFunc: watch.handle,
		})
		if err != nil {
			return nil, fmt.Errorf("namespace pull: watch: %w", err)
		}
		synced = append(synced, registration.HasSynced)
	}
	c.loop = keyed.New(keyed.Options[string]{
		Name: controllerName, Queue: c.queue, Synced: synced,
		Sync: func(ctx context.Context, name string) (time.Duration, error) { return 0, c.Sync(ctx, name) },
	})
	return c, nil
}

func (c *Controller) enqueue(obj any, namespaced bool) {
	name, err := cache.DeletionHandlingObjectToName(obj)
	switch {
	case err != nil:
	case namespaced && name.Name == BindingName:
		c.queue.Add(name.Namespace)
	case !namespaced:
		c.queue.Add(name.Name)
	}
}

func (c *Controller) enqueueAll() {
	namespaces, err := c.namespaces.List(labels.Everything())
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	for _, namespace := range namespaces {
		c.queue.Add(namespace.Name)
	}
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) {
	c.factory.Start(ctx.Done())
	defer c.factory.Shutdown()
	c.loop.Run(ctx, workers, c.enqueueAll)
}

// Sync brings the RoleBinding of one namespace to what Decide wants.
func (c *Controller) Sync(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	in, err := c.gather(name)
	if err != nil {
		return err
	}
	bindings := c.Client.RbacV1().RoleBindings(name)
	switch Decide(in) {
	case Create:
		_, err = bindings.Create(ctx, newBinding(name), metav1.CreateOptions{FieldManager: fieldManager})
	case Delete:
		err = bindings.Delete(ctx, BindingName, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &in.Binding.UID, ResourceVersion: &in.Binding.ResourceVersion}})
		if apierrors.IsNotFound(err) {
			err = nil
		}
	case Report:
		c.report(in)
	}
	if err != nil {
		return fmt.Errorf("RoleBinding %s/%s: %w", name, BindingName, err)
	}
	return nil
}

// gather reads the caches for one namespace.
func (c *Controller) gather(name string) (Input, error) {
	var in Input
	namespace, err := c.namespaces.Get(name)
	if err != nil {
		return in, ignoreNotFound(err, "read Namespace "+name)
	}
	object, _, err := c.Configs.GetIndexer().GetByKey(configName)
	if err != nil {
		return in, fmt.Errorf("read Config %s: %w", configName, err)
	}
	config, _ := object.(*imageregistryv1.Config)
	in.Grant, in.Revoke = wanted(config, namespace, c.Namespace)
	in.Binding, err = c.bindings.RoleBindings(name).Get(BindingName)
	if err != nil {
		in.Binding = nil
	}
	return in, ignoreNotFound(err, "read RoleBinding of Namespace "+name)
}

// wanted narrows Config down to one namespace. In a namespace that is being deleted nothing is done.
func wanted(config *imageregistryv1.Config, namespace *corev1.Namespace, operandNamespace string) (grant, revoke bool) {
	if namespace.DeletionTimestamp != nil {
		return false, false
	}
	mode := pullsecret.EffectiveMode(config)
	switch mode {
	case pullsecret.Full:
		pull := config.Spec.ImagePullSecret.GrantNamespacePull
		grant = (pull == nil || *pull) && pullsecret.ScopeOf(config, operandNamespace).HasNamespace(namespace)
		return grant, !grant
	case pullsecret.Remove:
		return false, true
	}
	return false, false
}

// ignoreNotFound drops NotFound: what does not exist is an answer, not a failure.
func ignoreNotFound(err error, doing string) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// report tells of a RoleBinding that binds another role, once an hour at most in each namespace: its users may make
// it anew as often as they like.
func (c *Controller) report(in Input) {
	now := c.Clock.Now()
	c.mu.Lock()
	maps.DeleteFunc(c.reported, func(_ string, at time.Time) bool { return now.Sub(at) >= reportInterval })
	_, known := c.reported[in.Binding.Namespace]
	if !known {
		c.reported[in.Binding.Namespace] = now
	}
	c.mu.Unlock()
	if known || c.Events == nil {
		return
	}
	c.Events(corev1.EventTypeWarning, "PullBindingConflict", fmt.Sprintf(
		"RoleBinding %s/%s binds %s %s instead of ClusterRole %s and is left alone",
		in.Binding.Namespace, BindingName, in.Binding.RoleRef.Kind, in.Binding.RoleRef.Name, RoleName))
}
