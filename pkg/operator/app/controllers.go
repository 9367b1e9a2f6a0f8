package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned"
	registryinformers "image.alauda.io/client-go/informers/externalversions"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/certificates"
	"image.alauda.io/registry/pkg/operator/loglevel"
	monitors "image.alauda.io/registry/pkg/operator/monitoring"
	"image.alauda.io/registry/pkg/operator/namespacepull"
	"image.alauda.io/registry/pkg/operator/notify"
	"image.alauda.io/registry/pkg/operator/pruner"
	"image.alauda.io/registry/pkg/operator/pulladmission"
	"image.alauda.io/registry/pkg/operator/pullsecret"
	"image.alauda.io/registry/pkg/operator/registryconfig"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

// pullWorkers is the number of ServiceAccounts and namespaces worked on at a time.
const pullWorkers = 10

// controllers are everything that runs on the leader, with the caches that also a standby fills.
type controllers struct {
	o            Options
	setVerbosity func(int)
	caches       *caches
	registry     *prometheus.Registry

	kube       kubernetes.Interface
	namespaced informers.SharedInformerFactory
	cluster    informers.SharedInformerFactory
	singletons registryinformers.SharedInformerFactory
	owned      *apply.Cache
	broadcast  record.EventBroadcaster

	config        *registryconfig.Controller
	preflight     *preflight.Prober
	configMetrics *registryconfig.Metrics
	certificates  *certificates.Controller
	pruner        *pruner.Controller
	pullSecrets   *pullsecret.Controller
	namespacePull *namespacepull.Controller
	pullAdmission *pulladmission.Controller
	monitoring    *monitors.Controller
	streamTags    *monitors.StreamTags
	configs       cache.SharedIndexInformer
}

func newControllers(o Options, config *rest.Config, kube kubernetes.Interface, setVerbosity func(int), ready *caches) (*controllers, error) {
	typed, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	pulls, err := kubernetes.NewForConfig(pullsecret.ClientConfig(config))
	if err != nil {
		return nil, fmt.Errorf("client of the pull secrets: %w", err)
	}
	c := &controllers{
		o: o, setVerbosity: setVerbosity, caches: ready, registry: prometheus.NewRegistry(), kube: kube,
		namespaced: informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithNamespace(o.Settings.Namespace), informers.WithTransform(forgetToken)),
		cluster:    informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTransform(trim)),
		singletons: registryinformers.NewSharedInformerFactory(typed, 0),
		owned:      apply.NewCache(untyped, o.Settings.Namespace, registryv1.LabelManagedBy+"="+registryv1.OperatorName, 0),
		broadcast:  record.NewBroadcaster(),
	}
	if err := c.owned.SetTransform("Secret", forgetToken); err != nil {
		return nil, err
	}
	c.singletons.InformerFor(&registryv1.Config{}, tolerant(untyped, "configs", &registryv1.Config{}, readableConfig))
	c.singletons.InformerFor(&registryv1.ImagePruner{}, tolerant(untyped, "imagepruners", &registryv1.ImagePruner{}, readablePruner))
	c.configs = c.singletons.Imageregistry().V1().Configs().Informer()
	events := notify.New(c.broadcast.NewRecorder(scheme.Scheme, corev1.EventSource{Component: registryv1.OperatorName}), clock.RealClock{})
	applier, err := apply.New(apply.Options{
		Client: untyped, Cache: c.owned, FieldManager: registryv1.OperatorName,
		OwnedAnnotation: registryv1.OwnedAnnotation, LeaveAlone: registryconfig.LeftAlone, Again: c.lookAgain, Event: events.Event,
		Corrected: func(ref apply.Ref) { c.configMetrics.Corrected(ref) },
	})
	if err != nil {
		return nil, err
	}
	if err := c.newPullControllers(pulls, untyped, events); err != nil {
		return nil, err
	}
	if err := c.newCoreControllers(typed, applier, events); err != nil {
		return nil, err
	}
	if err := c.newMonitoring(typed, untyped, applier); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *controllers) newPullControllers(client kubernetes.Interface, untyped dynamic.Interface, events *notify.Recorder) error {
	metrics, err := pullsecret.NewMetrics(c.registry)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	namespaces := c.cluster.Core().V1().Namespaces()
	c.pullSecrets, err = pullsecret.New(pullsecret.Options{
		Client: client, Namespaced: c.namespaced, Namespaces: namespaces, Configs: c.configs,
		Namespace: c.o.Settings.Namespace, ClusterDomain: c.o.Settings.ClusterDomain, Events: events.Event, Metrics: metrics,
	})
	if err != nil {
		return err
	}
	if err := c.registry.Register(c.pullSecrets.Collector()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	c.pullAdmission, err = pulladmission.New(pulladmission.Options{
		Client: untyped, Discovery: client.Discovery(), Configs: c.configs, Settings: c.o.Settings,
	})
	if err != nil {
		return err
	}
	c.namespacePull, err = namespacepull.New(namespacepull.Options{
		Client: client, Namespaces: namespaces, Configs: c.configs, Namespace: c.o.Settings.Namespace, Events: events.Event,
	})
	return err
}

func (c *controllers) newCoreControllers(typed versioned.Interface, applier *apply.Applier, events *notify.Recorder) error {
	var err error
	c.certificates, err = certificates.New(certificates.Options{
		Client: c.kube, Namespaced: c.namespaced, Configs: c.configs, Namespace: c.o.Settings.Namespace,
		ClusterDomain: c.o.Settings.ClusterDomain, Lifetimes: c.o.Certificates, Trusted: func() map[string][]byte { return c.config.Trusted() },
		Events: events.Event, OnChange: func() { c.config.Enqueue() },
	})
	if err != nil {
		return err
	}
	c.configMetrics, err = registryconfig.NewMetrics(c.registry)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	prunerMetrics, err := pruner.NewMetrics(c.registry)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	c.preflight, err = newProber(c.o, func() { c.config.Enqueue() })
	if err != nil {
		return err
	}
	c.config, err = registryconfig.New(registryconfig.Options{
		Kube: c.kube, Configs: typed.ImageregistryV1().Configs(), ConfigInformer: c.configs,
		PrunerInformer: c.singletons.Imageregistry().V1().ImagePruners().Informer(), Applier: applier,
		Namespaced: c.namespaced, Cluster: c.cluster, Settings: c.o.Settings,
		Preflight: c.preflight, Certificates: c.certificateState, PullSecrets: c.pullSecretState, Events: events.Event, Metrics: c.configMetrics,
	})
	if err != nil {
		return err
	}
	c.pruner, err = pruner.New(pruner.Options{
		Kube: c.kube, Pruners: typed.ImageregistryV1().ImagePruners(),
		PrunerInformer: c.singletons.Imageregistry().V1().ImagePruners().Informer(), ConfigInformer: c.configs,
		Applier: applier, Namespaced: c.namespaced, Settings: c.o.Settings, Metrics: prunerMetrics,
	})
	return err
}

// lookAgain is for objects that wait to be put back; the applier does not know whose they are.
func (c *controllers) lookAgain(after time.Duration) {
	c.config.EnqueueAfter(after)
	c.pruner.EnqueueAfter(after)
	c.monitoring.EnqueueAfter(after)
}

// startCaches fills the caches, on the leader and on a standby.
func (c *controllers) startCaches(ctx context.Context) {
	c.namespaced.Start(ctx.Done())
	c.cluster.Start(ctx.Done())
	c.singletons.Start(ctx.Done())
	c.owned.Start(ctx)
	c.caches.add(
		c.owned.HasSynced,
		c.configs.HasSynced,
		c.namespaced.Core().V1().Secrets().Informer().HasSynced,
		c.namespaced.Core().V1().ConfigMaps().Informer().HasSynced,
		c.namespaced.Core().V1().Services().Informer().HasSynced,
		c.cluster.Core().V1().Namespaces().Informer().HasSynced,
		c.cluster.Core().V1().Nodes().Informer().HasSynced,
	)
}

// run starts the controllers and waits until they end with ctx.
func (c *controllers) run(ctx context.Context) {
	c.broadcast.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: c.kube.CoreV1().Events("")})
	defer c.broadcast.Shutdown()
	if err := loglevel.Watch(ctx, c.configs, c.setVerbosity); err != nil {
		c.broadcast.Shutdown()
		return
	}
	var group sync.WaitGroup
	for _, start := range []func(context.Context){
		c.config.Run,
		c.preflight.Run,
		c.pruner.Run,
		c.monitoring.Run,
		c.streamTags.Run,
		c.certificates.Run,
		func(ctx context.Context) { c.pullSecrets.Run(ctx, pullWorkers) },
		func(ctx context.Context) { c.namespacePull.Run(ctx, pullWorkers) },
		c.pullAdmission.Run,
	} {
		group.Go(func() { start(ctx) })
	}
	group.Wait()
}

// servingPair is the pair of the metrics listener as it is in the cache.
func (c *controllers) servingPair() (certificate, key []byte, err error) {
	secret, err := c.namespaced.Core().V1().Secrets().Lister().Secrets(c.o.Settings.Namespace).Get(registryv1.SecretOperatorTLS)
	if err != nil {
		return nil, nil, errors.New("the operator's certificate is not issued yet")
	}
	return secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], nil
}
