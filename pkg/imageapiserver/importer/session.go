package importer

import (
	"context"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/api/image/reference"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

// session is what the lookups of one request share: clients, places, what was fetched
// already, and how much of it is kept.
type session struct {
	importer *Importer
	request  *Request
	places   *slots

	mu           sync.Mutex
	repositories map[repositoryKey]*opened
	contents     map[contentKey]*content
	// cached and kept count bytes: of contents, and of images in the result.
	cached, kept int64
}

type opened struct {
	repository Repository
	err        error
}

// contentKey names a manifest by tag or digest, or a blob.
type contentKey struct {
	repository repositoryKey
	reference  string
	blob       bool
}

// content is a manifest or blob that is fetched once; done is closed when it is there.
type content struct {
	done      chan struct{}
	raw       []byte
	mediaType string
	err       error
}

func newSession(importer *Importer, request *Request) *session {
	workers := importer.options.Limits.RequestWorkers
	return &session{
		importer: importer, request: request, places: &slots{limit: func() int { return workers }},
		repositories: map[repositoryKey]*opened{}, contents: map[contentKey]*content{},
	}
}

// open returns the client of a repository. Opening costs nothing, so it is done under the lock.
func (s *session) open(key repositoryKey, ref reference.DockerImageReference) (Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	existing, found := s.repositories[key]
	if !found {
		existing = &opened{}
		existing.repository, existing.err = s.importer.options.Registries.Repository(remote.RepositoryOptions{
			Reference: ref.AsRepository(), Insecure: key.insecure, Keyring: s.request.Keyring,
		})
		s.repositories[key] = existing
	}
	return existing.repository, existing.err
}

// ask runs one request to a registry when the request, its tenant, the registry and the process
// have a place for it. Places are taken in this order and held by single requests only, so nobody
// who holds one waits for a place that depends on him, and nobody who waits for his tenant's keeps
// others from a registry.
func (s *session) ask(ctx context.Context, host string, do func() error) error {
	if err := s.places.acquire(ctx); err != nil {
		return err
	}
	defer s.places.release()
	if tenant := s.request.Tenant; tenant != "" {
		leave, err := s.importer.tenants.acquire(ctx, tenant)
		if err != nil {
			return err
		}
		defer leave()
	}
	release, err := s.importer.hosts.acquire(ctx, host)
	if err != nil {
		return err
	}
	defer release()
	if err := s.importer.process.acquire(ctx); err != nil {
		return err
	}
	defer s.importer.process.release()
	return do()
}

// once fetches a content, or waits for whoever fetches it already. What somebody else could
// not finish in his time is tried again.
func (s *session) once(ctx context.Context, key contentKey, fetch func() ([]byte, string, error)) (*content, error) {
	for {
		s.mu.Lock()
		existing, found := s.contents[key]
		if !found {
			existing = &content{done: make(chan struct{})}
			s.contents[key] = existing
			s.mu.Unlock()
			s.fill(ctx, key, existing, fetch)
			return existing, existing.err
		}
		s.mu.Unlock()
		select {
		case <-existing.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if existing.err == nil || FromRemote(existing.err).Reason != reasons[remote.Timeout] {
			return existing, existing.err
		}
	}
}

// fill fetches a content and keeps it if there is room. Answers are kept, time-outs never:
// they are about the one who asked.
func (s *session) fill(ctx context.Context, key contentKey, c *content, fetch func() ([]byte, string, error)) {
	finished := false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		size := int64(len(c.raw))
		switch {
		case !finished:
			c.err = inside()
			delete(s.contents, key)
		case c.err != nil && FromRemote(c.err).Reason == reasons[remote.Timeout],
			s.cached+size > s.importer.options.Limits.CacheBytes, !s.importer.memory.take(size):
			delete(s.contents, key)
		default:
			s.cached += size
		}
		close(c.done)
	}()
	c.err = s.ask(ctx, key.repository.host, func() (err error) {
		c.raw, c.mediaType, err = fetch()
		return err
	})
	finished = true
}

// manifest fetches and checks a manifest. announced is what an index says about its type,
// which counts more than what the registry says: the index is covered by a digest.
func (s *session) manifest(ctx context.Context, key repositoryKey, repository Repository, tagOrDigest, announced string) (*manifest.Manifest, error) {
	got, err := s.once(ctx, contentKey{repository: key, reference: tagOrDigest}, func() ([]byte, string, error) {
		m, err := repository.Manifest(ctx, tagOrDigest)
		if err != nil {
			return nil, "", err
		}
		return m.Content, m.MediaType, nil
	})
	if err != nil {
		return nil, err
	}
	mediaType := got.mediaType
	if announced != "" {
		mediaType = announced
	}
	var parsed *manifest.Manifest
	err = s.parse(ctx, func() (err error) {
		parsed, err = manifest.Parse(got.raw, mediaType)
		return err
	})
	return parsed, err
}

// parse runs what makes objects of bytes.
func (s *session) parse(ctx context.Context, do func() error) error {
	if err := s.importer.parsing.acquire(ctx); err != nil {
		return err
	}
	defer s.importer.parsing.release()
	return do()
}

// config fetches the config blob of an image.
func (s *session) config(ctx context.Context, key repositoryKey, repository Repository, descriptor v1.Descriptor) ([]byte, error) {
	if descriptor.Size > manifest.MaxConfigBytes {
		return nil, invalid("the config has %d bytes, more than %d", descriptor.Size, manifest.MaxConfigBytes)
	}
	got, err := s.once(ctx, contentKey{repository: key, reference: descriptor.Digest.String(), blob: true}, func() ([]byte, string, error) {
		raw, err := repository.Blob(ctx, descriptor.Digest, manifest.MaxConfigBytes)
		return raw, "", err
	})
	if err != nil {
		return nil, err
	}
	return got.raw, sameSize(int64(len(got.raw)), descriptor)
}

// sameSize refuses content of another size than its descriptor says: clients would refuse it
// when they pull, and quotas would count something else than what is stored.
func sameSize(size int64, descriptor v1.Descriptor) error {
	if size == descriptor.Size {
		return nil
	}
	return newError(reasons[remote.ContentIntegrity], "content integrity: "+descriptor.Digest.String()+" has another size than its descriptor says")
}

// head asks for the digest behind a tag; empty if the registry does not tell it.
func (s *session) head(ctx context.Context, key repositoryKey, repository Repository, tag string) (digest.Digest, error) {
	var answer remote.Descriptor
	err := s.ask(ctx, key.host, func() (err error) {
		answer, err = repository.Head(ctx, tag)
		return err
	})
	return answer.Digest, err
}

// keep counts bytes that go into the result, and fails when there is no room for them.
func (s *session) keep(size int64) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept+size > s.importer.options.Limits.ResultBytes {
		return tooLargeTogether()
	}
	if !s.importer.memory.take(size) {
		return busy()
	}
	s.kept += size
	return nil
}

// end gives back what the request kept. Whoever has the result has it no longer than it takes to store it.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.importer.memory.give(s.cached + s.kept)
	s.cached, s.kept = 0, 0
}

// busyPause is when an import that found no room is worth another attempt.
const busyPause = 30 * time.Second

func busy() *Error {
	err := newError(metav1.StatusReasonTooManyRequests, "the server imports too much at present")
	err.RetryAfter, err.Transient = busyPause, true
	return err
}
