package render

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"sort"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/operator/storage"
)

// configMap has no data field at all when there is no data: the API server drops an empty one.
func (s Settings) configMap(name, component string, data map[string]string) (*unstructured.Unstructured, error) {
	object := s.newObject("v1", "ConfigMap", name, component)
	if len(data) == 0 {
		return object, nil
	}
	if err := unstructured.SetNestedStringMap(object.Object, data, "data"); err != nil {
		return nil, fmt.Errorf("ConfigMap %s: %w", name, err)
	}
	return object, nil
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// PrivateData is the content of Secret image-registry-private-configuration: the key that signs upload state,
// and what the user's Secret sets, whose values win.
func PrivateData(in Inputs) (map[string][]byte, error) {
	data := map[string][]byte{registryv1.KeyHTTPSecret: []byte(in.HTTPSecret)}
	if in.Config.Spec.HTTPSecret != "" {
		data[registryv1.KeyHTTPSecret] = []byte(Scalar(in.Config.Spec.HTTPSecret))
	}
	for key, value := range in.UserPrivate {
		if strings.HasPrefix(key, "REGISTRY_") {
			data[key] = []byte(Scalar(string(value)))
		}
	}
	if file, there := in.UserPrivate[storage.KeyGCSFile]; there {
		data[storage.KeyGCSFile] = file // it is mounted as a file, nobody reads it as a variable
	}
	if in.Storage.Object != nil {
		maps.Copy(data, in.Storage.Object.Private)
	}
	return data, nil
}

// PrivateConfiguration is that Secret.
func PrivateConfiguration(in Inputs) (*unstructured.Unstructured, error) {
	data, err := PrivateData(in)
	if err != nil {
		return nil, err
	}
	encoded := map[string]string{}
	for key, value := range data {
		encoded[key] = base64.StdEncoding.EncodeToString(value)
	}
	secret := in.newObject("v1", "Secret", registryv1.SecretPrivateConfig, "registry")
	secret.Object["type"] = "Opaque"
	if err := unstructured.SetNestedStringMap(secret.Object, encoded, "data"); err != nil {
		return nil, fmt.Errorf("secret %s: %w", secret.GetName(), err)
	}
	return secret, nil
}

// Certificates is the content of ConfigMap image-registry-certificates, and the keys of the user's ConfigMap
// that were left out, each with its reason.
func Certificates(in Inputs, now time.Time) (map[string]string, []string, error) {
	data := map[string]string{}
	var skipped []string
	for _, key := range sortedKeys(in.AdditionalCA) {
		if key == registryv1.KeyStorageCABundle {
			skipped = append(skipped, fmt.Sprintf("certificate key %q is the operator's own; name the CA of the store in spec.storage.s3.trustedCA", key))
			continue
		}
		if _, err := hostcerts.ParseKey(key); err != nil {
			skipped = append(skipped, err.Error())
			continue
		}
		if _, err := hostcerts.Normalise([]byte(in.AdditionalCA[key]), now); err != nil {
			skipped = append(skipped, fmt.Sprintf("certificate key %q: %v", key, err))
			continue
		}
		data[key] = in.AdditionalCA[key]
	}
	if in.StorageBundle != "" {
		data[registryv1.KeyStorageCABundle] = in.StorageBundle
	}
	if in.Bundle == "" {
		return data, skipped, nil
	}
	for _, host := range in.registries() {
		key, err := hostcerts.Key(host)
		if err != nil {
			return nil, skipped, fmt.Errorf("certificate key of %s: %w", host, err)
		}
		data[key] = in.Bundle + in.redirectBundle()
	}
	if err := in.trustRoutes(data); err != nil {
		return nil, skipped, err
	}
	return data, skipped, nil
}

// trustRoutes adds the hosts whose certificates the operator issues. What the user trusts for such a host, as
// the CA of a proxy in front of the controller, stays beside it.
func (in Inputs) trustRoutes(data map[string]string) error {
	for _, route := range in.Routes {
		if !route.Issued() {
			continue
		}
		key, err := hostcerts.Key(route.Host)
		if err != nil {
			return fmt.Errorf("certificate key of route %s: %w", route.Name, err)
		}
		data[key] = in.Bundle + in.redirectBundle() + data[key]
	}
	return nil
}

// redirectBundle is the CA of the store where clients are sent to the store: they trust for the redirected
// request what they trust for the registry.
func (in Inputs) redirectBundle() string {
	if in.Config.Spec.DisableRedirect {
		return ""
	}
	return in.StorageBundle
}

// storageCA is the part of ConfigMap image-registry-certificates that the registry reads at start.
func storageCA(bundle string) map[string][]byte {
	if bundle == "" {
		return nil
	}
	return map[string][]byte{registryv1.KeyStorageCABundle: []byte(bundle)}
}

// registries are the registry's own hosts with port, sorted.
func (s Settings) registries() []string {
	names := s.serviceNames()[:2]
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprintf("%s:%d", name, registryv1.RegistryPort)
	}
	sort.Strings(out)
	return out
}

// CertificatesConfigMap is ConfigMap image-registry-certificates.
func CertificatesConfigMap(s Settings, data map[string]string) (*unstructured.Unstructured, error) {
	return s.configMap(registryv1.ConfigMapCertificates, "trust", data)
}

// nodeConfig is what the agents on the nodes read.
type nodeConfig struct {
	Version    int        `json:"version"`
	Hash       string     `json:"hash"`
	Hosts      []nodeHost `json:"hosts"`
	Registries []string   `json:"registries"`
	Runtimes   []string   `json:"runtimes,omitempty"`
}

type nodeHost struct {
	IP    string   `json:"ip"`
	Names []string `json:"names"`
}

// NodeConfigMap is ConfigMap node-ca-config for the certificates of the same sync.
func NodeConfigMap(in Inputs, certificates map[string]string) (*unstructured.Unstructured, error) {
	config := nodeConfig{Version: 1, Hash: CertificatesHash(certificates), Hosts: []nodeHost{}, Registries: in.registries(), Runtimes: in.Runtimes}
	if ip := hostIP(in.ClusterIPs); ip != "" {
		config.Hosts = append(config.Hosts, nodeHost{IP: ip, Names: in.serviceNames()})
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s: %w", registryv1.ConfigMapNodeCAConfig, err)
	}
	return in.configMap(registryv1.ConfigMapNodeCAConfig, "node-trust", map[string]string{registryv1.KeyNodeCAConfig: string(text)})
}

// hostIP is the first IPv4 address, else the first address.
func hostIP(ips []string) string {
	first := ""
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if ip.Is4() {
			return text
		}
		if first == "" {
			first = text
		}
	}
	return first
}

// PublicConfigMap lets every authenticated user find the registry.
func PublicConfigMap(in Inputs) (*unstructured.Unstructured, error) {
	return in.configMap(registryv1.ConfigMapPublic, "access", map[string]string{
		"internalRegistryHostname":  in.InternalHost(),
		"externalRegistryHostnames": strings.Join(in.ExternalHosts, "\n"),
		"ca.crt":                    in.Bundle,
	})
}
