package ingress

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

func TestHostileHostNamesAreRefused(t *testing.T) {
	long := strings.Repeat("a", 63)
	for name, host := range map[string]string{
		"wildcard":                   "*.example.com",
		"upper case":                 "Registry.example.com",
		"port":                       "registry.example.com:443",
		"path":                       "registry.example.com/v2",
		"address":                    "192.0.2.7",
		"IPv6 address":               "2001:db8::1",
		"IPv6 address in brackets":   "[2001:db8::1]",
		"decimal address":            "3221225991",
		"short address":              "127.1",
		"number at the end":          "registry.7",
		"final dot":                  "registry.example.com.",
		"empty label":                "registry..example.com",
		"label above 63":             long + "a.example.com",
		"254 characters":             strings.Repeat(long+".", 3) + strings.Repeat("a", 62),
		"empty":                      "",
		"space":                      "registry .example.com",
		"newline":                    "registry.example.com\n",
		"quote":                      `registry".example.com`,
		"underscore":                 "my_registry.example.com",
		"letters beyond ASCII":       "régistry.example.com",
		"hyphen first":               "-registry.example.com",
		"the internal host":          "image-registry.image-registry-system.svc",
		"its long form":              "image-registry.image-registry-system.svc.cluster.local",
		"its short form":             "image-registry.image-registry-system",
		"the bare Service":           "image-registry",
		"another Service":            "kubernetes.default.svc",
		"another Service, long form": "kubernetes.default.svc.cluster.local",
		"loopback":                   "localhost",
		"below loopback":             "registry.localhost",
		"the domain of the cluster":  "cluster.local",
	} {
		if err := CheckHost(host, namespace, "cluster.local"); err == nil {
			t.Errorf("%s: %q is accepted", name, host)
		} else if len(err.Error()) > 250 || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s: message %q", name, err)
		}
	}
	for _, host := range []string{"registry.example.com", "r", "a.b.c.d.e", long + ".example.com", strings.Repeat(long+".", 3) + strings.Repeat("a", 61),
		"default-route-image-registry-system.apps.cluster.local", "xn--rgistry-bya.example.com", "1.example.com", "svc.example.com"} {
		if err := CheckHost(host, namespace, "cluster.local"); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestGeneratedHostsAreCutToValidLabels(t *testing.T) {
	long := strings.Repeat("n", 63)
	wide := strings.Repeat(strings.Repeat("d", 60)+".", 3) + strings.Repeat("d", 58) // 241 characters
	for name, test := range map[string]struct{ route, ns, domain string }{
		"long route":                {long, "ns", "example.com"},
		"long namespace":            {"r", long, "example.com"},
		"cut at a hyphen":           {strings.Repeat("a", 53) + "-b", "ns-ns-ns-ns", "example.com"},
		"domain that leaves little": {"default-route", "image-registry-system", wide},
	} {
		host, err := Generate(test.route, test.ns, test.domain)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := CheckHost(host, test.ns, "cluster.local"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasSuffix(host, "."+test.domain) || strings.Contains(host, "--") {
			t.Errorf("%s: host %s", name, host)
		}
	}
	a, _ := Generate(long, "ns", "example.com")
	b, _ := Generate(long[1:]+"m", "ns", "example.com")
	if a == b {
		t.Errorf("two routes became one host: %s", a)
	}
	if _, err := Generate("r", "ns", wide+"dd"); err == nil {
		t.Error("a domain that leaves no room is accepted")
	}
}

func TestADomainThatCannotBeUsedIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Input)
		field  string
	}{
		"of the environment": {func(in *Input) { in.Domain = "*.example.com" }, "INGRESS_DOMAIN"},
		"of the spec":        {func(in *Input) { in.Spec.Ingress.Domain = strings.Repeat("a", 64) + ".example.com" }, "spec.ingress.domain"},
		"inside the cluster": {func(in *Input) { in.Spec.Ingress.Domain = "default.svc.cluster.local" }, "spec.ingress.domain"},
	} {
		in := input(func(spec *registryv1.ConfigSpec) { spec.DefaultRoute = true })
		test.change(&in)
		plan := Decide(in)
		if len(plan.Routes) != 0 || !strings.Contains(messages(plan), test.field) {
			t.Errorf("%s: routes %+v, problems %q", name, plan.Routes, messages(plan))
		}
	}
}

// A host that was chosen once stays while its inputs do, and only then. One that was edited by hand goes.
func TestAGeneratedHostIsSticky(t *testing.T) {
	in := input(func(spec *registryv1.ConfigSpec) { spec.DefaultRoute, spec.Ingress.Domain = true, "example.com" })
	const chosen = "from-an-earlier-version.example.com"
	object := live("default-route", chosen, true)
	object.Annotations[MarkAnnotation] = in.mark("default-route", "example.com", chosen)
	in.Live["default-route"] = object
	host := func(in Input) string {
		t.Helper()
		plan := Decide(in)
		if len(plan.Routes) != 1 {
			t.Fatalf("routes %+v, problems %v", plan.Routes, plan.Problems)
		}
		return plan.Routes[0].Host
	}
	if got := host(in); got != chosen {
		t.Errorf("host %s, want the chosen one", got)
	}
	other := in
	other.Spec.Ingress.Domain = "example.org"
	if got := host(other); got != "default-route-image-registry-system.example.org" {
		t.Errorf("after a change of the domain: host %s", got)
	}
	edited := object.DeepCopy()
	edited.Spec.Rules[0].Host = "evil.example.net"
	in.Live = map[string]*networkingv1.Ingress{"default-route": edited}
	if got := host(in); got != "default-route-image-registry-system.example.com" {
		t.Errorf("after an edit by hand: host %s", got)
	}
}

func FuzzGenerate(f *testing.F) {
	f.Add("default-route", "image-registry-system", "apps.example.com")
	f.Add(strings.Repeat("a", 63), strings.Repeat("b", 63), strings.Repeat("c.", 120)+"d")
	f.Fuzz(func(t *testing.T, name, ns, domain string) {
		if CheckHost(name+".x", ns, "cluster.local") != nil || CheckHost(ns+".x", ns, "cluster.local") != nil || CheckHost(domain, ns, "cluster.local") != nil ||
			strings.Contains(name, ".") || strings.Contains(ns, ".") {
			t.Skip("not what the schema lets through")
		}
		host, err := Generate(name, ns, domain)
		if err != nil {
			return
		}
		if err := CheckHost(host, ns, "cluster.local"); err != nil {
			t.Errorf("Generate(%q, %q, %q) = %q: %v", name, ns, domain, host, err)
		}
	})
}
