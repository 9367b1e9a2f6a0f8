package render

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

func memory(limit string) *corev1.ResourceRequirements {
	return &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}}
}

// What the cluster takes and no Pod would start with, or would do without in silence, holds the Deployments as they
// are, with the name of the place and of the next step.
func TestSettingsWithWhichAPodWouldNotDoItsWork(t *testing.T) {
	pem := certificate(t)
	trusted := func(data map[string]string) func(*Inputs) { return func(in *Inputs) { in.TrustedCA = data } }
	issuer := func(name string, data map[string]string) func(*Inputs) {
		return func(in *Inputs) {
			in.OIDC = registryv1.OIDCSpec{IssuerURL: "https://dex.test", ClientID: "x", CAConfigMap: name}
			in.OIDCCA = data
		}
	}
	const both, registry, server = "both", "registry", "server"
	for _, test := range []struct {
		name    string
		change  func(*Inputs)
		refused string // who is refused, empty for nobody
		words   []string
	}{
		{"no trusted-ca", trusted(nil), "", nil},
		{"trusted-ca as the operator makes it", trusted(map[string]string{}), "", nil},
		{"trusted-ca", trusted(map[string]string{"ca-bundle.crt": "# ours\n" + pem}), "", nil},
		{"trusted-ca under another key", trusted(map[string]string{"ca.crt": pem, "README": "x"}), "", nil},
		{"empty trusted-ca", trusted(map[string]string{"ca-bundle.crt": ""}), both, []string{"ConfigMap trusted-ca in namespace image-registry-system", "ca-bundle.crt", "remove the key"}},
		{"blank trusted-ca", trusted(map[string]string{"ca-bundle.crt": " \n"}), both, []string{"holds no certificate under key ca-bundle.crt"}},
		{"trusted-ca that is no PEM", trusted(map[string]string{"ca-bundle.crt": "h@rd"}), both, []string{"holds no certificate under key ca-bundle.crt"}},
		{"a good key beside an empty one", trusted(map[string]string{"ca-bundle.crt": "", "ca.crt": pem}), both, []string{"holds no certificate under key ca-bundle.crt"}},
		{"trusted-ca without a certificate", trusted(map[string]string{"ca.crt": "h@rd"}), both, []string{"none with a certificate"}},

		{"CA of the issuer", issuer("login-ca", map[string]string{"ca.crt": pem}), "", nil},
		{"no CA of the issuer", issuer("", nil), "", nil},
		{"CA without an issuer", func(in *Inputs) { in.OIDC.CAConfigMap = "login-ca" }, "", nil},
		{"CA of the issuer missing", issuer("login-ca", nil), registry, []string{"spec.auth.oidc.caConfigMap of Config cluster names ConfigMap login-ca in namespace image-registry-system, which does not exist", "clear the field"}},
		{"CA of the issuer under another key", issuer("login-ca", map[string]string{"ca-bundle.crt": pem}), registry, []string{"lacks key ca.crt"}},
		{"CA of the issuer empty", issuer("login-ca", map[string]string{"ca.crt": ""}), registry, []string{"whose key ca.crt holds no certificate"}},
		{"CA of the issuer broken", issuer("login-ca", map[string]string{"ca.crt": strings.ReplaceAll(pem, "MI", "h@rd")}), registry, []string{"whose key ca.crt holds no certificate"}},

		{"memory", func(in *Inputs) { in.Config.Spec.Resources = memory("512Mi") }, "", nil},
		{"half a byte of memory", func(in *Inputs) { in.Config.Spec.Resources = memory("512m") }, registry, []string{"spec.resources.limits.memory of Config cluster is 512m", "512Mi"}},
		{"bytes of memory", func(in *Inputs) { in.Config.Spec.ImageAPI.Resources = memory("512") }, server, []string{"spec.imageAPI.resources.limits.memory of Config cluster is 512"}},
		{"the same exception many times", func(in *Inputs) {
			in.Config.Spec.Proxy = registryv1.ProxySpec{HTTP: "p:1", NoProxy: strings.Repeat("x,", 100_000)}
		}, "", nil},
		{"a zero byte", func(in *Inputs) {
			in.ExternalHosts, in.Storage.Env = nil, []corev1.EnvVar{{Name: "X", Value: "a\x00b"}}
		}, registry, []string{"variable X", "zero byte"}},
		{"a variable that is too long", func(in *Inputs) {
			in.Config.Spec.Proxy = registryv1.ProxySpec{HTTP: "p:1", NoProxy: strings.Repeat("x", 200_000)}
		}, both, []string{"variable NO_PROXY", "shorten"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := inputs(t, nil)
			test.change(&in)
			_, registryErr := RegistryDeployment(in)
			_, serverErr := APIServerDeployment(in)
			for who, err := range map[string]error{registry: registryErr, server: serverErr} {
				if wanted := test.refused == both || test.refused == who; (err != nil) != wanted {
					t.Errorf("%s: error %.1000v, want one: %t", who, err, wanted)
				}
				checkFault(t, err, test.words)
			}
		})
	}
}

func checkFault(t *testing.T, err error, words []string) {
	t.Helper()
	if err == nil {
		return
	}
	var permanent *fault.Permanent
	if !errors.As(err, &permanent) {
		t.Errorf("%v is no permanent fault", err)
		return
	}
	for _, word := range words {
		if !strings.Contains(permanent.Message, word) {
			t.Errorf("%q lacks %q", permanent.Message, word)
		}
	}
	if strings.Contains(permanent.Message, "h@rd") {
		t.Errorf("%q repeats the content", permanent.Message)
	}
}

func TestAnUnsoundImagePrunerIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		spec registryv1.ImagePrunerSpec
		want string // empty: it is taken
	}{
		"nothing":                    {registryv1.ImagePrunerSpec{}, ""},
		"bounds":                     {registryv1.ImagePrunerSpec{KeepTagRevisions: ptr.To[int32](0), StartingDeadlineSeconds: ptr.To[int64](10), ActiveDeadlineSeconds: ptr.To[int64](1)}, ""},
		"revisions":                  {registryv1.ImagePrunerSpec{KeepTagRevisions: ptr.To[int32](-1)}, "spec.keepTagRevisions of ImagePruner cluster is -1"},
		"age":                        {registryv1.ImagePrunerSpec{KeepYoungerThanDuration: &metav1.Duration{Duration: -time.Hour}}, "spec.keepYoungerThanDuration of ImagePruner cluster is -1h0m0s"},
		"age in nanoseconds":         {registryv1.ImagePrunerSpec{KeepYoungerThan: ptr.To[int64](-1)}, "spec.keepYoungerThan of ImagePruner cluster is -1ns"},
		"an age that does not count": {registryv1.ImagePrunerSpec{KeepYoungerThan: ptr.To[int64](-1), KeepYoungerThanDuration: &metav1.Duration{}}, ""},
		"start":                      {registryv1.ImagePrunerSpec{StartingDeadlineSeconds: ptr.To[int64](9)}, "spec.startingDeadlineSeconds of ImagePruner cluster is 9"},
		"late":                       {registryv1.ImagePrunerSpec{StartingDeadlineSeconds: ptr.To[int64](math.MaxInt64)}, "spec.startingDeadlineSeconds"},
		"no time":                    {registryv1.ImagePrunerSpec{ActiveDeadlineSeconds: ptr.To[int64](0)}, "spec.activeDeadlineSeconds of ImagePruner cluster is 0"},
		"for ever":                   {registryv1.ImagePrunerSpec{ActiveDeadlineSeconds: ptr.To(mostSeconds + 1)}, "spec.activeDeadlineSeconds"},
		"memory":                     {registryv1.ImagePrunerSpec{Resources: memory("512m")}, "spec.resources.limits.memory of ImagePruner cluster is 512m"},
	} {
		_, err := PruneCronJob(settings(t), &registryv1.ImagePruner{Spec: test.spec}, false)
		if (err != nil) != (test.want != "") {
			t.Errorf("%s: error %v, want one: %t", name, err, test.want != "")
		}
		checkFault(t, err, []string{test.want})
	}
}
