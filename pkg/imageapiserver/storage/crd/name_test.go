package crd

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Behaviour 57, the names.
func TestRecordName(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	cases := map[string]string{
		"my-app":                           "my-app",
		"a.b-c":                            "a.b-c",
		"sha256:" + digest:                 "sha256-" + digest,
		"sha256-" + digest:                 "x--edk62chl6omj0o9gc4o62c3161gj0o9gc4o62c3161gj0o9gc4o62c3161gj0o9gc4o62c3161gj0o9gc4o62c3161gj0o9gc4o62c3161gj0o9gc4",
		"under_score":                      "x--eln68pbibtpm6rrick",
		"x--abc":                           "x--f0miqob2cc",
		strings.Repeat("A", 240):           "",
		"sha256:" + strings.ToUpper("abc"): "",
	}
	seen := map[string]string{}
	for name, want := range cases {
		got := recordName(name)
		if problems := validation.IsDNS1123Subdomain(got); len(problems) > 0 {
			t.Errorf("recordName(%q) = %q is no valid name: %v", name, got, problems)
		}
		if want != "" && got != want {
			t.Errorf("recordName(%q) = %q, want %q", name, got, want)
		}
		if other, taken := seen[got]; taken {
			t.Errorf("%q and %q have the same record name %q", name, other, got)
		}
		seen[got] = name
	}
}

// Behaviour 57, the names.
func FuzzRecordNameIsValidAndInjective(f *testing.F) {
	f.Add("my-app", "sha256:abc")
	f.Add("sha256-x", "x--h-0")
	f.Fuzz(func(t *testing.T, a, b string) {
		first, second := recordName(a), recordName(b)
		if a != "" && len(validation.IsDNS1123Subdomain(first)) > 0 {
			t.Errorf("recordName(%q) = %q is no valid name", a, first)
		}
		if a != b && first == second {
			t.Errorf("%q and %q have the same record name %q", a, b, first)
		}
	})
}
