package registryconfig

import (
	"strings"
	"testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/bootstrap"
	"image.alauda.io/registry/pkg/operator/fault"
	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/test/selfsigned"
)

// A ConfigMap of certificates that helps nobody is told of, with its name, the key and the next step, and without what
// it holds.
func TestAdditionalCertificatesWithoutEffectAreTold(t *testing.T) {
	pem, _, err := selfsigned.IssueFor(1, "mirror.test")
	if err != nil {
		t.Fatal(err)
	}
	good := string(pem)
	many := map[string]string{}
	for _, letter := range "ABCDEFGHIJ" {
		many[strings.Repeat(string(letter), 100)] = "x"
	}
	for name, test := range map[string]struct {
		configMap string
		data      map[string]string
		want      []string // empty: nothing is told
	}{
		"none":                  {"", nil, nil},
		"good":                  {"extra", map[string]string{"mirror.test..5000": good}, nil},
		"the operator's own":    {registryv1.ConfigMapCertificates, nil, []string{"which the operator itself writes", "name a ConfigMap of your own in namespace ns"}},
		"empty":                 {"extra", map[string]string{}, []string{"ConfigMap extra does not exist in namespace ns or is empty"}},
		"a file":                {"trusted-ca", map[string]string{"ca-bundle.crt": good}, []string{"ConfigMap trusted-ca in namespace ns", `"ca-bundle.crt": is the name of a certificate file`, "host..port"}},
		"no PEM":                {"extra", map[string]string{"mirror.test": "hidden"}, []string{`certificate key "mirror.test"`, "no certificate found"}},
		"an empty value":        {"extra", map[string]string{"mirror.test": ""}, []string{`certificate key "mirror.test"`}},
		"a private key":         {"extra", map[string]string{"mirror.test": good + "-----BEGIN PRIVATE KEY-----\nhidden\n"}, []string{"private key"}},
		"one of two":            {"extra", map[string]string{"good.test": good, "Bad_Host": good}, []string{`"Bad_Host"`}},
		"many, with long names": {"extra", many, []string{"and 7 more"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := bootstrap.DefaultConfig()
			config.Spec.AdditionalTrustedCA.Name = test.configMap
			f := newFixture(t, config)
			err := f.additionalCAFault(render.Inputs{Settings: f.Settings, Config: config, AdditionalCA: test.data})
			permanent := fault.Sort(err).Permanent
			if len(permanent) != min(1, len(test.want)) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if text := permanent[0].Message; permanent[0].Reason != registryv1.ReasonTrustedCANotFound || !strings.Contains(text, want) || strings.Contains(text, "hidden") || len(text) > 900 {
					t.Errorf("got %s: %.1000q, want %q", permanent[0].Reason, text, want)
				}
			}
		})
	}
}

// What the operator publishes may not become what it reads: a certificate that was taken back would stay for ever. What
// was published before stays meanwhile.
func TestTheOwnCertificatesAreNoInput(t *testing.T) {
	config := bootstrap.DefaultConfig()
	config.Spec.AdditionalTrustedCA.Name = registryv1.ConfigMapCertificates
	f := newFixture(t, config)
	f.fill(t)
	in := render.Inputs{Settings: f.Settings, Config: config}
	if err := f.observeTrust(t.Context(), config, &in); err != nil {
		t.Fatal(err)
	}
	if !in.AdditionalCAMissing || in.AdditionalCA != nil {
		t.Errorf("missing: %t, data %v", in.AdditionalCAMissing, in.AdditionalCA)
	}
}

// An issuer without an audience is told of, and neither repeated nor a reason to stop: the registry does without it.
func TestAnIssuerWithoutAudienceIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		oidc  registryv1.OIDCSpec
		fault bool
	}{
		"none":           {registryv1.OIDCSpec{}, false},
		"both":           {registryv1.OIDCSpec{IssuerURL: "https://login.test", ClientID: "registry"}, false},
		"audience alone": {registryv1.OIDCSpec{ClientID: "registry"}, false},
		"issuer alone":   {registryv1.OIDCSpec{IssuerURL: "https://user:hidden@login.test"}, true},
		"a blank":        {registryv1.OIDCSpec{IssuerURL: "https://login.test", ClientID: " "}, true},
	} {
		permanent := fault.Sort(issuerFault(test.oidc)).Permanent
		if (len(permanent) == 1) != test.fault {
			t.Errorf("%s: %v", name, permanent)
		}
		for _, p := range permanent {
			if p.Reason != registryv1.ReasonVerificationFailed || !strings.Contains(p.Message, "spec.auth.oidc.clientID of Config cluster is empty") || strings.Contains(p.Message, "hidden") {
				t.Errorf("%s: %v", name, p)
			}
		}
	}
}
