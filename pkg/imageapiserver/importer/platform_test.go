package importer

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func childOf(os, arch, variant string) v1.Descriptor {
	return v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch, Variant: variant}}
}

// Behaviour 37.
func TestLegacyChoosesTheChildThatRunsHere(t *testing.T) {
	attestation := childOf("unknown", "unknown", "")
	annotated := childOf("linux", "s390x", "")
	annotated.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	none := v1.Descriptor{}
	for name, test := range map[string]struct {
		children []v1.Descriptor
		wanted   Platform
		want     int
	}{
		"exact match":                       {[]v1.Descriptor{childOf("linux", "amd64", ""), childOf("linux", "arm64", "")}, Platform{"arm64", "linux"}, 1},
		"first of several variants":         {[]v1.Descriptor{childOf("linux", "amd64", ""), childOf("linux", "arm", "v6"), childOf("linux", "arm", "v7")}, Platform{"arm", "linux"}, 1},
		"operating system counts":           {[]v1.Descriptor{childOf("windows", "amd64", ""), childOf("linux", "amd64", "")}, Platform{"amd64", "linux"}, 1},
		"falls back to linux/amd64":         {[]v1.Descriptor{childOf("linux", "ppc64le", ""), childOf("linux", "amd64", "")}, Platform{"arm64", "linux"}, 1},
		"first that is no attestation":      {[]v1.Descriptor{attestation, annotated, childOf("linux", "ppc64le", "")}, Platform{"arm64", "linux"}, 2},
		"a child without platform is one":   {[]v1.Descriptor{attestation, none}, Platform{"arm64", "linux"}, 1},
		"attestations only: the first":      {[]v1.Descriptor{attestation, annotated}, Platform{"arm64", "linux"}, 0},
		"an attestation is never the match": {[]v1.Descriptor{annotated, childOf("linux", "s390x", "")}, Platform{"s390x", "linux"}, 1},
		"empty":                             {nil, Platform{"amd64", "linux"}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choose(test.children, test.wanted); got != test.want {
				t.Errorf("chose %d, want %d", got, test.want)
			}
		})
	}
}

func TestAPartOfAPlatformIsFilledFromTheServersOwn(t *testing.T) {
	if got, want := (Platform{Arch: "arm64"}).or(Platform{Arch: "amd64", OS: "linux"}), (Platform{"arm64", "linux"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
