package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"image.alauda.io/registry/pkg/pruner/options"
	"image.alauda.io/registry/pkg/pruner/registry"
	"image.alauda.io/registry/pkg/version"
)

// serviceHost is set in every Pod.
const serviceHost = "KUBERNETES_SERVICE_HOST"

// connectRegistry finds the registry and makes sure that it is there and accepts the credentials. A
// kubeconfig without a token is a mistake in usage, everything else a failed preflight.
func (c clients) connectRegistry(ctx context.Context, settings options.Registry, connections int, clock clock.Clock) (*registry.Client, error) {
	tokens, err := c.tokens(ctx, settings, clock)
	if err != nil {
		return nil, err
	}
	address, withScheme, err := c.findRegistry(ctx, settings)
	if err != nil {
		return nil, retryable(exitRegistry, err)
	}
	authorities, err := c.authorities(settings)
	if err != nil {
		return nil, failure(exitUsage, "%w", err)
	}
	insecure := settings.ForceInsecure || settings.CertificateAuthority == "" && c.config != nil && c.config.Insecure
	client, err := registry.New(registry.Options{
		Address: address, TryHTTP: insecure && !withScheme, Authorities: authorities, Insecure: insecure,
		Tokens: tokens, UserAgent: version.UserAgent(userAgent), Connections: connections, Clock: clock,
	})
	if err != nil {
		return nil, failure(exitFailed, "%w", err)
	}
	if err := client.Preflight(ctx); err != nil {
		return nil, retryable(exitRegistry, fmt.Errorf("the registry cannot be used: %w", err))
	}
	return client, nil
}

// tokens returns the source of tokens after a first look into it.
func (c clients) tokens(ctx context.Context, settings options.Registry, clock clock.PassiveClock) (registry.TokenSource, error) {
	var tokens registry.TokenSource
	switch {
	case settings.TokenFile != "":
		tokens = registry.FileTokens{Path: settings.TokenFile}
	case settings.ServiceAccount != "":
		namespace, name, _ := strings.Cut(settings.ServiceAccount, "/")
		tokens = &registry.ServiceAccountTokens{Kube: c.kube, Namespace: namespace, Name: name, Clock: clock}
	case c.config == nil:
		return nil, failure(exitUsage, "%w", registry.ErrNoToken)
	default:
		var err error
		if tokens, err = registry.NewKubeconfigTokens(c.config); err != nil {
			return nil, failure(exitUsage, "--kubeconfig: %w", err)
		}
	}
	_, err := tokens.Token(ctx, false)
	switch {
	case errors.Is(err, registry.ErrNoToken):
		return nil, failure(exitUsage, "%w", err)
	case err != nil:
		return nil, retryable(exitRegistry, &registry.TokenError{Err: err})
	}
	return tokens, nil
}

func (c clients) findRegistry(ctx context.Context, settings options.Registry) (address *url.URL, withScheme bool, err error) {
	if address, withScheme := settings.Address(); address != nil {
		return address, withScheme, nil
	}
	finder := registry.Finder{
		InPod: os.Getenv(serviceHost) != "", Kube: c.kube, Image: c.image, Parse: options.ParseRegistryURL, PageSize: pageSize,
	}
	address, err = finder.Find(ctx)
	return address, false, err
}

// authorities are trusted besides those of the system.
func (c clients) authorities(settings options.Registry) ([][]byte, error) {
	var bundles [][]byte
	if c.config != nil {
		config := rest.CopyConfig(c.config)
		if err := rest.LoadTLSFiles(config); err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		bundles = append(bundles, config.CAData)
	}
	if settings.CertificateAuthority != "" {
		bundle, err := os.ReadFile(settings.CertificateAuthority)
		if err != nil {
			return nil, fmt.Errorf("--certificate-authority: %w", err)
		}
		bundles = append(bundles, bundle)
	}
	return bundles, nil
}
