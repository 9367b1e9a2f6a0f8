package registryconfig

import (
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	client "image.alauda.io/client-go/clientset/versioned/typed/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/conditions"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/keyed"
	"image.alauda.io/registry/pkg/operator/render"
)

const (
	controllerName = "config"
	// syncTimeout bounds one sync; longer work is a step that is repeated. Of it, workTimeout is for the steps,
	// so that a step which hangs leaves the time to report it.
	syncTimeout = 30 * time.Second
	workTimeout = 25 * time.Second
	// resync is the longest time without a sync. It writes nothing when all is as wanted.
	resync = 10 * time.Minute
	// permanentRetry is for faults that can heal outside the cluster, waitingRetry for steps on their way
	// whose end may bring no event, graceRetry for conditions that depend on the time.
	permanentRetry = time.Minute
	waitingRetry   = 5 * time.Second
	graceRetry     = 30 * time.Second
)

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	Kube    kubernetes.Interface
	Configs client.ConfigInterface
	// ConfigInformer brings the events of Config; its content is not used.
	ConfigInformer cache.SharedIndexInformer
	// PrunerInformer holds ImagePruner, whose last run is shown in the status of Config.
	PrunerInformer cache.SharedIndexInformer
	Applier        *apply.Applier
	// Namespaced serves the operand namespace, Cluster nodes, storage classes and namespaces. The caller
	// starts both after New.
	Namespaced, Cluster informers.SharedInformerFactory
	Settings            render.Settings
	// Preflight tests object stores.
	Preflight Preflight
	// Certificates and PullSecrets ask the other controllers how they are.
	Certificates func() Certificates
	PullSecrets  func() PullSecrets
	// Events records an event on Config/cluster.
	Events func(eventType, reason, message string)
	// Clock defaults to the real one.
	Clock clock.WithTicker
	// Metrics is optional.
	Metrics *Metrics
}

// Certificates is what the certificates controller knows.
type Certificates struct {
	Health   conditions.Controller
	NotAfter []registryv1.CertificateStatus
}

// PullSecrets is what the pull-secret controller knows.
type PullSecrets struct {
	Health conditions.PullSecrets
	Count  registryv1.ReadyCount
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Kube == nil || o.Configs == nil || o.ConfigInformer == nil || o.PrunerInformer == nil:
		return errors.New("config controller: Kube, Configs, ConfigInformer and PrunerInformer are required")
	case o.Applier == nil || o.Namespaced == nil || o.Cluster == nil:
		return errors.New("config controller: Applier, Namespaced and Cluster are required")
	case o.Preflight == nil:
		return errors.New("config controller: Preflight is required")
	case o.Certificates == nil || o.PullSecrets == nil || o.Events == nil:
		return errors.New("config controller: Certificates, PullSecrets and Events are required")
	}
	return o.Settings.Validate()
}

// Controller brings the cluster to what Config asks for.
type Controller struct {
	Options
	*keyed.Single
	listers listers
	memory  memory
	// workTimeout is shorter in tests.
	workTimeout time.Duration
}

// memory is what is not worth an API object: it starts anew with the process, and only delays alarms.
type memory struct {
	failingSince     time.Time
	nodeFailingSince time.Time
	cleanupSince     time.Time
	// pullSecretsWritten is when status.pullSecrets changed last.
	pullSecretsWritten time.Time
	// storageChange is the change of the storage that was told of last: until the status is written, which may
	// take several syncs, every one of them sees it.
	storageChange string
	// records are those of the cluster when they were counted last.
	records   imagestorage.Records
	recordsAt time.Time
	// generations are those of the status when the sync began.
	generations []registryv1.GenerationStatus
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Controller{Options: o, workTimeout: workTimeout}
	c.Single = keyed.NewSingle(controllerName, o.Clock, c.Sync)
	c.listers = newListers(o)
	for _, informer := range append(c.listers.informers, o.PrunerInformer) {
		if err := c.watch(informer, c.enqueueChanged); err != nil {
			return nil, err
		}
	}
	if err := c.watch(o.ConfigInformer, c.enqueueAsked); err != nil {
		return nil, err
	}
	if err := c.watchNamespace(); err != nil {
		return nil, err
	}
	if err := c.watchNodes(); err != nil {
		return nil, err
	}
	err := o.Applier.Cache.OnEvent(func(object *unstructured.Unstructured, repeated bool) {
		if !repeated && relevant(object) {
			c.Enqueue()
		}
	})
	if err != nil {
		return nil, fmt.Errorf("config controller: %w", err)
	}
	c.Await(o.Applier.Cache.HasSynced)
	return c, nil
}

func (c *Controller) watch(informer cache.SharedIndexInformer, changed func(before, after any)) error {
	return c.handle(informer, cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { c.Enqueue() },
		UpdateFunc: changed,
		DeleteFunc: func(any) { c.Enqueue() },
	})
}

// watchNamespace notices the end of the namespace of the operands, and when it is back. Other changes of namespaces
// mean nothing here.
func (c *Controller) watchNamespace() error {
	return c.handle(c.Cluster.Core().V1().Namespaces().Informer(), cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			if namespace, ok := object.(metav1.Object); ok && namespace.GetName() == c.Settings.Namespace {
				c.Enqueue()
			}
		},
		UpdateFunc: func(_, after any) {
			if namespace, ok := after.(metav1.Object); ok && namespace.GetName() == c.Settings.Namespace && namespace.GetDeletionTimestamp() != nil {
				c.Enqueue()
			}
		},
	})
}

func (c *Controller) handle(informer cache.SharedIndexInformer, handler cache.ResourceEventHandler) error {
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return fmt.Errorf("config controller: watch: %w", err)
	}
	c.Await(registration.HasSynced)
	return nil
}

// relevant leaves out objects whose events are frequent and mean nothing here.
func relevant(object *unstructured.Unstructured) bool {
	return object.GetLabels()[registryv1.ManagedPullSecretLabel] == ""
}

func (c *Controller) enqueueChanged(before, after any) {
	b, okB := before.(metav1.Object)
	a, okA := after.(metav1.Object)
	if okB && okA && a.GetResourceVersion() == b.GetResourceVersion() {
		return
	}
	c.Enqueue()
}

// enqueueAsked leaves out what this controller writes into Config itself.
func (c *Controller) enqueueAsked(before, after any) {
	if !apply.StatusOnly(before, after) {
		c.enqueueChanged(before, after)
	}
}
