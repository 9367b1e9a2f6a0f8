package metadata

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/test/secondregistry"
)

// internal is the registry of a group, reached over TLS by whoever has the token.
func internal(t *testing.T, env *grouptest.Env, token string) (*secondregistry.Registry, InternalRegistry) {
	t.Helper()
	registry := secondregistry.Start(t, secondregistry.Options{
		TLS: true, Tokens: true, Users: map[string]string{"image-api-server": "own token"},
	})
	env.Hosts.Internal = registry.Host
	trusted := t.TempDir()
	file := strings.ReplaceAll(registry.Host, ":", "..")
	if err := os.WriteFile(filepath.Join(trusted, file), registry.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	options := remote.DefaultOptions()
	settings := &remote.Settings{DeniedCIDRs: []string{"127.0.0.0/8"}}
	settings.RateLimits.Default.QPS, settings.RateLimits.Default.Burst = 1000, 1000
	options.UserAgent, options.Settings = "test/1", func() *remote.Settings { return settings }
	options.CADirs = []string{trusted}
	options.InternalHosts = func() []string { return []string{registry.Host} }
	client, err := remote.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return registry, InternalRegistry{
		Client: client, Hosts: func() repository.Hosts { return env.Hosts },
		Token: func() (string, error) { return token, nil },
	}
}

// Behaviour 49: manifest and config are read from the internal registry, which checks the server's token.
func TestCompletionReadsTheInternalRegistryWithTheOwnToken(t *testing.T) {
	env := grouptest.New(t)
	registry, source := internal(t, env, "own token")
	c := newController(t, env, source)
	amd64 := registry.PushImage(t, "team-a/app", "", secondregistry.Image{Seed: "one"})
	index := registry.PushIndex(t, "team-a/app", "v1", amd64)
	env.CreateStream(grouptest.Stream("team-a", "app"))
	recorded := grouptest.Pushed("team-a", "app", "unused")
	recorded.Name = index.Digest.String()
	recorded.Annotations, recorded.DockerImageLayers, recorded.DockerImageMetadata.Size = nil, nil, 0
	recorded.DockerImageReference = registry.Host + "/team-a/app@" + recorded.Name
	recorded.DockerImageManifestMediaType = index.MediaType
	env.Push("team-a", "app", "v1", recorded)
	// The library stamps what is created by the real clock, which may be a second ahead already.
	env.Clock.Step(time.Hour)
	if err := c.complete(t.Context(), recorded.Name); err != nil {
		t.Fatal(err)
	}
	if Incomplete(find(env, index.Digest)) || Incomplete(find(env, amd64.Digest)) {
		t.Error("index or child is not described")
	}
	if got := local(env, "team-a", "app"); len(got) != 2 {
		t.Errorf("the repository may give out %v, want index and child", got)
	}
}

func TestCompletionFailsWithoutAValidToken(t *testing.T) {
	const secret = "somebody-elses-secret"
	env := grouptest.New(t)
	registry, source := internal(t, env, secret)
	image := registry.PushImage(t, "team-a/app", "v1", secondregistry.Image{Seed: "one"})
	opened, err := source.Repository("team-a", "app")
	if err != nil {
		t.Fatal(err)
	}
	_, err = opened.Manifest(context.Background(), image.Digest.String())
	if kind := remote.KindOf(err); err == nil || kind != remote.Unauthorized && kind != remote.Forbidden {
		t.Errorf("with a wrong token: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the error repeats the token: %v", err)
	}
	source.Token = func() (string, error) { return "", errors.New("no token") }
	if _, err := source.Repository("team-a", "app"); err == nil {
		t.Error("a repository was opened without a token")
	}
	env.Hosts.Internal = ""
	if _, err := source.Repository("team-a", "app"); !errors.Is(err, errNoHost) {
		t.Errorf("without an internal name: %v", err)
	}
}
