package remote

import (
	"context"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"

	"github.com/opencontainers/go-digest"
)

// open sends a request whose answer is read by somebody else. Until the answer begins, the time of a
// request holds; from then on some byte has to arrive within the idle time.
func (s *source) open(ctx context.Context, r request, authorization string) (*answer, error) {
	streaming, cancel := context.WithCancel(ctx)
	late := s.client.options.Clock.AfterFunc(s.client.options.Timeouts.Request, cancel)
	response, err := s.send(streaming, r, authorization)
	refused := err == nil && response.StatusCode/100 != 2
	if refused {
		// What nobody reads is still part of the request.
		drain(response)
	}
	if !late.Stop() && err == nil && !refused {
		drain(response)
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		if ctx.Err() == nil && errors.Is(err, context.Canceled) {
			err = &Error{Kind: Timeout, Host: s.host, Message: "registry " + s.host + ": no answer in time", cause: err}
		}
		return nil, networkError(ctx, s.host, err)
	}
	reply := &answer{status: response.StatusCode, header: response.Header, length: response.ContentLength}
	if refused {
		cancel()
		return reply, nil
	}
	reply.stream = s.idle(ctx, cancel, response)
	return reply, nil
}

// idleBody ends a stream that stands still.
type idleBody struct {
	source *source
	ctx    context.Context
	cancel context.CancelFunc
	body   io.ReadCloser

	mu    sync.Mutex
	stood bool
}

func (s *source) idle(ctx context.Context, cancel context.CancelFunc, response *http.Response) io.ReadCloser {
	return &idleBody{source: s, ctx: ctx, cancel: cancel, body: response.Body}
}

// Read waits for bytes at most the idle time. The time between two reads, which is the reader's, does
// not count.
func (b *idleBody) Read(p []byte) (int, error) {
	timer := b.source.client.options.Clock.AfterFunc(b.source.client.options.Timeouts.BodyIdle, func() {
		b.mu.Lock()
		b.stood = true
		b.mu.Unlock()
		b.cancel()
	})
	n, err := b.body.Read(p)
	timer.Stop()
	if err == nil || err == io.EOF {
		return n, err
	}
	b.mu.Lock()
	stood := b.stood
	b.mu.Unlock()
	if stood {
		return n, &Error{Kind: Timeout, Host: b.source.host, Message: "registry " + b.source.host + ": the transfer stands still", cause: err}
	}
	return n, networkError(b.ctx, b.source.host, err)
}

// Close implements io.Closer.
func (b *idleBody) Close() error {
	b.cancel()
	return b.body.Close()
}

// verifying checks the digest of a blob that is read to its end.
type verifying struct {
	io.ReadCloser
	host, what string
	wanted     digest.Digest
	hash       hash.Hash
}

func newVerifying(body io.ReadCloser, host, what string, wanted digest.Digest) *verifying {
	return &verifying{ReadCloser: body, host: host, what: what, wanted: wanted, hash: wanted.Algorithm().Hash()}
}

// Read implements io.Reader.
func (v *verifying) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && digest.NewDigest(v.wanted.Algorithm(), v.hash) != v.wanted {
		return n, integrity(v.host, v.what, "its content does not have this digest")
	}
	return n, err
}

func integrity(host, what, text string) *Error {
	return &Error{Kind: ContentIntegrity, Host: host, Message: what + ": content integrity: " + text}
}
