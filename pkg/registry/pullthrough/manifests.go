package pullthrough

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// manifestFlights are the manifests that are being fetched, by repository and digest.
type manifestFlights struct {
	mu      sync.Mutex
	running map[string]*manifestFlight
}

type manifestFlight struct {
	done chan struct{}
	raw  []byte
	err  error
}

// Manifest fetches a manifest that the stream contains and returns its bytes. Callers who
// want the same one of the same repository share a fetch, which does not end when one of
// them leaves. Nobody waits for the copy into the storage.
func (s *Service) Manifest(ctx context.Context, r Request) ([]byte, error) {
	list, err := s.manifestSources(ctx, &r)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, s.refusal(&r, nil, apierror.CodeManifestUnknown)
	}
	if err := s.checkLoop(&r); err != nil {
		return nil, err
	}
	// Two registries whose clients wait for each other's fetch would wait for ever.
	if len(r.Passed) > 0 {
		raw, err := s.fetchManifest(ctx, &r, list)
		if err == nil {
			s.keepManifest(ctx, &r, raw)
		}
		return raw, err
	}
	key := r.Name.String() + " " + r.Digest.String() + " " + list[0].key()
	s.manifests.mu.Lock()
	flight, running := s.manifests.running[key]
	if !running {
		flight = &manifestFlight{done: make(chan struct{})}
		s.manifests.running[key] = flight
		s.work.Go(func() { s.fly(flight, key, r, list) })
	}
	s.manifests.mu.Unlock()
	select {
	case <-flight.done:
		return flight.raw, flight.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Service) fly(flight *manifestFlight, key string, r Request, list []source) {
	ctx := trace.ContextWithSpanContext(s.base, r.Trace)
	flight.raw, flight.err = s.fetchManifest(ctx, &r, list)
	close(flight.done)
	if flight.err == nil {
		// Until the copy is there, others get these bytes.
		s.keepManifest(ctx, &r, flight.raw)
	}
	s.manifests.mu.Lock()
	defer s.manifests.mu.Unlock()
	delete(s.manifests.running, key)
}

// manifestSources looks at the history alone first: only children of an index need what
// the images of the stream consist of.
func (s *Service) manifestSources(ctx context.Context, r *Request) ([]source, error) {
	history := events(r.Stream, s.own)
	if list := manifestSources(history, nil, r.Tag, r.Digest, s.options.Limits.Sources); len(list) > 0 {
		return list, nil
	}
	layers, err := r.Layers(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, member := layers.Images[r.Digest.String()]; !member {
		return nil, nil
	}
	return manifestSources(history, layers, r.Tag, r.Digest, s.options.Limits.Sources), nil
}

func (s *Service) fetchManifest(ctx context.Context, r *Request, list []source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.Limits.Search)
	defer cancel()
	leave, err := s.manifestGate.enter(ctx, r.Name.Namespace)
	if err != nil {
		return nil, apierror.New(http.StatusTooManyRequests, apierror.CodeTooManyRequests,
			"too many manifests are being fetched for namespace %s, try again", r.Name.Namespace).WithRetryAfter(apierror.DefaultRetryAfter)
	}
	defer leave()
	found, err := search(ctx, s, r, list, "Manifest", apierror.CodeManifestUnknown, func(repository *remote.Repository) (*remote.Manifest, error) {
		return repository.Manifest(ctx, r.Digest.String())
	})
	if err != nil {
		return nil, err
	}
	return found.Content, nil
}

// keepManifest stores a manifest and links it in the repository. The pull does not depend
// on it.
func (s *Service) keepManifest(ctx context.Context, r *Request, raw []byte) {
	if !s.options.Mirror || r.Digest.Algorithm() != digest.SHA256 {
		return
	}
	err := s.options.Store.PutManifest(ctx, raw, r.Digest)
	if err == nil {
		err = s.options.Store.PutLink(ctx, r.Name, store.Revisions, r.Digest, r.Digest)
	}
	if err != nil {
		s.options.Observer.MirrorDone("failed", 0)
		s.options.Log.Warn("a manifest that was fetched cannot be kept", zap.Stringer("repository", r.Name), zap.Stringer("digest", r.Digest), zap.Error(err))
		return
	}
	s.options.Observer.MirrorDone("ok", int64(len(raw)))
}
