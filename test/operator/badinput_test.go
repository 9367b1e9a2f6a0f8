//go:build component

package operator

import (
	"fmt"
	"strings"
	"testing"

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
		{`{"auth":{"oidc":{"issuerURL":"https://u:hid den@x"}}}`, `{"auth":null}`, "spec.auth.oidc.issuerURL of Config cluster"},
		{`{"storage":{"emptyDir":{"sizeLimit":"-1"}}}`, `{"storage":{"emptyDir":{"sizeLimit":null}}}`, "correct spec.storage.emptyDir of Config cluster"},
		{`{"storage":{"emptyDir":null,"managementState":"Managed","pvc":{"claim":"Bad_Name"}}}`, `{"storage":{"emptyDir":{},"pvc":null}}`, "correct spec.storage.pvc.claim of Config cluster"},
		{`{"storage":{"emptyDir":null,"managementState":"Managed","pvc":{"claim":"a","size":"-1"}}}`, `{"storage":{"emptyDir":{},"pvc":null}}`, "correct spec.storage.pvc.size of Config cluster"},
		{`{"storage":{"emptyDir":null,"managementState":"Managed","pvc":{"claim":"a","accessModes":["Some"]}}}`, `{"storage":{"emptyDir":{},"pvc":null}}`, "cannot be written (access modes [Some])"},
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
		`{"additionalTrustedCA":{"name":"Bad Name"}}`, `{"resources":{"requests":{"memory":"much"}}}`,
	} {
		if err := patch(spec); !apierrors.IsInvalid(err) {
			t.Errorf("%.120s: %v, want it refused by the schema", spec, err)
		}
	}
}
