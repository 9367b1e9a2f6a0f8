package oidc

import (
	"context"
	"errors"
	"fmt"
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
	// fetchTime ends a fetch. It is that of its own and not what is left to the request that
	// caused it: all requests depend on it.
	fetchTime = 2*requestTimeout + time.Second
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
		found, pending, err := s.look(id, algorithm)
		if pending == nil {
			return found, err
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look answers with what is known, or with what to wait for.
func (s *keySet) look(id string, algorithm jose.SignatureAlgorithm) (found []any, pending chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if age := now.Sub(s.loaded); !s.loaded.IsZero() && age <= keysUsable {
		found = choose(s.keys, id, algorithm)
		if len(found) > 0 && age >= 0 && age < keysFresh {
			return found, nil, nil
		}
	}
	// A clock that was put back must not keep us from asking.
	if pause := now.Sub(s.asked); s.pending == nil && (s.asked.IsZero() || pause < 0 || pause >= fetchPause) {
		s.asked, s.pending = now, make(chan struct{})
		go s.load(s.pending)
	}
	// An issuer that did not answer the last time may take its time again. Who has a key that
	// is known does not wait for that.
	if s.pending != nil && (len(found) == 0 || s.failure == nil) {
		return nil, s.pending, nil
	}
	found, err = settled(found, s.failure)
	return found, nil, err
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
func (s *keySet) load(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	keys, err := s.guarded(ctx)
	if err == nil && len(keys) == 0 {
		err = errors.New("the key set has no key that can be used")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure = err; err == nil {
		s.keys, s.loaded = keys, s.now()
	}
	s.pending = nil
	close(done)
}

// guarded fetches. A panic over what an issuer sends would end the process here.
func (s *keySet) guarded(ctx context.Context) (keys []jose.JSONWebKey, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			keys, err = nil, fmt.Errorf("panic: %v", reason)
		}
	}()
	return s.fetch(ctx)
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
