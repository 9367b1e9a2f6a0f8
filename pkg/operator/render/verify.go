package render

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/imageapiconfig"
	"image.alauda.io/registry/pkg/operator/fault"
)

// This file refuses settings that the API server of the cluster takes and the servers do not: a registry on a volume
// of one writer ends before the next one starts, so a setting with which none starts would be an outage.

func refuse(format string, args ...any) error {
	return fault.Permanentf(registryv1.ReasonVerificationFailed, format, args...)
}

// proxySchemes are those by which the servers can reach a proxy.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// checkProxy never repeats the address: it may hold a password, and clients show an address that they cannot read in
// every error.
func checkProxy(field, address string) error {
	if address == "" {
		return nil
	}
	complete := address
	if !strings.Contains(address, "://") {
		complete = "http://" + address // as clients read it
	}
	proxy, err := url.Parse(complete)
	if err != nil || proxy.Hostname() == "" || !slices.Contains(proxySchemes, proxy.Scheme) || strings.ContainsFunc(address, unicode.IsSpace) {
		return refuse("%s is not the address of a proxy; write it as http://host:port, with signs like @ and / in a password percent-encoded", field)
	}
	return nil
}

// proxy is the proxy that the servers use, with the names of the places where it comes from.
func (in Inputs) proxy() (registryv1.ProxySpec, error) {
	spec := in.Config.Spec.Proxy
	chosen := registryv1.ProxySpec{}
	for _, setting := range []struct {
		into                            *string
		value, fallback, name, variable string
	}{
		{&chosen.HTTP, spec.HTTP, in.Proxy.HTTP, "http", "HTTP_PROXY"},
		{&chosen.HTTPS, spec.HTTPS, in.Proxy.HTTPS, "https", "HTTPS_PROXY"},
		{&chosen.NoProxy, spec.NoProxy, in.Proxy.NoProxy, "noProxy", "NO_PROXY"},
	} {
		value, field := setting.value, "spec.proxy."+setting.name+" of Config cluster"
		if value == "" {
			value, field = setting.fallback, "environment variable "+setting.variable+" of the operator"
		}
		if setting.name != "noProxy" {
			if err := checkProxy(field, value); err != nil {
				return chosen, err
			}
		} else if strings.ContainsFunc(strings.TrimSpace(value), unicode.IsControl) {
			return chosen, refuse("%s holds line breaks or other control characters; write hosts and networks with commas between them", field)
		}
		*setting.into = value
	}
	return chosen, nil
}

// checkOIDC refuses an issuer with which the registry would not start.
func (in Inputs) checkOIDC() error {
	issuer := in.OIDC.IssuerURL
	if !strings.HasPrefix(issuer, "https://") {
		return nil // the registry does without it
	}
	address, err := url.Parse(issuer)
	if err == nil && address.Hostname() != "" && address.User == nil && !strings.ContainsAny(issuer, "?#") && !strings.ContainsFunc(issuer, unicode.IsSpace) {
		return nil
	}
	if in.Config.Spec.Auth.OIDC.IssuerURL == "" {
		return refuse("key oidcIssuer of ConfigMap kube-public/global-info is not an https URL without user, query and fragment; correct it, or set spec.auth.oidc.issuerURL of Config cluster")
	}
	return refuse("spec.auth.oidc.issuerURL of Config cluster is not an https URL without user, query and fragment; write it as the issuer names itself")
}

// apiServerText is the configuration of image-api-server. What the server would refuse is refused here, because the
// server would go on with the last good one and fail when it starts the next time.
func (in Inputs) apiServerText() (string, error) {
	settings, err := apiServerSettings(in)
	if err != nil {
		return "", err
	}
	extra, err := rawObject(in.Config.Spec.ImageAPI.Config)
	if err != nil {
		return "", refuse("spec.imageAPI.config: %v", err)
	}
	merge(settings, extra)
	text, err := yaml.Marshal(settings)
	if err != nil {
		return "", fmt.Errorf("configuration of image-api-server: %w", err)
	}
	if _, err := imageapiconfig.Parse(text); err != nil {
		return "", refuse("spec.imageAPI of Config cluster, with spec.imageAPI.config, makes a configuration that image-api-server refuses: %s; correct these settings",
			strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return string(text), nil
}
