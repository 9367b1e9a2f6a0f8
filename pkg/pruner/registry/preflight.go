package registry

import (
	"context"
	"fmt"
	"net/http"
)

// Preflight finds out whether the registry is there and accepts the credentials. Without a scheme in the
// address, and where that is allowed, http is tried after https.
func (c *Client) Preflight(ctx context.Context) error {
	err := c.reachable(ctx)
	if err != nil && c.options.TryHTTP && c.address.Scheme == "https" {
		c.address.Scheme = "http"
		if plainErr := c.reachable(ctx); plainErr != nil {
			c.address.Scheme = "https"
			return fmt.Errorf("%w; with http: %w", err, plainErr)
		}
		err = nil
	}
	if err != nil {
		return err
	}
	r := request{method: http.MethodGet, path: "/v2/"}
	got, err := c.do(ctx, r)
	switch {
	case err != nil:
		return err
	case got.status == http.StatusUnauthorized:
		return fmt.Errorf("the registry at %s does not accept the token: %w; give another with --registry-token-file or --as-service-account", c.address.String(), refusal(r, got))
	case got.status != http.StatusOK:
		return refusal(r, got)
	}
	return nil
}

// reachable asks without credentials whether a registry is ready.
func (c *Client) reachable(ctx context.Context) error {
	r := request{method: http.MethodGet, path: "/healthz", anonymous: true}
	got, err := c.do(ctx, r)
	if err != nil || got.status == http.StatusOK {
		return err
	}
	root := request{method: http.MethodGet, path: "/", anonymous: true}
	if got, err = c.do(ctx, root); err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return refusal(root, got)
	}
	return nil
}
