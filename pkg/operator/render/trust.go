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

// maxCertificates bounds ConfigMap image-registry-certificates, a little below what a ConfigMap may hold.
const maxCertificates = 1<<20 - 16<<10

// Certificates is the content of ConfigMap image-registry-certificates, and the keys of the user's ConfigMap
// that were left out, each with its reason. What is trusted for the own hosts comes first: it has to reach the
// nodes whatever users add, and it is kept as it is published while the trust bundle is missing.
func Certificates(in Inputs, now time.Time) (map[string]string, []string, error) {
	users, skipped := in.usersCertificates(now)
	data, err := in.ownCertificates(users, in.redirectBundle())
	if err != nil {
		return nil, skipped, err
	}
	if sizeOf(data) > maxCertificates {
		skipped = append(skipped, "the CA of the store is too large to be published for the hosts of the registry as well; leave only what is needed in the ConfigMap of spec.storage.s3.trustedCA")
		if data, err = in.ownCertificates(users, ""); err != nil {
			return nil, skipped, err
		}
	}
	size := sizeOf(data)
	for _, key := range sortedKeys(users) {
		if _, own := data[key]; own {
			continue
		}
		if size += len(users[key]); size > maxCertificates {
			size -= len(users[key])
			skipped = append(skipped, fmt.Sprintf("certificate key %q: all certificates together are larger than %d KiB", key, maxCertificates>>10))
			continue
		}
		data[key] = users[key]
	}
	return data, skipped, nil
}

func sizeOf(data map[string]string) int {
	size := 0
	for _, value := range data {
		size += len(value)
	}
	return size
}

// UnusableCertificates says of each key of spec.additionalTrustedCA that is left out why, in the order of the keys.
func UnusableCertificates(in Inputs, now time.Time) []string {
	_, skipped := in.usersCertificates(now)
	return skipped
}

// usersCertificates are the sound keys of spec.additionalTrustedCA. While its ConfigMap does not exist, what was
// published of it stays: a ConfigMap that is replaced must not take the trust of every node away for a moment.
func (in Inputs) usersCertificates(now time.Time) (sound map[string]string, skipped []string) {
	sound = map[string]string{}
	data := in.AdditionalCA
	if in.AdditionalCAMissing {
		data = maps.Clone(in.Published)
		delete(data, registryv1.KeyStorageCABundle)
		for _, host := range in.registries() {
			if key, err := hostcerts.Key(host); err == nil {
				delete(data, key)
			}
		}
		for _, route := range in.Routes {
			key, err := hostcerts.Key(route.Host)
			if err != nil || !route.Issued() {
				continue
			}
			users, _ := strings.CutPrefix(data[key], in.Bundle+in.redirectBundle())
			if delete(data, key); users != "" && users != in.Published[key] {
				data[key] = users
			}
		}
	}
	for _, key := range sortedKeys(data) {
		if key == registryv1.KeyStorageCABundle {
			skipped = append(skipped, fmt.Sprintf("certificate key %q is the operator's own; name the CA of the store in spec.storage.s3.trustedCA", key))
			continue
		}
		if _, err := hostcerts.ParseKey(key); err != nil {
			skipped = append(skipped, err.Error())
			continue
		}
		if _, err := hostcerts.Normalise([]byte(data[key]), now); err != nil {
			skipped = append(skipped, fmt.Sprintf("certificate key %q: %v", key, err))
			continue
		}
		sound[key] = data[key]
	}
	return sound, skipped
}

// ownCertificates are those of the store, of the registry's hosts, and of the hosts of routes whose certificates
// the operator issues. What the user trusts for such a route, as the CA of a proxy in front of the controller,
// stays beside it.
func (in Inputs) ownCertificates(users map[string]string, redirect string) (map[string]string, error) {
	data := map[string]string{}
	if in.StorageBundle != "" {
		data[registryv1.KeyStorageCABundle] = in.StorageBundle
	}
	set := func(key, users string) {
		if in.Bundle != "" {
			data[key] = in.Bundle + redirect + users
		} else if kept := in.Published[key]; kept != "" {
			data[key] = kept
		}
	}
	for _, host := range in.registries() {
		key, err := hostcerts.Key(host)
		if err != nil {
			return nil, fmt.Errorf("certificate key of %s: %w", host, err)
		}
		set(key, "")
	}
	for _, route := range in.Routes {
		if !route.Issued() {
			continue
		}
		key, err := hostcerts.Key(route.Host)
		if err != nil {
			return nil, fmt.Errorf("certificate key of route %s: %w", route.Name, err)
		}
		extra := users[key]
		if len(extra) > maxCertificates/4 {
			extra = "" // the own hosts would not fit beside it
		}
		set(key, extra)
	}
	return data, nil
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

// PublicConfigMap lets every authenticated user find the registry. It is nil while the trust bundle is missing:
// what is published stays.
func PublicConfigMap(in Inputs) (*unstructured.Unstructured, error) {
	if in.Bundle == "" {
		return nil, nil
	}
	return in.configMap(registryv1.ConfigMapPublic, "access", map[string]string{
		"internalRegistryHostname":  in.InternalHost(),
		"externalRegistryHostnames": strings.Join(in.ExternalHosts, "\n"),
		"ca.crt":                    in.Bundle,
	})
}
