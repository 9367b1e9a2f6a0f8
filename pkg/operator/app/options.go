package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/leader"
	"image.alauda.io/registry/pkg/operator/certificates"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/pkg/version"
)

const (
	defaultPriorityClass = "system-cluster-critical"
	defaultMonitoring    = "cpaas-system/prometheus-sa"
	resolverFile         = "/etc/resolv.conf"
)

// Options are what the process is started with.
type Options struct {
	Kubeconfig     string
	MetricsAddress string
	HealthAddress  string
	LeaderElect    bool
	// Identity tells the holders of the lease apart.
	Identity string
	// Lease has no flags: the defaults suit every cluster.
	Lease    leader.Times
	Settings render.Settings
	// Certificates are the lifetimes of what the operator issues.
	Certificates certificates.Lifetimes
	// StorageCheck is how storage is tested; what is not set has its default.
	StorageCheck StorageCheckOptions
}

// StorageCheckOptions have no flags.
type StorageCheckOptions struct {
	// Command is the program with its first arguments; empty is this program.
	Command []string
	// Deadline bounds a test, List is the time between two looks at the root of the storage.
	Deadline, List time.Duration
}

// DefaultOptions are the documented defaults of the flags.
func DefaultOptions() Options {
	return Options{MetricsAddress: ":60000", HealthAddress: ":8081", LeaderElect: true, Lease: defaultLeaseTimes(), Certificates: certificates.DefaultLifetimes()}
}

// AddFlags defines the flags.
func (o *Options) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig, "kubeconfig file; empty means the service account of the Pod")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, "address of the HTTPS metrics")
	flags.StringVar(&o.HealthAddress, "health-probe-bind-address", o.HealthAddress, "address of /healthz and /readyz, plain HTTP")
	flags.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect, "work only while holding the lease cluster-image-registry-operator")
	flags.DurationVar(&o.Certificates.Leaf, "certificate-lifetime", o.Certificates.Leaf,
		"life of a serving certificate, renewed when a third is left; at least "+certificates.MinLeaf.String())
	flags.DurationVar(&o.Certificates.CA, "ca-lifetime", o.Certificates.CA,
		"life of the CA, replaced when a fifth is left; at least twice the life of a certificate and ten times --ca-promote-after")
	flags.DurationVar(&o.Certificates.Promote, "ca-promote-after", o.Certificates.Promote,
		"how long a new CA is published before it signs, so that every client knows it; at least "+certificates.MinPromote.String())
}

// ReadEnvironment completes the options from variables. A missing image is an error that names its variable.
func (o *Options) ReadEnvironment(env func(string) (string, bool), readFile func(string) ([]byte, error)) error {
	get := func(name, otherwise string) string {
		if value, set := env(name); set && value != "" {
			return value
		}
		return otherwise
	}
	var errs []error
	required := func(name string) string {
		value := get(name, "")
		if value == "" {
			errs = append(errs, fmt.Errorf("environment variable %s is required", name))
		}
		return value
	}
	required("OPERATOR_IMAGE")
	o.Settings.Images = render.Images{
		Registry:  required("RELATED_IMAGE_REGISTRY"),
		APIServer: required("RELATED_IMAGE_API_SERVER"),
		NodeCA:    required("RELATED_IMAGE_NODE_CA"),
		Pruner:    required("RELATED_IMAGE_PRUNER"),
	}
	o.Settings.Namespace = get("POD_NAMESPACE", registryv1.DefaultNamespace)
	o.Settings.Version = get("RELEASE_VERSION", version.Get().Version)
	o.Settings.PriorityClass = defaultPriorityClass
	if value, set := env("OPERAND_PRIORITY_CLASS"); set {
		o.Settings.PriorityClass = value
	}
	o.Settings.Proxy = registryv1.ProxySpec{HTTP: get("HTTP_PROXY", ""), HTTPS: get("HTTPS_PROXY", ""), NoProxy: get("NO_PROXY", "")}
	o.Settings.ClusterDomain = clusterDomain(get("CLUSTER_DOMAIN", ""), readFile)
	o.Settings.IngressDomain = get("INGRESS_DOMAIN", "")
	o.Identity = get("POD_NAME", hostname())

	var err error
	if o.Settings.Monitoring, err = monitoring(env); err != nil {
		errs = append(errs, fmt.Errorf("environment variable MONITORING_SERVICE_ACCOUNTS: %w", err))
	}
	if o.Settings.RunbookURL, err = render.ParseRunbookURL(get("RUNBOOK_URL", "")); err != nil {
		errs = append(errs, fmt.Errorf("environment variable RUNBOOK_URL: %w", err))
	}
	return errors.Join(errs...)
}

func monitoring(env func(string) (string, bool)) ([]types.NamespacedName, error) {
	list, set := env("MONITORING_SERVICE_ACCOUNTS")
	if !set {
		list = defaultMonitoring
	}
	return render.ParseMonitoring(list)
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return registryv1.OperatorName
	}
	return name
}

// clusterDomain is the given one, else the "svc.<domain>" search entry of the resolver, else cluster.local.
func clusterDomain(given string, readFile func(string) ([]byte, error)) string {
	if given != "" {
		return given
	}
	data, err := readFile(resolverFile)
	if err != nil {
		return registryv1.DefaultClusterDomain
	}
	for _, line := range strings.Split(string(data), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "search" {
			continue
		}
		for _, entry := range fields[1:] {
			if domain, ok := strings.CutPrefix(entry, "svc."); ok && domain != "" {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return registryv1.DefaultClusterDomain
}

// Validate checks the flags.
func (o Options) Validate() error {
	for _, flag := range []struct{ name, address string }{
		{"--metrics-bind-address", o.MetricsAddress}, {"--health-probe-bind-address", o.HealthAddress},
	} {
		if _, _, err := net.SplitHostPort(flag.address); err != nil {
			return fmt.Errorf("%s: %w", flag.name, err)
		}
	}
	if err := o.Certificates.ValidateMinimums(); err != nil {
		return fmt.Errorf("--certificate-lifetime, --ca-lifetime, --ca-promote-after: %w", err)
	}
	return nil
}
