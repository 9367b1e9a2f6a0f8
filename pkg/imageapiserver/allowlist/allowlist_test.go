package allowlist

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

const internal = "image-registry.image-registry-system.svc:5000"

func list(t *testing.T, names ...string) *List {
	t.Helper()
	var locations []configv1.RegistryLocation
	for _, name := range names {
		plain, insecure := strings.CutSuffix(name, " insecure")
		locations = append(locations, configv1.RegistryLocation{DomainName: plain, Insecure: insecure})
	}
	made, err := New(locations, repository.Hosts{Internal: internal})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Behaviour 44.
func TestAllows(t *testing.T) {
	const registry = "registry.example.com"
	tests := []struct {
		name      string
		entries   []string
		ref       string
		transport Transport
		want      bool
	}{
		{"an empty list allows everything", nil, "evil.example.org/a/b:1", Secure, true},
		{"the host itself", []string{registry}, registry + "/a/b", Secure, true},
		{"capital letters in the list", []string{"Registry.Example.COM"}, registry + "/a/b", Secure, true},
		{"another host", []string{registry}, "quay.io/a/b", Secure, false},
		{"a host that only begins alike", []string{registry}, registry + ".evil.org/a/b", Secure, false},
		{"443 written out", []string{registry}, registry + ":443/a/b", Secure, true},
		{"another port", []string{registry}, registry + ":5000/a/b", Secure, false},
		{"another port and any transport", []string{registry}, registry + ":5000/a/b", Any, false},
		{"an entry with port", []string{registry + ":5000"}, registry + ":5000/a/b", Secure, true},
		{"an entry with port and a reference without", []string{registry + ":5000"}, registry + "/a/b", Any, false},
		{"an insecure entry and secure transport", []string{registry + " insecure"}, registry + "/a/b", Secure, false},
		{"an insecure entry and insecure transport", []string{registry + " insecure"}, registry + "/a/b", Insecure, true},
		{"an insecure entry and any transport", []string{registry + " insecure"}, registry + "/a/b", Any, true},
		{"a secure entry and insecure transport", []string{registry}, registry + "/a/b", Insecure, false},
		{"a secure entry and any transport", []string{registry}, registry + "/a/b", Any, true},
		{"any port in the entry", []string{registry + ":*"}, registry + ":5000/a/b", Secure, true},
		{"any port in the entry, none in the reference", []string{registry + ":*"}, registry + "/a/b", Any, true},
		{"wildcard for subdomains", []string{"*.example.com"}, "a.b.example.com/a/b", Secure, true},
		{"wildcard for subdomains and the domain itself", []string{"*.example.com"}, "example.com/a/b", Secure, false},
		{"one character", []string{"r?.example.com"}, "r1.example.com/a/b", Secure, true},
		{"one character is not two", []string{"r?.example.com"}, "r12.example.com/a/b", Secure, false},
		{"part of a port", []string{registry + ":50??"}, registry + ":5000/a/b", Secure, true},
		{"Docker Hub without host", []string{"docker.io"}, "busybox", Secure, true},
		{"Docker Hub by an alias", []string{"docker.io"}, "index.docker.io/library/busybox", Secure, true},
		{"Docker Hub by another alias", []string{"docker.io"}, "registry-1.docker.io/library/busybox", Secure, true},
		{"Docker Hub when it is not allowed", []string{"quay.io"}, "busybox", Secure, false},
		{"this registry", []string{"quay.io"}, internal + "/team-a/app", Secure, true},
		{"this registry by its longest name", []string{"quay.io"}, "image-registry.image-registry-system.svc.cluster.local:5000/team-a/app", Secure, true},
		{"another port of this host", []string{"quay.io"}, "image-registry.image-registry-system.svc:80/team-a/app", Secure, false},
		{"an address", []string{"[2001:db8::1]:5000"}, "[2001:db8::1]:5000/a/b", Secure, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ref, err := reference.Parse(test.ref)
			if err != nil {
				t.Fatal(err)
			}
			if got := list(t, test.entries...).Allows(ref, test.transport); got != test.want {
				t.Errorf("%s in %v is %v, want %v", test.ref, test.entries, got, test.want)
			}
		})
	}
}

func TestRefusalNamesAtMostFiveEntries(t *testing.T) {
	path := field.NewPath("spec")
	problem := list(t, "a.io", "b.io", "c.io:*").Check(path, "quay.io/a/b:1", Secure)
	want := "spec: Forbidden: images may not be imported from registry quay.io:443, only from a.io:443, b.io:443, c.io:*"
	if problem == nil || problem.Error() != want {
		t.Errorf("got  %v\nwant %s", problem, want)
	}
	problem = list(t, "a.io", "b.io", "c.io", "d.io", "e.io", "f.io", "g.io").Check(path, "quay.io/a/b:1", Insecure)
	want = "spec: Forbidden: images may not be imported from registry quay.io:80, only from a.io:443, b.io:443, c.io:443, d.io:443, e.io:443 and 2 more"
	if problem == nil || problem.Error() != want {
		t.Errorf("got  %v\nwant %s", problem, want)
	}
}

func TestAllowingLeavesTheListAsItWas(t *testing.T) {
	shared := list(t, "a.io")
	more := shared.Allowing([]string{"quay.io/org/app:v1", "busybox:1", "not a reference"})
	path := field.NewPath("spec")
	for _, allowed := range []string{"quay.io/org/app@sha256:" + strings.Repeat("0", 64), "docker.io/library/busybox:2", "a.io/x/y"} {
		if problem := more.Check(path, allowed, Secure); problem != nil {
			t.Errorf("%s: %v", allowed, problem)
		}
	}
	for _, refused := range []string{"quay.io/org/other:v1", "quay.io/org/app/deeper:v1"} {
		if more.Check(path, refused, Secure) == nil {
			t.Errorf("%s is allowed", refused)
		}
	}
	if shared.Check(path, "quay.io/org/app:v1", Secure) == nil {
		t.Error("the shared list has changed")
	}
}

func TestParseEntryRefuses(t *testing.T) {
	for _, name := range []string{"", ":5000", "a:b:c", "a:", "2001:db8::1", "[2001:db8::1", "[::1]x:5", "a/b", "a b"} {
		if entry, err := ParseEntry(configv1.RegistryLocation{DomainName: name}); err == nil {
			t.Errorf("%q is %s", name, entry)
		}
	}
}

// Behaviour 66.
func TestSourceFollowsTheConfiguration(t *testing.T) {
	config := &configv1.ImageAPIServerConfig{}
	source := NewSource(func() *configv1.ImageAPIServerConfig { return config }, func() repository.Hosts { return repository.Hosts{} })
	path := field.NewPath("spec")
	if problem := source().Check(path, "quay.io/a/b", Secure); problem != nil {
		t.Errorf("an empty list refuses: %v", problem)
	}
	if first, second := source(), source(); first != second {
		t.Error("one configuration has two lists")
	}
	config = &configv1.ImageAPIServerConfig{}
	config.ImageImport.AllowedRegistriesForImport = []configv1.RegistryLocation{{DomainName: "a.io"}}
	if source().Check(path, "quay.io/a/b", Secure) == nil {
		t.Error("the new list does not hold")
	}
	config = &configv1.ImageAPIServerConfig{}
	config.ImageImport.AllowedRegistriesForImport = []configv1.RegistryLocation{{DomainName: "a:b:c"}}
	if source().Check(path, "quay.io/a/b", Secure) == nil {
		t.Error("a list that cannot be read allows everything")
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, seed := range []string{"a.io", "*.a.io:*", "[::1]:5000", "a:b:c", "?"} {
		f.Add(seed, "quay.io")
	}
	f.Fuzz(func(t *testing.T, name, host string) {
		entry, err := ParseEntry(configv1.RegistryLocation{DomainName: name})
		if err != nil {
			return
		}
		if entry.host == "" || entry.port == "" {
			t.Errorf("%q gave %q", name, entry)
		}
		if matched := entry.matches(target{host, "443"}); matched && !strings.Contains(name, "*") && !strings.Contains(name, "?") && len(host) > len(name) {
			t.Errorf("%q without wildcards matches the longer %q", name, host)
		}
	})
}
