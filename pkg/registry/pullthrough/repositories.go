package pullthrough

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/util/cache"
)

const (
	rememberedRepositories = 1000
	rememberedFinds        = 24576
	findLifetime           = 5 * time.Minute
)

// repositories are the sources that are in use, with the credential that worked, and
// where something was found last. Both are kept for each stream on its own.
type repositories struct {
	service *Service
	open    *cache.LRUExpireCache
	found   *cache.LRUExpireCache
}

func newRepositories(s *Service) *repositories {
	now := clock(s.options.Now)
	return &repositories{
		service: s, open: cache.NewLRUExpireCacheWithClock(rememberedRepositories, now),
		found: cache.NewLRUExpireCacheWithClock(rememberedFinds, now),
	}
}

// get opens a source for a stream. What comes from another registry carries a header of
// its own, so it is not kept.
func (r *repositories) get(ctx context.Context, name route.Name, from source, passed []string) (*remote.Repository, error) {
	key := name.String() + " " + from.key()
	if len(passed) == 0 {
		if known, ok := r.open.Get(key); ok {
			return known.(*remote.Repository), nil
		}
	}
	repository, err := r.service.options.Client.Repository(remote.RepositoryOptions{
		Reference: from.reference, Insecure: from.insecure, Keyring: r.service.keyrings.of(ctx, name),
		Header: http.Header{HeaderPassed: append(slices.Clone(passed), r.service.mark(name))},
	})
	if err == nil && len(passed) == 0 {
		r.open.Add(key, repository, secretsLifetime)
	}
	return repository, err
}

func (r *repositories) remember(name route.Name, d digest.Digest, from source) {
	r.found.Add(name.String()+" "+d.String(), from.key(), findLifetime)
}

// LastSource is the host of the registry that something of a stream was found in last, ""
// when that is not known any more.
func (s *Service) LastSource(name route.Name, d digest.Digest) string {
	known, ok := s.repositories.found.Get(name.String() + " " + d.String())
	if !ok {
		return ""
	}
	host, _, _ := strings.Cut(known.(string), "/")
	return host
}

// sorted puts the source that had the digest last to the front.
func (r *repositories) sorted(name route.Name, d digest.Digest, list []source) []source {
	known, ok := r.found.Get(name.String() + " " + d.String())
	if !ok {
		return list
	}
	i := slices.IndexFunc(list, func(s source) bool { return s.key() == known.(string) })
	if i <= 0 {
		return list
	}
	front := list[i]
	return slices.Insert(slices.Delete(slices.Clone(list), i, i+1), 0, front)
}

// search asks the sources one after the other.
func search[T any](ctx context.Context, s *Service, r *Request, list []source, operation string, code apierror.Code, ask func(*remote.Repository) (T, error)) (T, error) {
	var none T
	if err := s.checkLoop(r); err != nil {
		return none, err
	}
	leave, err := s.questions.enter(ctx, r.Name.Namespace)
	if err != nil {
		return none, apierror.New(http.StatusTooManyRequests, apierror.CodeTooManyRequests,
			"too many questions to other registries for namespace %s, try again", r.Name.Namespace).WithRetryAfter(apierror.DefaultRetryAfter)
	}
	defer leave()
	var failures []failure
	for _, from := range s.repositories.sorted(r.Name, r.Digest, list) {
		start := s.options.Now()
		repository, err := s.repositories.get(ctx, r.Name, from, r.Passed)
		var found T
		if err == nil {
			found, err = ask(repository)
		}
		s.options.Observer.RemoteDone(from.reference.Registry, operation, codeOf(err), s.options.Now().Sub(start))
		if err == nil {
			s.repositories.remember(r.Name, r.Digest, from)
			return found, nil
		}
		failures = append(failures, failure{from, err})
		if ctx.Err() != nil {
			break
		}
	}
	return none, s.refusal(r, failures, code)
}
