package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/logging"
	"image.alauda.io/registry/pkg/operator/serve"
	"image.alauda.io/registry/pkg/version"
)

const (
	// clientQPS is enough for one sync of everything without waiting.
	clientQPS   = 100
	clientBurst = 200
	// guardQPS and guardBurst are enough for every scraper there is.
	guardQPS   = 10
	guardBurst = 20
	// crdPatience is how long the operator waits for its own CRDs.
	crdPatience = 2 * time.Minute
)

func run(ctx context.Context, o Options, setVerbosity func(int)) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("client configuration: %w", err)
	}
	config.UserAgent = version.UserAgent(registryv1.OperatorName)
	config.QPS, config.Burst = clientQPS, clientBurst
	return RunWith(ctx, o, config, setVerbosity)
}

// RunWith runs the operator with a client configuration until ctx ends. It returns nil on an orderly end.
func RunWith(ctx context.Context, o Options, config *rest.Config, setVerbosity func(int)) error {
	spareMemory()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	config = rest.CopyConfig(config)
	config.Wrap(logging.Hanging(klog.FromContext(ctx), clock.RealClock{}, logging.HangingAfter))
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	parts := newCaches()
	background := make(chan error, 2)
	go func() { background <- serve.Listen(ctx, o.HealthAddress, serve.Health(parts.ready), nil) }()
	if err := waitForCRDs(ctx, kube.Discovery()); err != nil {
		return err
	}
	controllers, err := newControllers(o, config, kube, setVerbosity, parts)
	if err != nil {
		return err
	}
	guard, err := newGuard(config)
	if err != nil {
		return err
	}
	go func() {
		background <- serve.Listen(ctx, o.MetricsAddress, serve.Metrics(guard, controllers.metricsHandler()), serve.Reloading(controllers.servingPair))
	}()
	go func() {
		if err := <-background; err != nil {
			cancel(err)
		}
	}()
	controllers.startCaches(ctx)
	if o.LeaderElect {
		err = lead(ctx, o, kube, controllers.run)
	} else {
		controllers.run(ctx)
	}
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// newGuard asks with a client of its own: whoever reaches the metrics can make it ask with tokens that he invents,
// and must not use up the requests of the controllers and of the lease.
func newGuard(config *rest.Config) (serve.Guard, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst, config.RateLimiter = guardQPS, guardBurst, nil
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return serve.Guard{}, fmt.Errorf("client of the metrics: %w", err)
	}
	return serve.NewGuard(kube)
}

// waitForCRDs waits until both kinds are served: without them nothing can be asked for.
func waitForCRDs(ctx context.Context, client discovery.DiscoveryInterface) error {
	group := registryv1.SchemeGroupVersion.String()
	var last error
	err := wait.PollUntilContextTimeout(ctx, time.Second, crdPatience, true, func(context.Context) (bool, error) {
		var list *metav1.APIResourceList
		if list, last = client.ServerResourcesForGroupVersion(group); last != nil {
			return false, nil
		}
		found := map[string]bool{}
		for _, resource := range list.APIResources {
			found[resource.Name] = true
		}
		return found["configs"] && found["imagepruners"], nil
	})
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the kinds Config and ImagePruner of %s are not served after %s; apply manifests/crd: %w", group, crdPatience, errors.Join(last, err))
	}
	return nil
}
