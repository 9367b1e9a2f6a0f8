//go:build component

package operator

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

// Every setting that the schema lets pass and the cluster or the servers would not take is named by its field, both
// Deployments stay as they are, and taking it back heals. The schema's own refusals are in test/crd.
func TestBadSettingsLeaveTheLastGoodState(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.waitFor(registryv1.ConditionRemoved, registryv1.ConditionTrue, registryv1.ReasonRemoved)
	c.edit(onEmptyDir)
	for _, ref := range dataPlane() {
		c.exists(ref)
	}
	hollow := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hollow"}, Data: map[string]string{"ca-bundle.crt": "hidden"}}
	if _, err := c.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), hollow, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.settle()
	deployments := inNS("Deployment", registryv1.RegistryName, registryv1.ImageAPIName)
	generations := func() string {
		return fmt.Sprint(c.get(deployments[0]).GetGeneration(), c.get(deployments[1]).GetGeneration())
	}
	before := generations()
	patch := func(spec string) error {
		_, err := c.dynamic.Resource(configs).Patch(t.Context(), registryv1.SingletonName, types.MergePatchType, []byte(`{"spec":`+spec+`}`), metav1.PatchOptions{})
		return err
	}
	const toleration = `{"key":"k","operator":"Foo"}`
	for _, test := range []struct{ spec, undo, says string }{
		{`{"resources":{"requests":{"memory":"2Gi"},"limits":{"memory":"1Gi"}}}`, `{"resources":null}`, "correct spec.resources of Config cluster"},
		{`{"resources":{"requests":{"memory":"-1"}}}`, `{"resources":null}`, "correct spec.resources of Config cluster"},
		{`{"tolerations":[` + strings.Repeat(toleration+",", 999) + toleration + `]}`, `{"tolerations":null}`, "and 997 more; correct spec.tolerations of Config cluster"},
		{`{"nodeSelector":{"bad key!":"x"}}`, `{"nodeSelector":null}`, "correct spec.nodeSelector of Config cluster"},
		{`{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]}}}}`, `{"affinity":null}`, "correct spec.affinity of Config cluster"},
		{`{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"","whenUnsatisfiable":"X"}]}`, `{"topologySpreadConstraints":null}`, "correct spec.topologySpreadConstraints of Config cluster"},
		{`{"imageAPI":{"tolerations":[` + toleration + `]}}`, `{"imageAPI":{"tolerations":null}}`, "correct spec.imageAPI.tolerations of Config cluster"},
		{`{"imageAPI":{"config":{"imageImport":{"deniedCIDRs":["nope"]}}}}`, `{"imageAPI":{"config":null}}`, "imageImport.deniedCIDRs[0]"},
		{`{"imageAPI":{"config":{"unknown":{"a":1}}}}`, `{"imageAPI":{"config":null}}`, "spec.imageAPI.config"},
		{`{"imageAPI":{"allowedRegistriesForImport":[{"domainName":"https://x y"}]}}`, `{"imageAPI":{"allowedRegistriesForImport":null}}`, "allowedRegistriesForImport[0].domainName"},
		{`{"proxy":{"http":"http://user:hid den@proxy:1"}}`, `{"proxy":null}`, "spec.proxy.http of Config cluster"},
		{`{"unsupportedConfigOverrides":{"deployment":{"annotations":{"bad key!":"x"}}}}`, `{"unsupportedConfigOverrides":null}`, "correct spec.unsupportedConfigOverrides.deployment.annotations of Config cluster"},
		{`{"auth":{"oidc":{"issuerURL":"https://u:hid den@x","clientID":"c"}}}`, `{"auth":null}`, "spec.auth.oidc.issuerURL of Config cluster"},
		{`{"storage":{"emptyDir":{"sizeLimit":"-1"}}}`, `{"storage":{"emptyDir":{"sizeLimit":null}}}`, "correct spec.storage.emptyDir of Config cluster"},
		{`{"storage":{"emptyDir":{"sizeLimit":"10"}}}`, `{"storage":{"emptyDir":{"sizeLimit":null}}}`, "spec.storage.emptyDir.sizeLimit is 10"},
		{`{"storage":{"emptyDir":null,"managementState":"Managed","pvc":{"claim":"a","size":"100"}}}`, `{"storage":{"emptyDir":{},"pvc":null}}`, "spec.storage.pvc.size is 100"},
		{`{"resources":{"limits":{"memory":"512m"}}}`, `{"resources":null}`, "spec.resources.limits.memory of Config cluster is 512m"},
		{`{"imageAPI":{"resources":{"limits":{"memory":"512"}}}}`, `{"imageAPI":{"resources":null}}`, "spec.imageAPI.resources.limits.memory of Config cluster is 512"},
		{`{"auth":{"oidc":{"issuerURL":"https://x.test","clientID":"c","caConfigMap":"absent"}}}`, `{"auth":null}`, "spec.auth.oidc.caConfigMap of Config cluster names ConfigMap absent"},
		{`{"auth":{"oidc":{"issuerURL":"https://x.test","clientID":"c","caConfigMap":"hollow"}}}`, `{"auth":null}`, "which lacks key ca.crt"},
		{`{"additionalTrustedCA":{"name":"absent"}}`, `{"additionalTrustedCA":null}`, "spec.additionalTrustedCA.name: ConfigMap absent does not exist"},
		{`{"additionalTrustedCA":{"name":"hollow"}}`, `{"additionalTrustedCA":null}`, "ConfigMap hollow in namespace " + ns + " has keys without effect"},
		{`{"additionalTrustedCA":{"name":"image-registry-certificates"}}`, `{"additionalTrustedCA":null}`, "which the operator itself writes"},
		{`{"imageAPI":{"storage":{"type":"Etcd","etcd":{"endpoints":["https://etcd.test:65536"],"secretName":"hollow"}}}}`, `{"imageAPI":{"storage":{"type":"CRD","etcd":null}}}`, "spec.imageAPI.storage.etcd.endpoints of Config cluster holds a port"},
		{`{"imageAPI":{"storage":{"type":"Etcd","etcd":{"endpoints":["https://etcd.test"],"secretName":"absent"}}}}`, `{"imageAPI":{"storage":{"type":"CRD","etcd":null}}}`, "names Secret absent in namespace " + ns},
		{`{"storage":{"emptyDir":null,"managementState":"Managed","pvc":{"claim":"a","size":"-1"}}}`, `{"storage":{"emptyDir":{},"pvc":null}}`, "correct spec.storage.pvc.size of Config cluster"},
		{`{"storage":{"emptyDir":null,"s3":{"bucket":"b","regionEndpoint":"https://u:hidden@minio:9000"}}}`, `{"storage":{"emptyDir":{},"s3":null}}`, "spec.storage.s3.regionEndpoint"},
	} {
		short := fmt.Sprintf("%.120s", test.spec)
		if err := patch(test.spec); err != nil {
			t.Errorf("%s: %v, want it named by the operator", short, err)
			continue
		}
		c.eventually(short+" is named", func() (bool, string) {
			got := conditionOf(c.config(), registryv1.ConditionDegraded)
			return got.Status == registryv1.ConditionTrue && strings.Contains(got.Message, test.says), summary(c.config())
		})
		for _, condition := range c.config().Status.Conditions {
			if strings.Contains(condition.Message, "hid") || len(condition.Message) > 10<<10 {
				t.Errorf("%s: condition %s tells a secret, or too much: %.300s", short, condition.Type, condition.Message)
			}
		}
		if now := generations(); now != before {
			t.Errorf("%s: the Deployments changed (generations %s, before %s)", short, now, before)
			before = now
		}
		if err := patch(test.undo); err != nil {
			t.Fatalf("%s: %v", test.undo, err)
		}
		c.eventually(short+" is taken back", func() (bool, string) {
			config := c.config()
			return conditionOf(config, registryv1.ConditionDegraded).Status == registryv1.ConditionFalse && config.Status.ObservedGeneration == config.Generation, summary(config)
		})
	}
	for _, spec := range []string{
		`{"routes":[{"name":"a","hostname":"*.example.com"}]}`, `{"routes":[{"name":"a","hostname":"example.com."}]}`,
		`{"routes":[{"name":"a","hostname":"` + strings.Repeat("a.", 127) + `com"}]}`, `{"unsupportedConfigOverrides":[1]}`,
		`{"storage":{"emptyDir":null,"pvc":{"claim":"Bad_Name"}}}`, `{"storage":{"emptyDir":null,"pvc":{"accessModes":["Some"]}}}`,
		`{"replicas":1001}`, `{"auth":{"oidc":{"issuerURL":"https://x.test"}}}`, `{"auth":{"oidc":{"groupsPrefix":"system:"}}}`,
		`{"additionalTrustedCA":{"name":"Bad Name"}}`, `{"resources":{"requests":{"memory":"much"}}}`,
	} {
		if err := patch(spec); !apierrors.IsInvalid(err) {
			t.Errorf("%.120s: %v, want it refused by the schema", spec, err)
		}
	}

	// The bundle of the cluster is nobody's field, but everybody's trust.
	fill := func(data string) {
		t.Helper()
		if _, err := c.kube.CoreV1().ConfigMaps(ns).Patch(t.Context(), registryv1.ConfigMapTrustedCA, types.MergePatchType, []byte(`{"data":`+data+`}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{`{"ca-bundle.crt":""}`, `{"ca-bundle.crt":"hidden"}`, `{"ca-bundle.crt":null,"other.crt":""}`} {
		fill(data)
		c.eventually("trusted-ca "+data+" is named", func() (bool, string) {
			got := conditionOf(c.config(), registryv1.ConditionDegraded)
			return got.Status == registryv1.ConditionTrue && got.Reason == registryv1.ReasonTrustedCANotFound &&
				strings.Contains(got.Message, "ConfigMap trusted-ca in namespace "+ns) && !strings.Contains(got.Message, "hidden"), summary(c.config())
		})
		if now := generations(); now != before {
			t.Errorf("trusted-ca %s: the Deployments changed (generations %s, before %s)", data, now, before)
		}
	}
	fill(`null`)
	c.eventually("an empty trusted-ca is no fault", func() (bool, string) {
		return conditionOf(c.config(), registryv1.ConditionDegraded).Status == registryv1.ConditionFalse, summary(c.config())
	})
}
