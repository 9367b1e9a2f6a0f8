package render

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// Behaviours 32, 33: what a field of Config becomes in the environment of the registry.
func TestConfigReachesTheRegistryAsEnvironment(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*registryv1.Config)
		variable string
		want     string // empty: the variable must not be there
	}{
		{"storage", nil, "REGISTRY_STORAGE", "filesystem"},
		{"internal host", nil, "REGISTRY_ALAUDA_SERVER_ADDR", "image-registry.image-registry-system.svc:5000"},
		{"default audience", nil, "REGISTRY_ALAUDA_AUTH_AUDIENCE", "image-registry.alauda.io"},
		{"empty audience", func(c *registryv1.Config) { c.Spec.ImagePullSecret.TokenAudience = ptr.To("") }, "REGISTRY_ALAUDA_AUTH_AUDIENCE", `""`},
		{"audience that YAML would change", func(c *registryv1.Config) { c.Spec.ImagePullSecret.TokenAudience = ptr.To("1e5") }, "REGISTRY_ALAUDA_AUTH_AUDIENCE", `"1e5"`},
		{"writable", nil, "REGISTRY_STORAGE_MAINTENANCE_READONLY", ""},
		{"read only", func(c *registryv1.Config) { c.Spec.ReadOnly = true }, "REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"},
		{"redirect", nil, "REGISTRY_STORAGE_REDIRECT_DISABLE", ""},
		{"no redirect", func(c *registryv1.Config) { c.Spec.DisableRedirect = true }, "REGISTRY_STORAGE_REDIRECT_DISABLE", "true"},
		{"level Normal", nil, "REGISTRY_LOG_LEVEL", "info"},
		{"level Debug", func(c *registryv1.Config) { c.Spec.LogLevel = registryv1.LogDebug }, "REGISTRY_LOG_LEVEL", "debug"},
		{"level TraceAll", func(c *registryv1.Config) { c.Spec.LogLevel = registryv1.LogTraceAll }, "REGISTRY_LOG_LEVEL", "debug"},
		{"deprecated logging 1", func(c *registryv1.Config) { c.Spec.Logging = 1 }, "REGISTRY_LOG_LEVEL", "warn"},
		{"deprecated logging 3", func(c *registryv1.Config) { c.Spec.Logging = 3 }, "REGISTRY_LOG_LEVEL", "info"},
		{"deprecated logging 7", func(c *registryv1.Config) { c.Spec.Logging = 7 }, "REGISTRY_LOG_LEVEL", "debug"},
		{"unlimited", nil, "REGISTRY_ALAUDA_REQUESTS_READ_MAXRUNNING", ""},
		{"queue only", func(c *registryv1.Config) { c.Spec.Requests.Write.MaxInQueue = 5 }, "REGISTRY_ALAUDA_REQUESTS_WRITE_MAXINQUEUE", "5"},
		{"wait as Go text", func(c *registryv1.Config) {
			c.Spec.Requests.Read = registryv1.RequestLimits{MaxRunning: 1, MaxWaitInQueue: metav1.Duration{Duration: 90 * time.Second}}
		}, "REGISTRY_ALAUDA_REQUESTS_READ_MAXWAITINQUEUE", "1m30s"},
		{"no proxy, no exceptions", nil, "NO_PROXY", ""},
		{"proxy with exceptions", func(c *registryv1.Config) {
			c.Spec.Proxy = registryv1.ProxySpec{HTTPS: "http://p:1", NoProxy: "a.example,localhost"}
		}, "NO_PROXY", "a.example,localhost,127.0.0.1,.svc,.svc.cluster.local,.cluster.local,$(KUBERNETES_SERVICE_HOST)"},
		{"mirrors of imports", func(c *registryv1.Config) {
			c.Spec.ImageAPI.Config = &runtime.RawExtension{Raw: []byte(`{"imageImport":{"allowedHosts":["a:1"]}}`)}
		}, "REGISTRY_ALAUDA_PULLTHROUGH_ALLOWEDHOSTS", `["a:1"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, err := RegistryEnv(inputs(t, test.change))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, variable := range env {
				if variable.Name == test.variable {
					got = variable.Value
				}
			}
			if got != test.want {
				t.Errorf("%s is %q, want %q", test.variable, got, test.want)
			}
		})
	}
}

// Behaviour 33.
func TestOIDCReachesTheRegistryOnlyWithAnIssuer(t *testing.T) {
	in := inputs(t, nil)
	in.OIDC = registryv1.OIDCSpec{ClientID: "x"}
	if env := oidcEnv(in.OIDC); env != nil {
		t.Errorf("without an issuer: %v", env)
	}
	in.OIDC = registryv1.OIDCSpec{IssuerURL: "https://i", ClientID: "x", CAConfigMap: "ca"}
	if env := oidcEnv(in.OIDC); len(env) != 3 || env[2].Value != "/etc/image-registry/oidc/ca.crt" {
		t.Errorf("with issuer and CA: %v", env)
	}
}

// Behaviour 49.
func TestScalarSurvivesTheYAMLParser(t *testing.T) {
	for value, want := range map[string]string{
		"plain": "plain", "0123": `"0123"`, "1e5": `"1e5"`, "true": `"true"`, "null": `"null"`, "*x": `"*x"`, "": `""`, "a:b": "a:b",
	} {
		if got := Scalar(value); got != want {
			t.Errorf("Scalar(%q) is %s, want %s", value, got, want)
		}
	}
}

// Behaviour 30.
func TestOverridesReachDeploymentAndPods(t *testing.T) {
	in := inputs(t, func(c *registryv1.Config) {
		c.Spec.UnsupportedConfigOverrides = &runtime.RawExtension{Raw: []byte(`{"deployment":{"annotations":{"a":"b"},"x":1},"y":2}`)}
	})
	deployment, err := RegistryDeployment(in)
	if err != nil {
		t.Fatal(err)
	}
	if deployment.GetAnnotations()["a"] != "b" {
		t.Errorf("annotations of the Deployment: %v", deployment.GetAnnotations())
	}
	overrides, err := ParseOverrides(in.Config.Spec.UnsupportedConfigOverrides)
	if err != nil || strings.Join(overrides.Unknown, " ") != "y deployment.x" {
		t.Errorf("unknown keys %v, %v", overrides.Unknown, err)
	}
	_, err = ParseOverrides(&runtime.RawExtension{Raw: []byte(`{"deployment":[]}`)})
	var permanent *fault.Permanent
	if !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonInvalidConfigOverrides {
		t.Errorf("garbage gives %v", err)
	}
}

// Behaviour 29.
func TestChecksumFollowsOnlyWhatAPodReadsAtStart(t *testing.T) {
	hash := func(change func(*Inputs)) string {
		in := inputs(t, nil)
		change(&in)
		deployment, err := RegistryDeployment(in)
		if err != nil {
			t.Fatal(err)
		}
		return checksumOf(t, deployment.Object)
	}
	same := hash(func(*Inputs) {})
	if hash(func(in *Inputs) { in.Bundle = "other" }) != same {
		t.Error("a new trust bundle rolls the registry")
	}
	if hash(func(in *Inputs) { in.TrustedCA = map[string]string{"ca-bundle.crt": certificate(t)} }) == same {
		t.Error("a new trusted-ca does not roll the registry")
	}
	if hash(func(in *Inputs) { in.HTTPSecret = "other" }) == same {
		t.Error("a new private configuration does not roll the registry")
	}
}

func checksumOf(t *testing.T, deployment map[string]any) string {
	t.Helper()
	node := deployment
	for _, key := range []string{"spec", "template", "metadata", "annotations"} {
		node, _ = node[key].(map[string]any)
	}
	text, _ := node[registryv1.DependenciesChecksumAnnotation].(string)
	if text == "" {
		t.Fatal("no checksum")
	}
	return text
}

// Behaviour 75.
func TestScheduleIsParsedAsKubernetesDoes(t *testing.T) {
	for schedule, good := range map[string]bool{"0 0 * * *": true, "@daily": true, "TZ=UTC 0 0 * * *": false, "CRON_TZ=UTC 0 0 * * *": false, "often": false, "60 * * * *": false} {
		if err := CheckSchedule(schedule); (err == nil) != good {
			t.Errorf("%q: %v", schedule, err)
		}
	}
}

// Behaviour 74, 77: the user's suspend counts unless the registry is removed.
func TestSuspendIsOredWithRemoved(t *testing.T) {
	for _, user := range []bool{false, true} {
		for _, removed := range []bool{false, true} {
			pruner := &registryv1.ImagePruner{Spec: registryv1.ImagePrunerSpec{Suspend: ptr.To(user)}}
			job, err := PruneCronJob(settings(t), pruner, removed)
			if err != nil {
				t.Fatal(err)
			}
			spec, _ := job.Object["spec"].(map[string]any)
			if spec["suspend"] != (user || removed) {
				t.Errorf("user %t, removed %t: suspend %v", user, removed, spec["suspend"])
			}
		}
	}
}

func FuzzScalar(f *testing.F) {
	for _, seed := range []string{"", "a", "0x1", "~", "- a", "a: b", "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if Scalar(value) == "" {
			t.Error("an empty scalar")
		}
	})
}
