package registry

import (
	"context"
	"errors"
	"net/http"
)

// Outcome of a deletion.
type Outcome int

// The outcomes.
const (
	// Failed: the error says why.
	Failed Outcome = iota
	// Done: the link is gone, or was before.
	Done
	// Skipped: the registry still needs the link; the error says why.
	Skipped
)

// DeleteManifest removes the link of a manifest from a repository, if nothing reaches it there.
func (c *Client) DeleteManifest(ctx context.Context, repository, digest string) (Outcome, error) {
	return c.deleteLink(ctx, "/v2/"+repository+"/manifests/"+digest)
}

// DeleteBlob removes the link of a blob from a repository, if nothing needs it there.
func (c *Client) DeleteBlob(ctx context.Context, repository, digest string) (Outcome, error) {
	return c.deleteLink(ctx, "/v2/"+repository+"/blobs/"+digest)
}

// deleteLink lets a request in flight end after an interruption. A refusal that every further deletion
// would meet as well stops all of them.
func (c *Client) deleteLink(ctx context.Context, path string) (Outcome, error) {
	r := request{method: http.MethodDelete, path: path, query: "onlyunreferenced=true"}
	ctx, cancel := detached(ctx)
	defer cancel()
	got, err := c.do(ctx, r)
	if err != nil {
		return Failed, c.tokenStops(err)
	}
	switch got.status {
	case http.StatusAccepted, http.StatusNotFound:
		return Done, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return Failed, c.stop(refusal(r, got))
	}
	refused := refusal(r, got)
	switch {
	case refused.ReadOnly():
		return Failed, c.stop(errors.New("the registry is read-only"))
	case refused.Status == http.StatusMethodNotAllowed:
		return Skipped, refused
	}
	return Failed, refused
}

func (c *Client) tokenStops(err error) error {
	var tokenErr *TokenError
	if errors.As(err, &tokenErr) {
		return c.stop(err)
	}
	return err
}

// detached returns a context that outlives an interruption of ctx by as long as a request may still take.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	free, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		limited, done := context.WithTimeout(context.WithoutCancel(ctx), graceTimeout)
		defer done()
		select {
		case <-limited.Done():
			cancel(context.Cause(ctx))
		case <-free.Done():
		}
	})
	return free, func() {
		stop()
		cancel(nil)
	}
}
