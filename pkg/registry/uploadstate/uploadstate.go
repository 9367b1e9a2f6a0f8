// Package uploadstate makes and checks the token that an upload carries in the
// `_state` parameter of its Location.
//
// The token binds a session to its repository and id, so that nobody continues an
// upload that he merely guessed the id of, on any replica that has the same secret.
// It is base64url(HMAC-SHA256(secret, json) ‖ json). The offset in it is what the
// client was told last; the stored size stays authoritative.
//
// Tokens are secrets of a kind: they are never logged.
package uploadstate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxLength is the largest token that is looked at, in characters.
const MaxLength = 4096

// ErrInvalid is returned for every token that this secret did not make.
var ErrInvalid = errors.New("upload state is not valid")

// State is what a token says.
type State struct {
	Name      string
	UUID      string
	Offset    int64
	StartedAt time.Time
}

// Signer makes and opens tokens with one secret.
type Signer struct{ secret []byte }

// NewSigner returns a Signer. All replicas must share the secret.
func NewSigner(secret string) *Signer { return &Signer{secret: []byte(secret)} }

// Sign packs the state into a token that fits into a URL as it is.
func (s *Signer) Sign(state State) (string, error) {
	payload, err := json.Marshal(state)
	if err != nil {
		return "", fmt.Errorf("upload state of %s: %w", state.Name, err)
	}
	return base64.RawURLEncoding.EncodeToString(append(s.mac(payload), payload...)), nil
}

// Open checks the signature and unpacks the state.
func (s *Signer) Open(token string) (State, error) {
	var state State
	if len(token) > MaxLength {
		return state, ErrInvalid
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < sha256.Size {
		return state, ErrInvalid
	}
	mac, payload := raw[:sha256.Size], raw[sha256.Size:]
	if !hmac.Equal(mac, s.mac(payload)) {
		return state, ErrInvalid
	}
	if err := json.Unmarshal(payload, &state); err != nil {
		return State{}, ErrInvalid
	}
	return state, nil
}

func (s *Signer) mac(payload []byte) []byte {
	hash := hmac.New(sha256.New, s.secret)
	hash.Write(payload)
	return hash.Sum(nil)
}
