package render

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

const (
	storageCAPath = "/var/run/configmaps/storage-ca"
	trustedCAPath = "/var/run/configmaps/trusted-ca"
)

// storageVariables are the beginnings of the variables of the registry that matter to its storage. Redirects
// are for clients.
var storageVariables = []string{"REGISTRY_STORAGE", "AWS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_DIR"}

const redirectVariables = "REGISTRY_STORAGE_REDIRECT_"

// StorageRequest is what the Pods of the registry would get of an object store.
func StorageRequest(in Inputs) (preflight.Request, error) {
	env, err := RegistryEnv(in)
	if err != nil {
		return preflight.Request{}, err
	}
	private, err := PrivateData(in)
	if err != nil {
		return preflight.Request{}, err
	}
	request := preflight.Request{Ambient: in.Storage.Object.Ambient, Files: map[string][]byte{}}
	for _, variable := range env {
		if !ofStorage(variable.Name) {
			continue
		}
		if source := variable.ValueFrom; source != nil && source.SecretKeyRef != nil {
			variable = corev1.EnvVar{Name: variable.Name, Value: string(private[source.SecretKeyRef.Key])}
		}
		request.Env = append(request.Env, variable)
	}
	for _, key := range []string{storage.KeyCredentials, storage.KeyGCSFile} {
		if content := private[key]; len(content) > 0 {
			request.Files[storage.CloudPath+"/"+key] = content
		}
	}
	if bundle := in.Storage.Object.Bundle; bundle != "" {
		request.Files[storageCAPath+"/"+registryv1.KeyStorageCABundle] = []byte(bundle)
	}
	if bundle := in.TrustedCA[registryv1.KeyTrustedCA]; bundle != "" {
		request.Files[trustedCAPath+"/"+registryv1.KeyTrustedCA] = []byte(bundle)
	}
	request.Secrets = secretsOf(request)
	request.Seal(in.HTTPSecret)
	return request, nil
}

func ofStorage(name string) bool {
	return !strings.HasPrefix(name, redirectVariables) &&
		slices.ContainsFunc(storageVariables, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// secretsOf are all texts of a request that prove something: the values of files of credentials, the texts of
// keys in JSON, and passwords of proxies. The longest comes first, so that no part of it is left over.
func secretsOf(request preflight.Request) []string {
	found := map[string]bool{}
	for _, line := range strings.Split(string(request.Files[storage.CloudPath+"/"+storage.KeyCredentials]), "\n") {
		if _, value, assigned := strings.Cut(line, "="); assigned {
			value = strings.TrimSpace(value)
			found[value], found[strings.Trim(value, "\"'")] = true, true
		}
	}
	var key map[string]any
	if yaml.Unmarshal(request.Files[storage.CloudPath+"/"+storage.KeyGCSFile], &key) == nil {
		for _, name := range []string{"private_key", "private_key_id", "client_secret", "refresh_token"} {
			if text, ok := key[name].(string); ok {
				found[text] = true
			}
		}
	}
	for _, variable := range request.Env {
		switch variable.Name {
		case storage.KeyAzureAccount:
			found[variable.Value] = true
			var text string
			if yaml.Unmarshal([]byte(variable.Value), &text) == nil {
				found[text] = true
			}
		case "HTTP_PROXY", "HTTPS_PROXY":
			found[passwordOf(variable.Value)] = true
		}
	}
	delete(found, "")
	return slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
}

// passwordOf is the password in the address of a proxy.
func passwordOf(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	proxy, err := url.Parse(address)
	if err != nil {
		return address // whoever cannot read it may show all of it
	}
	password, _ := proxy.User.Password()
	return password
}
