package app

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/pkg/pruner/objects"
	"image.alauda.io/registry/pkg/pruner/roots"
	"image.alauda.io/registry/pkg/pruner/snapshot"
	"image.alauda.io/registry/pkg/version"
)

const (
	userAgent = "alauda-image-pruner"
	// podToken is where a Pod finds its token. Inside the cluster the network costs less than the compression of
	// gigabytes, which the API servers would have to do.
	podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// connection says how to reach the API server; inside a Pod nothing needs to be given.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	timeout    time.Duration
}

func (c *connection) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "kubeconfig file; inside a Pod its ServiceAccount is used")
	flags.StringVar(&c.overrides.CurrentContext, "context", "", "context of the kubeconfig")
	flags.StringVar(&c.overrides.Context.Cluster, "cluster", "", "cluster of the kubeconfig")
	flags.StringVar(&c.overrides.Context.AuthInfo, "user", "", "user of the kubeconfig")
	flags.StringVar(&c.overrides.ClusterInfo.Server, "server", "", "address of the API server")
	flags.StringVar(&c.overrides.AuthInfo.Token, "token", "", "bearer token for the API server")
	flags.StringVar(&c.overrides.AuthInfo.Impersonate, "as", "", "user to impersonate")
	flags.StringArrayVar(&c.overrides.AuthInfo.ImpersonateGroups, "as-group", nil, "group to impersonate (repeatable)")
	flags.DurationVar(&c.timeout, "request-timeout", time.Minute, "time for one request")
}

// clients talk to the cluster.
type clients struct {
	kube  kubernetes.Interface
	image imageclient.Interface
	// imageLists reads Images for a snapshot.
	imageLists rest.Interface
	dates      *snapshot.Dates
	warnings   *snapshot.Warnings
	// config is what the clients were made from, for credentials and authorities.
	config *rest.Config
	// watching is like kube, without a timeout. api and objects are for custom kinds.
	watching kubernetes.Interface
	api      roots.API
	objects  snapshot.Objects
}

// clients connects. It comes before the log is set up: at high verbosity the library tells where the
// kubeconfig lies, which nobody needs to know who reads the log.
func (c *connection) clients(qps float32, burst int) (clients, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides).ClientConfig()
	if err != nil {
		return clients{}, failure(exitUsage, "--kubeconfig: %s", withoutDirectories(err, rules))
	}
	config.QPS, config.Burst, config.Timeout = qps, burst, c.timeout
	if config.BearerTokenFile == podToken {
		config.DisableCompression = true
	}
	config.UserAgent = version.UserAgent(userAgent)
	plain := rest.CopyConfig(config)
	dates := &snapshot.Dates{}
	config.Wrap(dates.Wrap)
	config.Wrap(snapshot.TakeAdvice)
	builtin := rest.CopyConfig(config)
	builtin.ContentType = "application/vnd.kubernetes.protobuf"
	builtin.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	kube, err := kubernetes.NewForConfig(builtin)
	if err != nil {
		return clients{}, failure(exitUsage, "client: %w", err)
	}
	builtin.Timeout = 0
	watching, err := kubernetes.NewForConfig(builtin)
	if err != nil {
		return clients{}, failure(exitUsage, "client: %w", err)
	}
	api, err := roots.NewAPI(config, clock.RealClock{})
	if err != nil {
		return clients{}, failure(exitUsage, "%w", err)
	}
	custom, err := objects.NewReader(config)
	if err != nil {
		return clients{}, failure(exitUsage, "%w", err)
	}
	warnings := &snapshot.Warnings{}
	config.WarningHandlerWithContext = warnings
	image, err := imageclient.NewForConfig(config)
	if err != nil {
		return clients{}, failure(exitUsage, "client: %w", err)
	}
	return clients{
		kube: kube, image: image, imageLists: image.ImageV1().RESTClient(), dates: dates, warnings: warnings, config: plain,
		watching: watching, api: api, objects: custom,
	}, nil
}

// withoutDirectories names kubeconfig files in an error without saying where they lie.
func withoutDirectories(err error, rules *clientcmd.ClientConfigLoadingRules) string {
	text := err.Error()
	for _, file := range append([]string{rules.ExplicitPath}, rules.Precedence...) {
		if file != "" {
			text = strings.ReplaceAll(text, file, filepath.Base(file))
		}
	}
	return text
}
