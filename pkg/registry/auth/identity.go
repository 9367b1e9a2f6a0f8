package auth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	// AnonymousToken is the bearer token of requests without credentials.
	AnonymousToken = "anonymous"

	anonymousUser  = "system:anonymous"
	anonymousGroup = "system:unauthenticated"
)

// Identity is the verified caller of a request.
type Identity struct {
	Username string
	UID      string
	Groups   []string
	Extra    map[string][]string
	// PullOnly is set for managed pull credentials: tokens for the registry's own
	// audience that are bound to a Secret.
	PullOnly bool

	// sum is what key returns, computed once for an identity that is kept.
	sum string
}

// Anonymous is the identity of callers without credentials.
func Anonymous() Identity {
	return Identity{Username: anonymousUser, Groups: []string{anonymousGroup}}
}

// IsAnonymous tells whether the caller has no credentials.
func (i Identity) IsAnonymous() bool { return i.Username == anonymousUser }

// key distinguishes identities in the access cache. Every text stands behind its length and
// every list behind its number, so that no two identities write the same.
func (i Identity) key() string {
	if i.sum != "" {
		return i.sum
	}
	var raw []byte
	number := func(n int) { raw = binary.AppendUvarint(raw, uint64(n)) }
	texts := func(list ...string) {
		number(len(list))
		for _, text := range list {
			number(len(text))
			raw = append(raw, text...)
		}
	}
	texts(i.Username, i.UID, strconv.FormatBool(i.PullOnly))
	texts(i.Groups...)
	for _, name := range slices.Sorted(maps.Keys(i.Extra)) {
		texts(name)
		texts(i.Extra[name]...)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// Attributes are those of a SubjectAccessReview. Path is set for a path that is not a
// resource, and then nothing else but Verb is.
type Attributes struct {
	Verb        string
	Group       string
	Version     string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	Path        string
}

// TokenResult is the answer of a TokenReview.
type TokenResult struct {
	Authenticated bool
	Identity      Identity
	// Audiences are those of the question that the token is good for.
	Audiences []string
}

// Decision is the answer of a SubjectAccessReview.
type Decision struct {
	Allowed bool
	Reason  string
}

// Reviewer asks the Kubernetes API. An error means that there was no answer.
type Reviewer interface {
	// ReviewToken verifies a token. No audiences means those of the API server.
	ReviewToken(ctx context.Context, token string, audiences []string) (TokenResult, error)
	// ReviewAccess decides one access of one identity.
	ReviewAccess(ctx context.Context, identity Identity, attributes Attributes) (Decision, error)
}

// Verifier verifies tokens of an issuer that the Kubernetes API does not know. A token that
// is wrong gives ErrInvalidCredentials; any other error means that there was no answer.
type Verifier interface {
	// Issuer is the claim iss of its tokens.
	Issuer() string
	Verify(ctx context.Context, token string) (Identity, error)
}

// Outcomes of reviews and cache look-ups, as metrics know them.
const (
	ResultAllowed = "allowed"
	ResultDenied  = "denied"
	ResultError   = "error"
	ResultHit     = "hit"
	ResultMiss    = "miss"

	KindToken  = "token"
	KindAccess = "access"
	KindOIDC   = "oidc"
)

// Observer is told about reviews and caches; all methods may be called concurrently.
type Observer interface {
	ReviewDone(kind, result string, took time.Duration)
	CacheUsed(kind, result string)
}
