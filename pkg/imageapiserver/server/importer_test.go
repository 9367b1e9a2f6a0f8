package server

import (
	"testing"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// A mirror would answer for what only this registry itself may be asked.
func TestThisRegistryHasNoMirrors(t *testing.T) {
	config := &configv1.ImageAPIServerConfig{}
	config.ImageImport.Mirrors = []configv1.RegistryMirrors{
		{Source: "registry.svc:5000"}, {Source: "registry.svc.cluster.local:5000/team-a"}, {Source: "images.example.com/team-a"},
		{Source: "Images.Example.com"}, {Source: "images.example.com:443/team-b"}, {Source: "/images.example.com/"},
		{Source: "docker.io"}, {Source: "registry.svc"},
	}
	hosts := func() repository.Hosts {
		return repository.Hosts{Internal: "registry.svc:5000", External: []string{"images.example.com"}}
	}
	settings := registrySettings(func() *configv1.ImageAPIServerConfig { return config }, hosts)
	got := settings().Mirrors
	if len(got) != 2 || got[0].Source != "docker.io" || got[1].Source != "registry.svc" {
		t.Errorf("mirrors are %+v, want those of docker.io and registry.svc", got)
	}
	if first, second := settings(), settings(); first != second {
		t.Error("the same configuration gave other settings")
	}
	before := settings()
	changed := *config
	config = &changed
	if settings() == before {
		t.Error("a changed configuration gave the same settings")
	}
}
