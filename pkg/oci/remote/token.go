package remote

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// challenge is how a registry wants to be logged in to.
type challenge = transport.Challenge

const (
	maxTokenBody = 64 << 10
	// minTokenLife is what the token protocol promises when nothing is said.
	minTokenLife = 60 * time.Second
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = 10 * time.Second
)

// token lets requests to one repository pass until it expires.
type token struct {
	text    string
	expires time.Time
}

func isBearer(c *challenge) bool { return c != nil && strings.EqualFold(c.Scheme, "bearer") }

// authorization returns the Authorization header for a credential; reused tells that it holds a token
// that was issued earlier and may have been withdrawn since.
func (s *source) authorization(ctx context.Context, found endpoint, c Credential, fresh bool) (header string, reused bool, err error) {
	switch {
	case c.RegistryToken != "":
		return "Bearer " + c.RegistryToken, false, nil
	case isBearer(found.challenge):
		text, reused, err := s.token(ctx, found.challenge, c, fresh)
		if err != nil || text == "" {
			return "", false, err
		}
		return "Bearer " + text, reused, nil
	case found.challenge == nil || c == (Credential{}):
		return "", false, nil
	}
	return basic(c), false, nil
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

// token returns a token for a credential. Only one request at a time asks for one, and the others then
// find it.
func (s *source) token(ctx context.Context, ch *challenge, c Credential, fresh bool) (text string, reused bool, err error) {
	done, err := s.alone(ctx)
	if err != nil {
		return "", false, err
	}
	defer done()
	now := s.client.options.Clock.Now()
	if known, ok := s.tokens[c]; ok && !fresh && now.Before(known.expires) {
		return known.text, true, nil
	}
	issued, err := s.exchange(ctx, ch, c)
	if err != nil {
		return "", false, err
	}
	s.tokens[c] = issued
	return issued.text, false, nil
}

// alone waits for the source's turn to ping or to ask for a token: many requests begin at once, and one
// is enough to find out for all.
func (s *source) alone(ctx context.Context) (done func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, interrupted(ctx, s.host)
	}
}

// exchange asks the token service that the challenge names. It sees the credential only if it belongs
// to the registry and is reached safely; every other one is asked as nobody.
func (s *source) exchange(ctx context.Context, ch *challenge, c Credential) (token, error) {
	realm, trusted := s.realm(ch)
	if realm == nil {
		return token{}, &Error{Kind: Internal, Host: s.host, Message: "registry " + s.host + ": it names no valid token service"}
	}
	if !trusted {
		c = Credential{}
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.options.Timeouts.Request)
	defer cancel()
	ctx = withTerms(ctx, terms{insecure: s.insecure, stays: true, login: loginOf(c)})
	status, body, err := 0, []byte(nil), error(nil)
	if c.IdentityToken != "" {
		status, body, err = s.ask(ctx, refreshRequest(realm, s.scope(), ch.Parameters["service"], c))
	}
	// Services that do not know refresh tokens answer so, and may know the password.
	unknown := status == http.StatusNotFound || status == http.StatusMethodNotAllowed
	if c.IdentityToken == "" || unknown && c.Password != "" {
		status, body, err = s.ask(ctx, tokenRequest(realm, s.scope(), ch.Parameters["service"], c))
	}
	if err != nil {
		return token{}, err
	}
	if status != http.StatusOK {
		failure := s.statusError(&answer{status: status}, s.name(), c)
		if failure.Kind == Unauthorized || failure.Kind == Forbidden {
			return token{}, &refusedError{error: failure, challenge: ch}
		}
		if failure.Kind == NotFound {
			failure.Kind, failure.Message = Internal, "registry "+s.host+": its token service is not found"
		}
		return token{}, failure
	}
	return s.issued(body)
}

// realm reads the address of the token service, nil if it is none, and tells whether the credential for
// the registry may be shown to it.
func (s *source) realm(ch *challenge) (realm *url.URL, trusted bool) {
	realm, err := url.Parse(ch.Parameters["realm"])
	if err != nil || !isHostname(realm.Host) || realm.User != nil || realm.Scheme != "https" && realm.Scheme != "http" {
		return nil, false
	}
	registry, _ := splitPort(s.connect)
	return realm, (realm.Scheme == "https" || s.insecure) && sameOwner(strings.Trim(registry, "[]"), realm.Hostname())
}

// usable tells whether a credential can be used to log in as the registry asks for it. A credential
// that must not be shown to the token service is not: asking without it would be reported as if the
// credential were wrong.
func (s *source) usable(ch *challenge, c Credential) bool {
	if c.RegistryToken != "" {
		return true
	}
	if !isBearer(ch) {
		return c.Password != ""
	}
	_, trusted := s.realm(ch)
	return trusted
}

func (s *source) scope() string { return "repository:" + s.path + ":pull" }

func tokenRequest(realm *url.URL, scope, service string, c Credential) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		u := *realm
		query := u.Query()
		query.Set("scope", scope)
		if service != "" {
			query.Set("service", service)
		}
		u.RawQuery, u.Fragment = query.Encode(), ""
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err == nil && c.Password != "" {
			request.Header.Set("Authorization", basic(c))
		}
		return request, err
	}
}

func refreshRequest(realm *url.URL, scope, service string, c Credential) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {c.IdentityToken}, "scope": {scope},
			"service": {service}, "client_id": {"registry-client"},
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return request, err
	}
}

// ask sends a request to a token service.
func (s *source) ask(ctx context.Context, build func(context.Context) (*http.Request, error)) (int, []byte, error) {
	request, err := build(ctx)
	if err != nil {
		return 0, nil, &Error{Kind: Internal, Host: s.host, Message: "registry " + s.host + ": it names no valid token service"}
	}
	request.Header.Set("User-Agent", s.client.options.UserAgent)
	response, err := s.client.http.Do(request)
	if err != nil {
		return 0, nil, networkError(ctx, s.host, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		drain(response)
		return response.StatusCode, nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenBody+1))
	if err != nil {
		return 0, nil, networkError(ctx, s.host, err)
	}
	if len(body) > maxTokenBody {
		return 0, nil, tooLarge(s.host, "the token of registry "+s.host, maxTokenBody)
	}
	return response.StatusCode, body, nil
}

// issued reads the answer of a token service.
func (s *source) issued(body []byte) (token, error) {
	issued, ok := parseToken(body, s.client.options.Clock.Now())
	if !ok {
		return token{}, &Error{Kind: Internal, Host: s.host, Message: "registry " + s.host + ": its token service gave no token"}
	}
	return issued, nil
}

func parseToken(body []byte, now time.Time) (token, bool) {
	var content struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if json.Unmarshal(body, &content) != nil {
		return token{}, false
	}
	text := content.Token
	if text == "" {
		text = content.AccessToken
	}
	// A token becomes part of a header.
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return token{}, false
	}
	life := minTokenLife
	if content.ExpiresIn > life.Seconds() {
		life = time.Duration(min(content.ExpiresIn, 3600)) * time.Second
	}
	return token{text: text, expires: now.Add(life - tokenMargin)}, true
}
