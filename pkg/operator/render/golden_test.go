package render

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/apply"
	"image.alauda.io/registry/pkg/operator/imagestorage"
	"image.alauda.io/registry/pkg/operator/storage"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func settings(t testing.TB) Settings {
	t.Helper()
	accounts, err := ParseMonitoring("cpaas-system/prometheus-sa")
	if err != nil {
		t.Fatal(err)
	}
	return Settings{
		Namespace: "image-registry-system", ClusterDomain: "cluster.local", Version: "v1.2.3",
		PriorityClass: "system-cluster-critical", Monitoring: accounts,
		Images: Images{Registry: "example.com/r:1", APIServer: "example.com/a:1", NodeCA: "example.com/n:1", Pruner: "example.com/p:1"},
	}
}

func inputs(t testing.TB, change func(*registryv1.Config)) Inputs {
	t.Helper()
	config := &registryv1.Config{Spec: registryv1.ConfigSpec{
		ManagementState: registryv1.Managed,
		Storage:         registryv1.StorageSpec{EmptyDir: &registryv1.EmptyDirStorage{}},
	}}
	config.Name = registryv1.SingletonName
	if change != nil {
		change(config)
	}
	plan, err := storage.Decide(config, storage.Facts{HasDefaultClass: true})
	if err != nil {
		t.Fatal(err)
	}
	return Inputs{
		Settings: settings(t), Config: config, Storage: plan, ImageStorage: imagestorage.InCluster(), HTTPSecret: "0badc0de", Bundle: "BUNDLE\n",
		ClusterIPs: []string{"fd00::1", "198.18.0.7"}, Runtimes: []string{"containerd://2.4.2"},
	}
}

// Everything that the operator applies for a plain registry, as it is applied.
func TestRenderedObjectsMatchGoldenFiles(t *testing.T) {
	in := inputs(t, nil)
	one := func(object *unstructured.Unstructured, err error) []*unstructured.Unstructured {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return []*unstructured.Unstructured{object}
	}
	many := func(objects []*unstructured.Unstructured, err error) []*unstructured.Unstructured {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	certificates, skipped, err := Certificates(in, time.Unix(0, 0))
	if err != nil || len(skipped) > 0 {
		t.Fatalf("certificates: %v, skipped %v", err, skipped)
	}
	_, guards, err := APIServerStorage(in.Settings)
	if err != nil {
		t.Fatal(err)
	}
	pvc := inputs(t, func(config *registryv1.Config) { config.Spec.Storage = registryv1.StorageSpec{} })
	pruner := &registryv1.ImagePruner{}
	etcd := inputs(t, func(config *registryv1.Config) { config.Spec.Proxy.HTTPS = "http://proxy.test:3128" })
	etcd.ImageStorage = imagestorage.Plan{Place: "Etcd/https://etcd-0.example.com:2379" + imagestorage.DefaultPrefix, Etcd: &imagestorage.Etcd{
		Servers: []string{"https://etcd-0.example.com:2379", "https://198.18.0.9:2379"}, Prefix: imagestorage.DefaultPrefix, SecretName: "etcd",
		Secret: map[string][]byte{"ca.crt": []byte("c"), "tls.crt": []byte("t"), "tls.key": []byte("k")},
	}}
	for name, objects := range map[string][]*unstructured.Unstructured{
		"registry-deployment":       one(RegistryDeployment(in)),
		"registry-deployment-pvc":   one(RegistryDeployment(pvc)),
		"registry-claim":            one(Claim(pvc)),
		"registry-budget":           one(RegistryBudget(in)),
		"network-policies":          many(Policies(in.Settings)),
		"registry-private":          one(PrivateConfiguration(in)),
		"apiserver-deployment":      one(APIServerDeployment(in)),
		"apiserver-deployment-etcd": one(APIServerDeployment(etcd)),
		"apiserver-config":          one(APIServerConfig(in)),
		"apiserver-guards":          guards,
		"apiservice":                one(APIService(in.Settings, in.Bundle)),
		"lookup-webhook":            one(LookupWebhook(in.Settings, in.Bundle)),
		"node-ca":                   one(NodeCADaemonSet(in.Settings, NodeModeSync)),
		"node-ca-config":            one(NodeConfigMap(in, certificates)),
		"certificates":              one(CertificatesConfigMap(in.Settings, certificates)),
		"public":                    one(PublicConfigMap(in)),
		"access":                    many(Access(in.Settings)),
		"services":                  many(Services(in.Settings)),
		"pruner-cronjob":            one(PruneCronJob(in.Settings, pruner, false)),
		"pruner-access":             many(PrunerAccess(in.Settings)),
	} {
		t.Run(name, func(t *testing.T) { compare(t, name, objects) })
	}
}

func compare(t *testing.T, name string, objects []*unstructured.Unstructured) {
	t.Helper()
	var got bytes.Buffer
	for _, object := range objects {
		if _, err := apply.KindOf(object.GroupVersionKind()); err != nil {
			t.Errorf("%s: %v", apply.Describe(object), err)
		}
		if object.GetLabels()[registryv1.LabelManagedBy] != registryv1.OperatorName {
			t.Errorf("%s lacks the managed-by label", apply.Describe(object))
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(text)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("%s differs from what is rendered; run the test with -update and look at the change\ngot:\n%s", file, got.String())
	}
}
