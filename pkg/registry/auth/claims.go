package auth

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
)

// maxClaimsLength bounds what is decoded of a token that nobody has verified yet.
const maxClaimsLength = 64 << 10

// claims is what the registry looks at in a JSON Web Token. Nothing in it is trusted
// before the token was verified by a review.
type claims struct {
	Issuer     string          `json:"iss"`
	Audience   audience        `json:"aud"`
	Expiry     json.RawMessage `json:"exp"`
	Kubernetes kubernetesClaim `json:"kubernetes.io"`
}

type kubernetesClaim struct {
	Secret struct {
		Name string `json:"name"`
	} `json:"secret"`
}

// audience is one string or a list of them.
type audience []string

func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = audience{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil {
		return err
	}
	*a = many
	return nil
}

// parseClaims decodes the payload of a token that looks like a JSON Web Token.
func parseClaims(token string) (claims, bool) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[1]) > maxClaimsLength {
		return c, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return claims{}, false
	}
	return c, true
}

// has tells whether the token is meant for the audience.
func (c claims) has(audience string) bool { return slices.Contains(c.Audience, audience) }

// expires returns the end of the token's life; false when it does not say a sane one.
func (c claims) expires() (time.Time, bool) {
	var seconds float64
	if len(c.Expiry) == 0 || json.Unmarshal(c.Expiry, &seconds) != nil || seconds <= 0 || seconds > math.MaxInt32*100 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// Expiry returns when a token says that it ends, without having verified it.
func Expiry(token string) (time.Time, bool) {
	c, ok := parseClaims(token)
	if !ok {
		return time.Time{}, false
	}
	return c.expires()
}
