package render

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/fault"
)

// What the servers would refuse, or choke on, is refused before anything is rolled, with the name of the field and
// without what may be a password.
func TestSettingsThatTheServersWouldNotTake(t *testing.T) {
	config := func(text string) func(*Inputs) {
		return func(in *Inputs) { in.Config.Spec.ImageAPI.Config = &runtime.RawExtension{Raw: []byte(text)} }
	}
	http := func(address string) func(*Inputs) {
		return func(in *Inputs) { in.Config.Spec.Proxy.HTTP = address }
	}
	issuer := func(url string) func(*Inputs) {
		return func(in *Inputs) {
			in.Config.Spec.Auth.OIDC.IssuerURL = url
			in.OIDC = in.Config.Spec.Auth.OIDC
		}
	}
	const both, registry, server = "both", "registry", "server"
	for _, test := range []struct {
		name    string
		change  func(*Inputs)
		refused string // who is refused, empty for nobody
		field   string
	}{
		{"no proxy", http(""), "", ""},
		{"proxy", http("http://user:h%40rd@proxy.test:3128"), "", ""},
		{"proxy without scheme", http("proxy.test:3128"), "", ""},
		{"proxy by address", http("[fd00::1]:3128"), "", ""},
		{"socks", http("socks5://proxy.test:1080"), "", ""},
		{"password with a blank", http("http://user:h@rd word@proxy:1"), both, "spec.proxy.http of Config cluster"},
		{"password with a percent sign", http("http://user:h@rd%zz@proxy:1"), both, "spec.proxy.http of Config cluster"},
		{"proxy of colons", http("::::"), both, "spec.proxy.http"},
		{"proxy without host", http("http://"), both, "spec.proxy.http"},
		{"proxy with a port alone", http("http://:3128"), both, "spec.proxy.http"},
		{"proxy with a line break", http("http://h@rd\n"), both, "spec.proxy.http"},
		{"proxy of another scheme", func(in *Inputs) { in.Config.Spec.Proxy.HTTPS = "ftp://user:h@rd@proxy:21" }, both, "spec.proxy.https"},
		{"proxy of the operator", func(in *Inputs) { in.Settings.Proxy.HTTPS = "h@rd:x:y" }, both, "environment variable HTTPS_PROXY of the operator"},
		{"exceptions with a line break at the end", func(in *Inputs) { in.Config.Spec.Proxy = registryv1.ProxySpec{HTTP: "p:1", NoProxy: "a,b\n"} }, "", ""},
		{"exceptions one a line", func(in *Inputs) { in.Config.Spec.Proxy = registryv1.ProxySpec{HTTP: "p:1", NoProxy: "a\nb"} }, both, "spec.proxy.noProxy"},
		{"exceptions with a zero byte", func(in *Inputs) { in.Config.Spec.Proxy = registryv1.ProxySpec{HTTP: "p:1", NoProxy: "a\x00b"} }, both, "spec.proxy.noProxy"},

		{"issuer", issuer("https://dex.test:5556/dex"), "", ""},
		{"issuer with a password", issuer("https://user:h@rd@dex.test"), registry, "spec.auth.oidc.issuerURL of Config cluster"},
		{"issuer with a blank", issuer("https://a b"), registry, "spec.auth.oidc.issuerURL"},
		{"issuer that breaks off", issuer("https://[::1"), registry, "spec.auth.oidc.issuerURL"},
		{"issuer with a query", issuer("https://dex.test?a=b"), registry, "spec.auth.oidc.issuerURL"},
		{"issuer of the platform", func(in *Inputs) { in.OIDC.IssuerURL = "https://dex.test#x" }, registry, "key oidcIssuer of ConfigMap kube-public/global-info"},
		{"issuer of the platform that the registry does without", func(in *Inputs) { in.OIDC.IssuerURL = "http://dex.test" }, "", ""},

		{"configuration", config(`{"imageImport":{"workers":7,"deniedCIDRs":["10.0.0.0/8"]}}`), "", ""},
		{"configuration with an unknown field", config(`{"imageImports":{}}`), both, "imageImports"},
		{"configuration of another shape", config(`{"imageImport":"x"}`), both, "imageImport"},
		{"network that is none", config(`{"imageImport":{"deniedCIDRs":["nope"]}}`), both, "imageImport.deniedCIDRs[0]"},
		{"mirrors that are none", config(`{"imageImport":{"mirrors":"nope"}}`), both, "mirrors"},
		{"another kind", config(`{"kind":"Deployment"}`), both, "kind"},
		{"registry that is none", func(in *Inputs) {
			in.Config.Spec.ImageAPI.AllowedRegistriesForImport = []registryv1.RegistryLocation{{DomainName: "https://x y"}}
		}, server, "allowedRegistriesForImport[0].domainName"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := inputs(t, nil)
			test.change(&in)
			_, registryErr := RegistryDeployment(in)
			_, deploymentErr := APIServerDeployment(in)
			_, configErr := APIServerConfig(in)
			serverErr := errors.Join(deploymentErr, configErr)
			for who, err := range map[string]error{registry: registryErr, server: serverErr} {
				wanted := test.refused == both || test.refused == who
				if (err != nil) != wanted {
					t.Errorf("%s: error %v, want one: %t", who, err, wanted)
				}
				if err == nil {
					continue
				}
				var permanent *fault.Permanent
				if !errors.As(err, &permanent) || permanent.Reason != registryv1.ReasonVerificationFailed {
					t.Errorf("%s: %v is no permanent fault", who, err)
				}
				if text := err.Error(); !strings.Contains(text, test.field) || strings.Contains(text, "h@rd") {
					t.Errorf("%s: %q does not name %s, or tells a secret", who, text, test.field)
				}
			}
		})
	}
}
