package server

import (
	"os"
	"path/filepath"
	"testing"

	"image.alauda.io/registry/pkg/imageapiserver/serverconfig"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHostsHaveTheDomainOfTheCluster(t *testing.T) {
	source, err := serverconfig.NewSource(writeFile(t, "config.yaml", `apiVersion: config.image.alauda.io/v1
kind: ImageAPIServerConfig
internalRegistryHostname: image-registry.image-registry-system.svc:5000
externalRegistryHostnames: [registry.example.test]
`))
	if err != nil {
		t.Fatal(err)
	}
	for resolvConf, domain := range map[string]string{
		writeFile(t, "resolv.conf", "search image-registry-system.svc.cluster.test svc.cluster.test cluster.test\n"): "cluster.test",
		filepath.Join(t.TempDir(), "missing"): "cluster.local",
	} {
		names := hosts(source, clusterDomain(resolvConf))()
		for _, host := range []string{
			"image-registry.image-registry-system.svc:5000", "registry.example.test",
			"image-registry.image-registry-system.svc." + domain + ":5000",
		} {
			if !names.Owns(host) {
				t.Errorf("domain %s: %s is not a name of the registry %+v", domain, host, names)
			}
		}
		if names.Owns("image-registry.image-registry-system.svc.other.test:5000") {
			t.Errorf("domain %s: another domain is a name of the registry", domain)
		}
	}
}
