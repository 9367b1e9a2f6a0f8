package render

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/ingress"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Settings are what the operator process was started with. They do not change while it runs.
type Settings struct {
	// Namespace is where the operands live.
	Namespace string
	// ClusterDomain is the DNS suffix of the cluster, such as cluster.local.
	ClusterDomain string
	// IngressDomain is the domain of generated external host names; empty means that of the cluster.
	IngressDomain string
	// Images of the operands.
	Images Images
	// Version is written on every workload and into status.version.
	Version string
	// PriorityClass of every Pod; empty means none.
	PriorityClass string
	// Monitoring are the accounts that may scrape.
	Monitoring []types.NamespacedName
	// RunbookURL is where the pages about alerts are: a URL with {alert} for the name of the alert, or one to
	// which <alert>.md is added. Empty means the address in the rules.
	RunbookURL string
	// Proxy is used where spec.proxy says nothing.
	Proxy registryv1.ProxySpec
}

// Images are the references of the operands' images.
type Images struct{ Registry, APIServer, NodeCA, Pruner string }

// Validate names the first setting that is missing.
func (s Settings) Validate() error {
	for _, required := range []struct{ name, value string }{
		{"Namespace", s.Namespace}, {"ClusterDomain", s.ClusterDomain}, {"Version", s.Version},
		{"Images.Registry", s.Images.Registry}, {"Images.APIServer", s.Images.APIServer},
		{"Images.NodeCA", s.Images.NodeCA}, {"Images.Pruner", s.Images.Pruner},
	} {
		if required.value == "" {
			return fmt.Errorf("render: %s is required", required.name)
		}
	}
	return nil
}

// Inputs are everything that the objects of the registry depend on.
type Inputs struct {
	Settings
	Config  *registryv1.Config
	Storage storage.Plan
	OIDC    registryv1.OIDCSpec
	// ImageStorage is where the image metadata lies.
	ImageStorage imagestorage.Plan
	// StorageTested identifies the object store and the credentials that were tested; empty for volumes.
	StorageTested string
	// StorageBundle is the CA of the store as it is published, PEM; empty when there is none. While a
	// storage is not proven it is that of the one in use.
	StorageBundle string
	// HTTPSecret is the key that is in the private configuration already, as it is stored, or a new one.
	HTTPSecret string
	// UserPrivate is the data of the user's private configuration, nil when it does not exist.
	UserPrivate map[string][]byte
	// Bundle is the trust bundle in PEM.
	Bundle string
	// TrustedCA and OIDCCA are the data of ConfigMaps that the registry reads at start, nil when missing.
	TrustedCA, OIDCCA map[string]string
	// AdditionalCA is the data of the ConfigMap that spec.additionalTrustedCA names, AdditionalCAMissing says
	// that it does not exist.
	AdditionalCA        map[string]string
	AdditionalCAMissing bool
	// Published is the data of ConfigMap image-registry-certificates as it is, nil while it does not exist.
	Published map[string]string
	// ClusterIPs of Service image-registry, empty while it does not exist.
	ClusterIPs []string
	// Runtimes are the distinct container runtimes of all nodes.
	Runtimes []string
	// Zones says whether some node carries a zone label.
	Zones bool
	// Routes are the Ingresses, and ExternalHosts their hosts in the order of the status.
	Routes        []ingress.Route
	ExternalHosts []string
	// HasPullSecret says whether Secret installation-pull-secrets exists.
	HasPullSecret bool
}

// InternalHost is the address of the registry inside the cluster.
func (s Settings) InternalHost() string {
	return fmt.Sprintf("%s.%s.svc:%d", registryv1.RegistryName, s.Namespace, registryv1.RegistryPort)
}

// RegistryHosts are the host names of the registry inside the cluster without port, shortest DNS form last.
func (s Settings) serviceNames() []string {
	base := registryv1.RegistryName + "." + s.Namespace
	return []string{base + ".svc", base + ".svc." + s.ClusterDomain, base}
}

// ParseMonitoring reads a comma separated list of namespace/name.
func ParseMonitoring(list string) ([]types.NamespacedName, error) {
	var out []types.NamespacedName
	for _, entry := range strings.Split(list, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		namespace, name, ok := strings.Cut(entry, "/")
		if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
			return nil, errors.New("monitoring account " + entry + " is not namespace/name")
		}
		out = append(out, types.NamespacedName{Namespace: namespace, Name: name})
	}
	return out, nil
}
