package app

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	configv1 "image.alauda.io/api/config/v1"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/version"
)

const (
	// sourceRate and sourceBurst bound the requests to one other registry: high, because
	// Pods wait, and one pull of a large image makes some fifty.
	sourceRate, sourceBurst = 50, 200
	// sourceRequests is the number of requests to one other registry at a time.
	sourceRequests = 32
)

// pullThrough makes the service that fetches from other registries.
func (b *builder) pullThrough(context.Context) error {
	options := remoteOptions(b.c)
	if b.Tracing != nil {
		options.Wrap = func(next http.RoundTripper) http.RoundTripper { return b.Tracing.Wrap("registry", false, next) }
	}
	client, err := remote.New(options)
	if err != nil {
		return err
	}
	settings := b.c.Alauda.PullThrough
	service, err := pullthrough.New(pullthrough.Options{
		Client: client, Secrets: b.API.Secrets, Store: b.registry.Store, Writes: b.handlers.Writes,
		Mirror:     settings.Mirror && !b.c.ReadOnly(),
		ServerAddr: b.c.Alauda.Server.Addr, OwnHosts: b.c.Alauda.Server.AdditionalHosts,
		Installation: pullthrough.Installation(b.c.Configuration.HTTP.Secret),
		ConfigFiles:  credentialFiles(settings.DockerConfigPaths, os.Getenv("DOCKER_CONFIG")),
		Limits:       pullthrough.DefaultLimits(), Observer: b.registry.Metrics, Log: b.Log, Now: b.Now,
	})
	b.registry.PullThrough, b.handlers.PullThrough = service, service
	return err
}

func remoteOptions(c *config.Config) remote.Options {
	options := remote.DefaultOptions()
	options.UserAgent = version.UserAgent(component)
	options.CADirs = c.Alauda.PullThrough.CADirs
	options.Limits.PerHost = sourceRequests
	settings := &remote.Settings{
		DeniedCIDRs: c.Alauda.PullThrough.DeniedCIDRs, AllowedHosts: c.Alauda.PullThrough.AllowedHosts,
		RateLimits: configv1.RateLimits{Default: configv1.RateLimit{QPS: sourceRate, Burst: sourceBurst}},
	}
	own := pullthrough.OwnHosts(c.Alauda.Server.Addr, c.Alauda.Server.AdditionalHosts)
	for _, rule := range c.Alauda.PullThrough.Mirrors {
		settings.Mirrors = append(settings.Mirrors, configv1.RegistryMirrors{
			Source: rule.Source, Insecure: rule.Insecure, MirrorSourcePolicy: configv1.MirrorSourcePolicy(rule.MirrorSourcePolicy),
			// A registry that mirrors itself would ask itself.
			Mirrors: slices.DeleteFunc(slices.Clone(rule.Mirrors), own),
		})
	}
	options.Settings = func() *remote.Settings { return settings }
	return options
}

// credentialFiles adds the file that other programs read, too.
func credentialFiles(configured []string, directory string) []string {
	if directory == "" {
		return configured
	}
	return append(slices.Clone(configured), filepath.Join(directory, "config.json"))
}
