package oidc

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// keysFresh is how long keys are used without asking again.
	keysFresh = 10 * time.Minute
	// keysUsable is how long known keys are used while the issuer does not answer: its bad
	// day must not stop the pulls of its users, but a key must not be good forever because
	// somebody keeps us from its issuer.
	keysUsable = 24 * time.Hour
	// fetchPause is the shortest time between two fetches.
	fetchPause = 10 * time.Second
	// maxTried bounds the keys that one token is compared with.
	maxTried = 16
)

// keySet keeps the keys of an issuer. Nothing is fetched before the first question.
type keySet struct {
	fetch func(ctx context.Context) ([]jose.JSONWebKey, error)
	now   func() time.Time

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	loaded  time.Time // of keys; zero when there were never any
	asked   time.Time // the last fetch, good or bad
	failure error     // of the last fetch
	pending chan struct{}
}

// find returns the keys that a token with this key id and algorithm may be signed with;
// none when the issuer has no such key. An error means that nobody knows.
func (s *keySet) find(ctx context.Context, id string, algorithm jose.SignatureAlgorithm) ([]any, error) {
	for {
		s.mu.Lock()
		now := s.now()
		found := choose(s.keys, id, algorithm)
		age := now.Sub(s.loaded)
		if s.loaded.IsZero() || age > keysUsable {
			found, age = nil, keysUsable+1
		}
		if len(found) > 0 && age < keysFresh {
			s.mu.Unlock()
			return found, nil
		}
		if s.pending != nil {
			pending := s.pending
			s.mu.Unlock()
			select {
			case <-pending:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if !s.asked.IsZero() && now.Sub(s.asked) < fetchPause {
			failure := s.failure
			s.mu.Unlock()
			return settled(found, failure)
		}
		s.asked, s.pending = now, make(chan struct{})
		s.mu.Unlock()
		s.load(ctx)
	}
}

// settled is the answer when nothing newer can be had: a key that is known is used; that a
// key is unknown is believed only if the issuer answered the last time.
func settled(found []any, failure error) ([]any, error) {
	if len(found) == 0 && failure != nil {
		return nil, failure
	}
	return found, nil
}

// load fetches the keys for all who wait.
func (s *keySet) load(ctx context.Context) {
	keys, err := s.fetch(ctx)
	if err == nil && len(keys) == 0 {
		err = errors.New("the key set has no key that can be used")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err == nil {
		s.keys, s.loaded = keys, s.now()
	}
	close(s.pending)
	s.pending = nil
}

// choose picks by key id, and by algorithm where the key says one. A token without key id
// is compared with all keys.
func choose(keys []jose.JSONWebKey, id string, algorithm jose.SignatureAlgorithm) (found []any) {
	for _, key := range keys {
		if id != "" && key.KeyID != id || key.Algorithm != "" && key.Algorithm != string(algorithm) {
			continue
		}
		if found = append(found, key.Key); len(found) == maxTried {
			break
		}
	}
	return found
}
