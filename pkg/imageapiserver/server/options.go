// Package server builds and runs the aggregated API server of image.alauda.io: options become a
// configuration, a completed configuration, and only then a server, so that a half-built server cannot
// exist.
//
// In: flags, the configuration file, and a cluster whose kube-apiserver authenticates and authorises
// on this server's behalf. Out: a server that is reached through the aggregation layer (or directly
// with a token), with storage in hidden custom resources or in etcd, admission, audit, priority and
// fairness, OpenAPI, health checks and metrics from the library.
//
// Liveness never depends on the storage: an outage of kube-apiserver or etcd must not restart Pods.
// Discovery is served without storage. The package holds no rules about images; those are in the
// resource packages.
package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	utilcompatibility "k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	basecompatibility "k8s.io/component-base/compatibility"

	"image.alauda.io/registry/pkg/imageapiserver/storage"
)

// Backends of --image-storage.
const (
	StorageCRD  = "crd"
	StorageEtcd = "etcd"
)

// ComponentName is the name under which the server registers its version.
const ComponentName = "image-api-server"

const (
	defaultConfigFile = "/etc/image-api-server/config.yaml"
	servingCertFile   = "/var/run/serving-cert/tls.crt"
	servingKeyFile    = "/var/run/serving-cert/tls.key"
	resolvConfFile    = "/etc/resolv.conf"
	etcdPrefix        = "/registry/image.alauda.io"
	// maxRequestBody takes a 4 MiB manifest with its config; the library's 3 MiB would not.
	maxRequestBody = 8 << 20
)

// Options are what can be set by flags.
type Options struct {
	// ConfigFile is the path of the ImageAPIServerConfig.
	ConfigFile string
	// Storage is the backend, StorageCRD or StorageEtcd.
	Storage string
	// WebhookPort serves the resolution of short image names; 0 is off.
	WebhookPort int
	// ResolvConf is the resolver configuration that tells the cluster's domain. It has no flag: in a
	// Pod it is where kubelet writes it.
	ResolvConf string
	// ImportCADir holds the certificate authorities of other registries, each in a file named after the
	// host it is for.
	ImportCADir string
	// Compression says whether objects are written compressed.
	Compression bool
	// Controllers say what runs beside the requests.
	Controllers *ControllerOptions

	Run            *genericoptions.ServerRunOptions
	Etcd           *genericoptions.EtcdOptions
	SecureServing  *genericoptions.SecureServingOptionsWithLoopback
	Authentication *genericoptions.DelegatingAuthenticationOptions
	Authorization  *genericoptions.DelegatingAuthorizationOptions
	Audit          *genericoptions.AuditOptions
	Features       *genericoptions.FeatureOptions
	CoreAPI        *genericoptions.CoreAPIOptions
	Admission      *genericoptions.AdmissionOptions
	EgressSelector *genericoptions.EgressSelectorOptions
	Traces         *genericoptions.TracingOptions
}

// NewOptions returns the defaults.
func NewOptions() *Options {
	registry := utilcompatibility.DefaultComponentGlobalsRegistry
	registry.ComponentGlobalsOrRegister(basecompatibility.DefaultKubeComponent,
		utilcompatibility.DefaultBuildEffectiveVersion(), utilfeature.DefaultMutableFeatureGate)

	run := genericoptions.NewServerRunOptionsForComponent(basecompatibility.DefaultKubeComponent, registry)
	run.MaxRequestsInFlight, run.MaxMutatingRequestsInFlight = 800, 400
	run.RequestTimeout, run.MinRequestTimeout = 60*time.Second, 1800
	run.ShutdownDelayDuration, run.ShutdownSendRetryAfter = 20*time.Second, true
	run.MaxRequestBodyBytes = maxRequestBody

	serving := genericoptions.NewSecureServingOptions()
	serving.BindPort = 8443
	// All clients arrive through the few connections of the aggregator.
	serving.HTTP2MaxStreamsPerConnection = 1000
	serving.ServerCert.CertKey = genericoptions.CertKey{CertFile: servingCertFile, KeyFile: servingKeyFile}

	etcd := genericoptions.NewEtcdOptions(storagebackend.NewDefaultConfig(etcdPrefix, nil))
	etcd.WatchCacheSizes = storage.WatchCacheSizes()
	// The library would let liveness depend on etcd; health.go adds the checks to readiness only.
	etcd.SkipHealthEndpoints = true

	return &Options{
		ConfigFile: defaultConfigFile, Storage: StorageCRD, Compression: true, ResolvConf: resolvConfFile,
		ImportCADir: importCADir,
		Controllers: newControllerOptions(), WebhookPort: 9443,
		Run: run, Etcd: etcd, SecureServing: serving.WithLoopback(),
		Authentication: genericoptions.NewDelegatingAuthenticationOptions(),
		Authorization:  genericoptions.NewDelegatingAuthorizationOptions(),
		Audit:          genericoptions.NewAuditOptions(),
		Features:       genericoptions.NewFeatureOptions(),
		CoreAPI:        genericoptions.NewCoreAPIOptions(),
		Admission:      newAdmissionOptions(),
		EgressSelector: genericoptions.NewEgressSelectorOptions(),
		Traces:         genericoptions.NewTracingOptions(),
	}
}

// AddFlags adds all flags but those of logging.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.ConfigFile, "config", o.ConfigFile, "File with the ImageAPIServerConfig; read again when it changes.")
	flags.StringVar(&o.Storage, "image-storage", o.Storage, "Where images and image streams are stored: crd (hidden custom resources in the cluster) or etcd (--etcd-servers).")
	flags.IntVar(&o.WebhookPort, "webhook-port", o.WebhookPort, "Port of the admission webhook that resolves short image names to image streams; 0 serves none.")
	flags.BoolVar(&o.Compression, "storage-compression", o.Compression, "Write objects compressed. Both forms can always be read.")
	flags.StringVar(&o.ImportCADir, "import-ca-dir", o.ImportCADir, "Directory with certificate authorities of registries that images are imported from, a file <host> or <host>..<port> for each; read again when it changes.")
	o.Controllers.addFlags(flags)
	o.Run.AddUniversalFlags(flags)
	o.Etcd.AddFlags(flags)
	o.SecureServing.AddFlags(flags)
	o.Authentication.AddFlags(flags)
	o.Authorization.AddFlags(flags)
	o.Audit.AddFlags(flags)
	o.Features.AddFlags(flags)
	o.CoreAPI.AddFlags(flags)
	o.Admission.AddFlags(flags)
	o.EgressSelector.AddFlags(flags)
	o.Traces.AddFlags(flags)
}

// Complete fills in what depends on other options: --kubeconfig serves for authentication and
// authorization too, unless they have their own.
func (o *Options) Complete() {
	if o.Authentication.RemoteKubeConfigFile == "" {
		o.Authentication.RemoteKubeConfigFile = o.CoreAPI.CoreAPIKubeconfigPath
	}
	if o.Authorization.RemoteKubeConfigFile == "" {
		o.Authorization.RemoteKubeConfigFile = o.CoreAPI.CoreAPIKubeconfigPath
	}
}

// Validate returns everything that is wrong with the options.
func (o *Options) Validate() error {
	var problems []error
	switch o.Storage {
	case StorageCRD:
		if len(o.Etcd.StorageConfig.Transport.ServerList) > 0 {
			problems = append(problems, errors.New("--etcd-servers needs --image-storage=etcd"))
		}
	case StorageEtcd:
		problems = append(problems, o.Etcd.Validate()...)
	default:
		problems = append(problems, fmt.Errorf("--image-storage=%q is neither %s nor %s", o.Storage, StorageCRD, StorageEtcd))
	}
	if o.ConfigFile == "" {
		problems = append(problems, errors.New("--config must name a file"))
	}
	if o.WebhookPort < 0 || o.WebhookPort > 65535 {
		problems = append(problems, fmt.Errorf("--webhook-port=%d is not a port, nor 0", o.WebhookPort))
	}
	for _, part := range [][]error{
		o.Controllers.validate(), o.Run.Validate(), o.SecureServing.Validate(), o.Authentication.Validate(), o.Authorization.Validate(),
		o.Audit.Validate(), o.Features.Validate(), o.CoreAPI.Validate(), o.Admission.Validate(),
		o.EgressSelector.Validate(), o.Traces.Validate(),
	} {
		problems = append(problems, part...)
	}
	return utilerrors.NewAggregate(problems)
}
