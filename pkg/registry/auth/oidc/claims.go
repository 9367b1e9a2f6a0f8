package oidc

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
)

// claims is the payload of a token, by the exact names of its claims.
type claims map[string]json.RawMessage

// text reads a claim that must be a string.
func (c claims) text(name string) (string, bool) {
	raw, ok := c[name]
	if !ok {
		return "", false
	}
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil {
		return "", false
	}
	return *text, true
}

// texts reads a claim that is a string or a list of strings; false when it is neither.
func (c claims) texts(name string) ([]string, bool) {
	if one, ok := c.text(name); ok {
		return []string{one}, true
	}
	var many []*string
	if json.Unmarshal(c[name], &many) != nil {
		return nil, false
	}
	list := make([]string, 0, len(many))
	for _, text := range many {
		if text == nil {
			return nil, false
		}
		list = append(list, *text)
	}
	return list, true
}

// time reads a claim in seconds since 1970.
func (c claims) time(name string) (time.Time, bool) {
	var seconds *float64
	if raw, ok := c[name]; !ok || json.Unmarshal(raw, &seconds) != nil || seconds == nil {
		return time.Time{}, false
	}
	if *seconds <= 0 || *seconds > math.MaxInt32*100 {
		return time.Time{}, false
	}
	return time.Unix(int64(*seconds), 0), true
}

// begin reads the claim nbf; the earliest time when there is none. Some issuers send 0 for
// tokens that are good at once.
func (c claims) begin() (time.Time, bool) {
	raw, given := c["nbf"]
	var seconds *float64
	if !given || json.Unmarshal(raw, &seconds) == nil && (seconds == nil || *seconds == 0) {
		return time.Time{}, true
	}
	return c.time("nbf")
}

// identity checks the claims of a payload whose signature was verified, and makes the
// user of them that kube-apiserver would.
func (v *Verifier) identity(payload []byte) (auth.Identity, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return auth.Identity{}, invalid("its payload is no JSON object")
	}
	if err := v.check(c); err != nil {
		return auth.Identity{}, err
	}
	name, err := v.username(c)
	if err != nil {
		return auth.Identity{}, err
	}
	groups, err := v.groups(c)
	if err != nil {
		return auth.Identity{}, err
	}
	return auth.Identity{Username: name, Groups: groups}, nil
}

// check says whether the token is meant for us and good at this moment.
func (v *Verifier) check(c claims) error {
	if issuer, _ := c.text("iss"); issuer != v.options.IssuerURL {
		return invalid("it is of another issuer")
	}
	if audiences, _ := c.texts("aud"); !slices.Contains(audiences, v.options.ClientID) {
		return invalid("it is meant for another audience")
	}
	now := v.options.Now()
	expiry, ok := c.time("exp")
	if !ok || !now.Before(expiry) {
		return invalid("it has expired")
	}
	if begin, ok := c.begin(); !ok || now.Add(leeway).Before(begin) {
		return invalid("it is not good yet")
	}
	for name, want := range v.options.RequiredClaims {
		if got, ok := c.text(name); !ok || got != want {
			return invalid("claim %q has not the required value", name)
		}
	}
	return nil
}

func (v *Verifier) username(c claims) (string, error) {
	claim := v.options.UsernameClaim
	name, ok := c.text(claim)
	if !ok || name == "" {
		return "", invalid("claim %q, the user's name, is missing or no text", claim)
	}
	if raw, given := c["email_verified"]; claim == emailClaim && given {
		var verified bool
		if json.Unmarshal(raw, &verified) != nil || !verified {
			return "", invalid("its e-mail address is not verified")
		}
	}
	name = v.prefix() + name
	if isReserved(name, v.prefix()) {
		return "", invalid("claim %q, the user's name, begins with %q", claim, reserved)
	}
	return name, nil
}

// prefix is what kube-apiserver puts before names with the same settings.
func (v *Verifier) prefix() string {
	switch prefix := v.options.UsernamePrefix; {
	case prefix == "-":
		return ""
	case prefix == "" && v.options.UsernameClaim != emailClaim:
		return v.options.IssuerURL + "#"
	default:
		return prefix
	}
}

// reserved begins the names of users and groups that are Kubernetes' own.
const reserved = "system:"

// isReserved tells whether a provider made a name of Kubernetes itself up: where nothing is
// put before its names, one of its groups could be system:masters. Settings that put such a
// text before all names are an administrator's own business.
func isReserved(name, prefix string) bool {
	return strings.HasPrefix(name, reserved) && !strings.HasPrefix(prefix, reserved)
}

func (v *Verifier) groups(c claims) ([]string, error) {
	var groups []string
	if _, given := c[v.options.GroupsClaim]; v.options.GroupsClaim != "" && given {
		named, ok := c.texts(v.options.GroupsClaim)
		if !ok {
			return nil, invalid("claim %q, the groups, is neither a text nor a list of texts", v.options.GroupsClaim)
		}
		for _, group := range named {
			if group = v.options.GroupsPrefix + group; !isReserved(group, v.options.GroupsPrefix) {
				groups = append(groups, group)
			}
		}
	}
	if !slices.Contains(groups, authenticatedGroup) {
		groups = append(groups, authenticatedGroup)
	}
	return groups, nil
}
