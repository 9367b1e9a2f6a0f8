package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	"k8s.io/utils/clock"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/keyed"
)

const (
	configName = imageregistryv1.SingletonName
	// accountIndex finds the Secrets of a ServiceAccount under other names than the managed one.
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
	// SigningKeys returns the ids of the cluster's signing keys; by default it asks the API server, with
	// Account as the ServiceAccount in Namespace whose token is looked at when that does not tell.
	SigningKeys func(context.Context) ([]string, error)
	// Account is the operator's own ServiceAccount; it defaults to the name of the operator.
	Account string
	// Metrics is optional.
	Metrics *Metrics
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
	accounts   cache.Indexer
	secrets    cache.Indexer
	namespaces corelisters.NamespaceLister
	services   corelisters.ServiceNamespaceLister
	queue      keyed.Queue[types.NamespacedName]
	loop       *keyed.Loop[types.NamespacedName]
	memory     memory
	refusals   refusals
	keys       keySet
	keyPace    pace

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
	if o.Account == "" {
		o.Account = imageregistryv1.OperatorName
	}
	if o.SigningKeys == nil {
		o.SigningKeys = SigningKeys(o.Client, o.Namespace, o.Account)
	}
	c := &Controller{
		Options:    o,
		cluster:    informers.NewSharedInformerFactory(o.Client, 0),
		namespaces: o.Namespaces.Lister(),
		services:   o.Namespaced.Core().V1().Services().Lister().Services(o.Namespace),
		memory:     newMemory(),
		keyPace:    pace{look: keysInterval, spread: keysSpread},
	}
	c.queue = keyed.NewQueue[types.NamespacedName](controllerName, o.Clock, &priorityQueue{urgent: c.urgent})

	accounts := c.cluster.Core().V1().ServiceAccounts().Informer()
	c.accounts = accounts.GetIndexer()
	secrets := c.cluster.InformerFor(&corev1.Secret{}, newSecretInformer)
	c.secrets = secrets.GetIndexer()
	if err := errors.Join(accounts.SetTransform(keepAccount), secrets.SetTransform(keepSecret)); err != nil {
		return nil, fmt.Errorf("pull secrets: set transform: %w", err)
	}
	synced, err := c.watch(accounts, secrets)
	if err != nil {
		return nil, err
	}
	c.loop = keyed.New(keyed.Options[types.NamespacedName]{
		Name: controllerName, Queue: c.queue, Synced: synced, Sync: c.Sync, Longest: longestWait,
		Observe: func(key types.NamespacedName, err error) { c.memory.result(key, c.Clock.Now(), err) },
	})
	return c, nil
}

// watch registers the event handlers and returns what tells that they have seen everything once.
func (c *Controller) watch(accounts, secrets cache.SharedIndexInformer) ([]cache.InformerSynced, error) {
	handlers := []struct {
		informer cache.SharedIndexInformer
		handle   func(any)
	}{
		{accounts, c.enqueueAccount},
		{secrets, c.enqueueSecret},
		{c.Namespaces.Informer(), c.enqueueNamespace},
		{c.Configs, c.enqueueAll},
		{c.Namespaced.Core().V1().Services().Informer(), c.enqueueAll},
	}
	var synced []cache.InformerSynced
	for _, watch := range handlers {
		registration, err := watch.informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(obj any, initial bool) {
				if !initial {
					c.arrived(obj)
				}
				watch.handle(obj)
			},
			UpdateFunc: func(before, after any) {
				if !sameForUs(before, after) {
					watch.handle(after)
				}
			},
			DeleteFunc: watch.handle,
		})
		if err != nil {
			return nil, fmt.Errorf("pull secrets: watch: %w", err)
		}
		synced = append(synced, registration.HasSynced)
	}
	return synced, nil
}

// sameForUs tells of two versions of a Namespace whether they mean the same: each change would be a look at all of its
// ServiceAccounts, and its users may change it as often as they like.
func sameForUs(before, after any) bool {
	b, wasNamespace := before.(*corev1.Namespace)
	a, isNamespace := after.(*corev1.Namespace)
	return wasNamespace && isNamespace && b.UID == a.UID && b.Labels[IgnoreLabel] == a.Labels[IgnoreLabel] &&
		(b.DeletionTimestamp == nil) == (a.DeletionTimestamp == nil)
}

// newSecretInformer watches the labelled Secrets of all namespaces, and no other.
func newSecretInformer(client kubernetes.Interface, resync time.Duration) cache.SharedIndexInformer {
	return coreinformers.NewFilteredSecretInformer(client, metav1.NamespaceAll, resync,
		cache.Indexers{accountIndex: indexByAccount},
		func(list *metav1.ListOptions) { list.LabelSelector = ManagedLabel + "=true" })
}

// indexByAccount leaves out what is found by its name: that is one Secret of each ServiceAccount, and the index would
// be as large as the cache. What others made is nobody's orphan.
func indexByAccount(obj any) ([]string, error) {
	secret, ok := obj.(*Secret)
	if !ok || secret.Foreign || secret.Name == SecretName(secret.Account) {
		return nil, nil
	}
	return []string{secret.key().String()}, nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) {
	defer utilruntime.HandleCrashWithContext(ctx)
	c.cluster.Start(ctx.Done())
	defer c.cluster.Shutdown()
	var group wait.Group
	defer group.Wait()
	c.loop.Run(ctx, workers, func() {
		c.enqueueAll(nil)
		group.StartWithContext(ctx, c.watchKeys)
	})
}

// longestWait bounds the time to the next look, which costs no request. A timer knows nothing of a clock that
// was set, or of a machine that slept: tokens would run out before it.
const longestWait = 30 * time.Minute
