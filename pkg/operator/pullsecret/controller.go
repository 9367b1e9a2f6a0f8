package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

const (
	configName = imageregistryv1.SingletonName
	// accountIndex finds the Secrets of a ServiceAccount by their annotation.
	accountIndex = "service-account"
	clientQPS    = 50
	clientBurst  = 100
)

// Options are what the controller works with. Every field without a note is required.
type Options struct {
	// Client should come from ClientConfig: it writes for every ServiceAccount of the cluster, and its
	// requests can be told apart in the audit log.
	Client kubernetes.Interface
	// Namespaced serves the Service of the operand namespace; the caller starts it after New.
	Namespaced informers.SharedInformerFactory
	// Namespaces serves all namespaces; the caller starts its factory after New.
	Namespaces coreinformers.NamespaceInformer
	// Configs is the informer of Config; the caller starts its factory after New.
	Configs cache.SharedIndexInformer
	// Namespace is the operand namespace.
	Namespace string
	// ClusterDomain is the DNS suffix of the cluster, such as cluster.local.
	ClusterDomain string
	// Clock defaults to the real one.
	Clock clock.WithTicker
	// Events records an event on Config/cluster; optional.
	Events func(eventType, reason, message string)
}

// Validate names the first field that is missing.
func (o Options) Validate() error {
	switch {
	case o.Client == nil:
		return errors.New("pull secrets: Client is required")
	case o.Namespaced == nil || o.Namespaces == nil || o.Configs == nil:
		return errors.New("pull secrets: Namespaced, Namespaces and Configs are required")
	case o.Namespace == "" || o.ClusterDomain == "":
		return errors.New("pull secrets: Namespace and ClusterDomain are required")
	}
	return nil
}

// ClientConfig is base with the limits and the user agent of this controller.
func ClientConfig(base *rest.Config) *rest.Config {
	config := rest.CopyConfig(base)
	config.QPS, config.Burst = clientQPS, clientBurst
	config.UserAgent = fieldManager + "/" + controllerName
	return config
}

// Controller keeps the pull secrets as Decide wants them.
type Controller struct {
	Options
	cluster    informers.SharedInformerFactory
	accounts   corelisters.ServiceAccountLister
	secrets    cache.Indexer
	namespaces corelisters.NamespaceLister
	services   corelisters.ServiceNamespaceLister
	synced     []cache.InformerSynced
	queue      workqueue.TypedRateLimitingInterface[types.NamespacedName]
	memory     memory

	// mu guards last, the settings that all keys were last enqueued for.
	mu   sync.Mutex
	last settings
}

// New prepares the controller and registers its event handlers.
func New(o Options) (*Controller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	c := &Controller{
		Options:    o,
		cluster:    informers.NewSharedInformerFactory(o.Client, 0),
		namespaces: o.Namespaces.Lister(),
		services:   o.Namespaced.Core().V1().Services().Lister().Services(o.Namespace),
		memory:     newMemory(),
	}
	c.accounts = c.cluster.Core().V1().ServiceAccounts().Lister()
	c.queue = newQueue(o.Clock, c.urgent)

	accounts := c.cluster.Core().V1().ServiceAccounts().Informer()
	secrets := c.cluster.InformerFor(&corev1.Secret{}, newSecretInformer)
	c.secrets = secrets.GetIndexer()
	if err := errors.Join(accounts.SetTransform(trimAccount), secrets.SetTransform(forgetCredential)); err != nil {
		return nil, fmt.Errorf("pull secrets: set transform: %w", err)
	}
	watches := []struct {
		informer cache.SharedIndexInformer
		handle   func(any)
	}{
		{accounts, c.enqueueAccount},
		{secrets, c.enqueueSecret},
		{o.Namespaces.Informer(), c.enqueueNamespace},
		{o.Configs, c.enqueueAll},
		{o.Namespaced.Core().V1().Services().Informer(), c.enqueueAll},
	}
	for _, watch := range watches {
		registration, err := watch.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    watch.handle,
			UpdateFunc: func(_, obj any) { watch.handle(obj) },
			DeleteFunc: watch.handle,
		})
		if err != nil {
			return nil, fmt.Errorf("pull secrets: watch: %w", err)
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	return c, nil
}

// newSecretInformer watches the labelled Secrets of all namespaces, and no other.
func newSecretInformer(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
	return coreinformers.NewFilteredSecretInformer(client, metav1.NamespaceAll, resync,
		cache.Indexers{
			cache.NamespaceIndex: cache.MetaNamespaceIndexFunc,
			accountIndex:         indexByAccount,
		},
		func(list *metav1.ListOptions) { list.LabelSelector = ManagedLabel + "=true" })
}

func indexByAccount(obj any) ([]string, error) {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return nil, nil
	}
	return []string{accountOf(secret).String()}, nil
}

// accountOf names the ServiceAccount of a Secret by its owner reference; the annotation counts when there
// is none.
func accountOf(secret *corev1.Secret) types.NamespacedName {
	name := secret.Annotations[accountAnnotation]
	for _, owner := range secret.OwnerReferences {
		if owner.Kind == "ServiceAccount" && owner.APIVersion == "v1" {
			name = owner.Name
		}
	}
	return types.NamespacedName{Namespace: secret.Namespace, Name: name}
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) {
	defer utilruntime.HandleCrashWithContext(ctx)
	c.cluster.Start(ctx.Done())
	defer c.cluster.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return
	}
	c.enqueueAll(nil)
	var group wait.Group
	for range max(workers, 1) {
		group.StartWithContext(ctx, func(ctx context.Context) {
			for c.processOne(ctx) {
			}
		})
	}
	<-ctx.Done()
	c.queue.ShutDown()
	group.Wait()
}

func (c *Controller) processOne(ctx context.Context) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	after, err := c.Sync(ctx, key)
	c.memory.result(key, c.Clock.Now(), err)
	switch verdict := classify(err); verdict {
	case done:
		c.queue.Forget(key)
		if after > 0 {
			c.queue.AddAfter(key, min(after, longestWait))
		}
	case again:
		c.queue.AddAfter(key, conflictDelay)
	case later:
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
			c.queue.AddAfter(key, time.Duration(seconds)*time.Second)
			break
		}
		klog.FromContext(ctx).Error(err, "Sync failed", "controller", controllerName, "serviceAccount", key)
		c.queue.AddRateLimited(key)
	}
	return true
}

// longestWait bounds the time to the next look, which costs no request. A timer knows nothing of a clock that
// was set, or of a machine that slept: tokens would run out before it.
const longestWait = 30 * time.Minute

// conflictDelay lets the event arrive that made the cache stale.
const conflictDelay = 100 * time.Millisecond

type verdict int

const (
	done verdict = iota
	again
	later
)

// classify sorts the outcome of a sync: what vanished or is vanishing is done, a conflict is tried again
// at once, everything else with back-off.
func classify(err error) verdict {
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return done
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return again
	}
	return later
}
