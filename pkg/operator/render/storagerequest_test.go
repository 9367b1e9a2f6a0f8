package render

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage"
)

// Behaviours 46 and 50: a test works with what the Pods of the registry get, and knows what to keep quiet.
func TestStorageRequestIsWhatThePodsGet(t *testing.T) {
	in := Inputs{HTTPSecret: "salt", TrustedCA: map[string]string{"ca-bundle.crt": "trusted"}}
	in.Config = &registryv1.Config{Spec: registryv1.ConfigSpec{Proxy: registryv1.ProxySpec{HTTPS: "http://me:proxy-word@proxy:1"}}}
	in.Storage = storage.Plan{
		Env: []corev1.EnvVar{{Name: "REGISTRY_STORAGE", Value: "s3"}, {Name: storage.KeyAzureAccount, ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{Key: storage.KeyAzureAccount}}}},
		Object: &storage.ObjectStore{Bundle: "bundle", Private: map[string][]byte{
			storage.KeyCredentials:  []byte("[default]\naws_access_key_id = AKIA1\naws_secret_access_key = the=secret\n"),
			storage.KeyAzureAccount: []byte(`"0123456"`),
		}},
	}
	request, err := StorageRequest(in)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, variable := range request.Env {
		names[variable.Name] = variable.Value
	}
	for name, want := range map[string]string{"REGISTRY_STORAGE": "s3", storage.KeyAzureAccount: `"0123456"`, "HTTPS_PROXY": "http://me:proxy-word@proxy:1"} {
		if names[name] != want {
			t.Errorf("%s is %q, want %q", name, names[name], want)
		}
	}
	if _, there := names["REGISTRY_HTTP_SECRET"]; there || names["SSL_CERT_DIR"] == "" {
		t.Errorf("variables %v", names)
	}
	for path, want := range map[string]string{
		"/var/run/configmaps/storage-ca/storage-ca-bundle.pem": "bundle", "/var/run/configmaps/trusted-ca/ca-bundle.crt": "trusted",
	} {
		if string(request.Files[path]) != want {
			t.Errorf("%s is %q", path, request.Files[path])
		}
	}
	for _, secret := range []string{"AKIA1", "the=secret", "0123456", "proxy-word"} {
		if !strings.Contains(" "+strings.Join(request.Secrets, " ")+" ", " "+secret+" ") {
			t.Errorf("%q is not kept quiet: %q", secret, request.Secrets)
		}
	}
	before := request.Key
	in.Config.Spec.DisableRedirect = true
	if request, err = StorageRequest(in); err != nil || request.Key != before {
		t.Error("redirects, which are for clients, need a new test")
	}
	in.Config.Spec.ReadOnly = true
	if request, err = StorageRequest(in); err != nil || request.Key == before {
		t.Error("to write is tested no more once it was tested read-only")
	}
}

// Behaviour 46: the CA of the store is for the registry, and for clients where they are sent to the store.
func TestTheCAOfTheStoreIsPublished(t *testing.T) {
	in := Inputs{Settings: Settings{Namespace: "ns", ClusterDomain: "cluster.local"}, Config: &registryv1.Config{}, Bundle: "own\n", StorageBundle: "store\n",
		AdditionalCA: map[string]string{registryv1.KeyStorageCABundle: "smuggled"}}
	const host = "image-registry.ns.svc..5000"
	for disabled, want := range map[bool]string{false: "own\nstore\n", true: "own\n"} {
		in.Config.Spec.DisableRedirect = disabled
		data, skipped, err := Certificates(in, time.Unix(1700000000, 0))
		if err != nil || data[host] != want || data[registryv1.KeyStorageCABundle] != "store\n" || len(skipped) != 1 {
			t.Errorf("redirects disabled %t: %v %q %v", disabled, data, skipped, err)
		}
	}
}
