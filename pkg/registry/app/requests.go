package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/uploadstate"

	"go.uber.org/zap"
)

// requests sets how requests are answered, and how many at a time.
func (b *builder) requests(context.Context) error {
	var err error
	if b.handlers.Options, err = handlerOptions(b.c); err != nil {
		return err
	}
	if err := completeSecret(b.c, b.Log); err != nil {
		return err
	}
	b.handlers.States = uploadstate.NewSigner(b.c.Configuration.HTTP.Secret)
	b.handlers.Reads, b.handlers.Writes = newLimiter(b.c.Alauda.Requests.Read), newLimiter(b.c.Alauda.Requests.Write)
	return nil
}

func newLimiter(limit config.Limit) *limiter.Limiter {
	return limiter.New(limit.MaxRunning, limit.MaxInQueue, limit.MaxWaitInQueue)
}

// handlerOptions reads the settings of the handlers.
func handlerOptions(c *config.Config) (handlers.Options, error) {
	validation := c.Configuration.Validation.Manifests
	options := handlers.Options{
		ServerAddr: c.Alauda.Server.Addr, Host: c.Configuration.HTTP.Host, RelativeURLs: c.Configuration.HTTP.RelativeURLs,
		ReadOnly: c.ReadOnly(), RedirectDisabled: c.RedirectDisabled(),
		RequireCreate: c.Alauda.Auth.RequireCreate, Anonymous: c.Alauda.Auth.Anonymous,
		MaxManifestSize: c.Alauda.Manifests.MaxSize,
		MaxTags:         c.Configuration.Tags.MaxTags, MaxCatalog: c.Configuration.Catalog.MaxEntries,
		IndexPlatforms: string(validation.Indexes.Platforms),
	}
	for _, platform := range validation.Indexes.PlatformList {
		options.Platforms = append(options.Platforms, platform.OS+"/"+platform.Architecture)
	}
	var err error
	if options.AllowURLs, err = patterns(validation.URLs.Allow); err != nil {
		return options, err
	}
	options.DenyURLs, err = patterns(validation.URLs.Deny)
	return options, err
}

func patterns(texts []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("validation.manifests.urls: %w", err)
		}
		list = append(list, pattern)
	}
	return list, nil
}

// completeSecret makes up a secret when none is configured. Uploads then end at the border
// of a replica, hence the warning.
func completeSecret(c *config.Config, log *zap.Logger) error {
	if c.Configuration.HTTP.Secret != "" {
		return nil
	}
	log.Warn("http.secret is empty: a random one is used, uploads cannot move between replicas")
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return fmt.Errorf("http.secret: %w", err)
	}
	c.Configuration.HTTP.Secret = hex.EncodeToString(raw)
	return nil
}
