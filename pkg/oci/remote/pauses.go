package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// maxPauses is the number of logins whose pauses are told apart at one registry.
const maxPauses = 100

// everybody stands for all logins, nobody included; no login is called so.
const everybody = "*"

// pauses are the times until which a registry is left alone, by login.
type pauses map[string]time.Time

// of returns the end of the pause of a login.
func (p pauses) of(login string) time.Time {
	if own, all := p[login], p[everybody]; own.After(all) {
		return own
	}
	return p[everybody]
}

// last returns the end of the longest pause.
func (p pauses) last() time.Time {
	var last time.Time
	for _, until := range p {
		if until.After(last) {
			last = until
		}
	}
	return last
}

// begin notes a pause, and forgets those that are over. A registry that sends so many logins away means
// everybody.
func (p *pauses) begin(login string, until, now time.Time) {
	if *p == nil {
		*p = pauses{}
	}
	for known, end := range *p {
		if !end.After(now) {
			delete(*p, known)
		}
	}
	if _, known := (*p)[login]; !known && len(*p) >= maxPauses {
		login = everybody
	}
	if until.After((*p)[login]) {
		(*p)[login] = until
	}
}

// loginOf tells credentials apart without being one; it is empty for nobody.
func loginOf(c Credential) string {
	if c == (Credential{}) {
		return ""
	}
	sum := sha256.New()
	for _, part := range []string{c.Username, c.Password, c.IdentityToken, c.RegistryToken} {
		own := sha256.Sum256([]byte(part))
		_, _ = sum.Write(own[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}
