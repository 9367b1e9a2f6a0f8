package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	wellKnown      = "/.well-known/openid-configuration"
	requestTimeout = 4 * time.Second
	maxDocument    = 1 << 20
	maxRedirects   = 3
	maxKeys        = 256
	minRSABits     = 2048
	// maxRSABits bounds the work of a verification, which grows with the square.
	maxRSABits = 16384
)

// issuer asks for the documents of an issuer.
type issuer struct {
	url    string
	caFile string
}

// client trusts what the CA file says now. Connections are not kept: there is one every
// ten minutes.
func (i *issuer) client() (*http.Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
	}
	if i.caFile != "" {
		raw, err := os.ReadFile(i.caFile)
		if err != nil {
			return nil, fmt.Errorf("oidc: cafile: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("oidc: cafile %s has no certificate", i.caFile)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: sameHost}, nil
}

// sameHost lets an issuer move its documents, but send nobody elsewhere.
func sameHost(request *http.Request, via []*http.Request) error {
	first := via[0].URL
	if len(via) > maxRedirects || request.URL.Scheme != "https" || request.URL.Host != first.Host {
		return errors.New("it redirects to another host or too often")
	}
	return nil
}

// keys reads the discovery document and then the key set that it names.
func (i *issuer) keys(ctx context.Context) ([]jose.JSONWebKey, error) {
	client, err := i.client()
	if err != nil {
		return nil, err
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := get(ctx, client, strings.TrimSuffix(i.url, "/")+wellKnown, &discovery); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	if discovery.Issuer != i.url {
		return nil, errors.New("discovery document: it is of another issuer")
	}
	address, err := url.Parse(discovery.JWKSURI)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil {
		return nil, errors.New("discovery document: jwks_uri is no https URL")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(ctx, client, discovery.JWKSURI, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return usable(set.Keys), nil
}

// usable reads the keys that signatures can be verified with. Keys of kinds that are not
// known are left out; an issuer may have them for others.
func usable(raw []json.RawMessage) (keys []jose.JSONWebKey) {
	for _, one := range raw {
		var key jose.JSONWebKey
		if len(keys) == maxKeys || json.Unmarshal(one, &key) != nil || key.Use != "" && key.Use != "sig" || !key.Valid() {
			continue
		}
		switch public := key.Key.(type) {
		case *rsa.PublicKey:
			if size := public.N.BitLen(); size >= minRSABits && size <= maxRSABits {
				keys = append(keys, key)
			}
		case *ecdsa.PublicKey, ed25519.PublicKey:
			keys = append(keys, key)
		}
	}
	return keys
}

func get(ctx context.Context, client *http.Client, address string, document any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		// Without the address: its query may be somebody's business.
		var detailed *url.Error
		if errors.As(err, &detailed) {
			err = detailed.Err
		}
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxDocument+1))
	if err != nil {
		return err
	}
	if len(raw) > maxDocument {
		return fmt.Errorf("more than %d bytes", maxDocument)
	}
	if err := json.Unmarshal(raw, document); err != nil {
		return errors.New("it is no JSON of the expected form")
	}
	return nil
}
