package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"image.alauda.io/registry/pkg/oci/remote/keyring"
)

// Credential is one way to log in; the zero value is nobody.
type Credential = keyring.Credential

// maxCredentials bounds how many credentials are tried for one request.
const maxCredentials = 10

// source is a repository at one registry, with the credentials for it. It is safe for concurrent use.
type source struct {
	client *Client
	// host is canonical, connect is the host of URLs.
	host, connect, path string
	insecure            bool
	header              http.Header
	credentials         []Credential
	// unverified says that there are more credentials, for a registry that is verified.
	unverified bool

	mu sync.Mutex
	// worked is the credential that was accepted last and is tried first.
	worked *Credential
	tokens map[Credential]token
	// turn is taken by the one request that pings or asks for a token; it guards tokens.
	turn chan struct{}
}

// newSource opens a location. unverified says that a user wants it unverified: then it sees only what
// may be shown to anybody who answers.
func newSource(c *Client, l location, k *keyring.Keyring, header http.Header, unverified bool) *source {
	credentials, all := k.Lookup(l.host, l.path), 0
	if unverified {
		all = len(credentials)
		credentials = k.Unverified().Lookup(l.host, l.path)
	}
	return &source{
		client: c, host: l.host, connect: connectHost(l.host), path: l.path, insecure: l.insecure, header: header,
		credentials: credentials[:min(len(credentials), maxCredentials)], unverified: all > len(credentials),
		tokens: map[Credential]token{}, turn: make(chan struct{}, 1),
	}
}

func (s *source) name() string { return s.host + "/" + s.path }

// request is what is asked of a registry, without credentials.
type request struct {
	method string
	scheme string
	// path begins with /v2/.
	path   string
	query  url.Values
	header http.Header
	// what names the thing that is asked for in errors.
	what string
	// streams is for bodies that are read by somebody else.
	streams bool
	// login is whose request it is, see loginOf.
	login string
}

// answer is a registry's answer, read to its end unless it is streamed.
type answer struct {
	status int
	header http.Header
	body   []byte
	// stream is set instead of body for answers with success to requests that stream.
	stream io.ReadCloser
	// length is the announced length of the body, or -1.
	length int64
}

// do asks for something that may need a login: with the credential that worked before, with the others
// in their order and finally with none. When all are refused, the error is that of the first
// credential: it is the one that was meant, and "authentication required" would hide what is wrong with it.
func (s *source) do(ctx context.Context, r request, limit int64) (*answer, error) {
	found, err := s.endpoint(ctx)
	if err != nil {
		return nil, err
	}
	r.scheme = found.scheme
	pending := s.attempts(found)
	var refusal error
	var refusedTo Credential
	for i := 0; i < len(pending); i++ {
		reply, err := s.try(ctx, r, found, pending[i], limit)
		if err == nil {
			s.remember(pending[i])
			return reply, nil
		}
		var refused *refusedError
		if !errors.As(err, &refused) {
			s.reconsider(err)
			return nil, err
		}
		if refusal == nil || refusedTo == (Credential{}) {
			refusal, refusedTo = refused.error, pending[i]
		}
		if found.challenge == nil && refused.challenge != nil {
			// A registry that everybody may ping tells only now how to log in.
			found.challenge = refused.challenge
			pending = append(pending, s.attempts(found)...)
		}
	}
	s.reconsider(refusal)
	switch {
	case refusedTo != Credential{}:
	case len(s.credentials) > 0 && isBearer(found.challenge):
		return nil, withheld(refusal, "its token service belongs to somebody else and was not shown the password")
	case s.unverified:
		return nil, withheld(refusal, "the credentials of the cluster are for verified registries only")
	}
	return nil, refusal
}

// reconsider forgets how the registry is spoken to when that may be why a request failed.
func (s *source) reconsider(err error) {
	switch KindOf(err) {
	case Network, Unauthorized, Forbidden:
		s.client.endpoints.drop(endpointKey{host: s.connect, insecure: s.insecure})
	}
}

// withheld explains why a repository that has a credential was asked without it.
func withheld(refusal error, why string) error {
	e := *asError(refusal)
	e.Message += "; " + why
	return &e
}

// attempts lists the credentials to try; the last one is nobody.
func (s *source) attempts(found endpoint) []Credential {
	if found.challenge == nil {
		return []Credential{{}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.credentials), func(c Credential) bool { return !s.usable(found.challenge, c) })
	list = append(list, Credential{})
	if s.worked != nil {
		if i := slices.Index(list, *s.worked); i > 0 {
			list = slices.Insert(slices.Delete(list, i, i+1), 0, *s.worked)
		}
	}
	return list
}

func (s *source) remember(c Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worked = &c
}

// refusedError marks what another credential may get past.
type refusedError struct {
	error
	challenge *challenge
}

func (e *refusedError) Unwrap() error { return e.error }

// try asks with one credential. A token that was issued before and is refused now is replaced once.
func (s *source) try(ctx context.Context, r request, found endpoint, c Credential, limit int64) (*answer, error) {
	r.login = loginOf(c)
	for again := false; ; again = true {
		header, reused, err := s.authorization(ctx, found, c, again)
		if err != nil {
			return nil, err
		}
		reply, err := s.read(ctx, r, header, limit)
		if err != nil {
			return nil, err
		}
		if reply.status == http.StatusUnauthorized && reused && !again {
			continue
		}
		if reply.status/100 == 2 {
			return reply, nil
		}
		failure := s.statusError(reply, r.what, c)
		if reply.status == http.StatusUnauthorized || reply.status == http.StatusForbidden {
			return nil, &refusedError{error: failure, challenge: challengeOf(ctx, s.connect, reply.header)}
		}
		return nil, failure
	}
}

// statusError turns a status into an error. The registry's own text is left out: it may hold anything.
func (s *source) statusError(reply *answer, what string, c Credential) *Error {
	e := &Error{Host: s.host}
	switch reply.status {
	case http.StatusNotFound:
		e.Kind, e.Message = NotFound, what+" not found"
	case http.StatusUnauthorized:
		e.Kind = Unauthorized
		switch {
		case c == (Credential{}):
			e.Message = what + ": authentication required"
		case c.Password != "":
			e.Message = what + ": incorrect username or password"
		default:
			e.Message = what + ": the token is not accepted"
		}
	case http.StatusForbidden:
		e.Kind, e.Message = Forbidden, what+": you may not have access"
	case http.StatusTooManyRequests:
		return throttled(s.host, pause(reply.header.Get("Retry-After"), s.client.options.Clock.Now()))
	default:
		e.Kind, e.Message = Internal, fmt.Sprintf("%s: the registry answered with status %d", what, reply.status)
	}
	return e
}

// read sends a request and reads the answer to its end, at most limit bytes. The body of an answer
// that is no success is not kept.
func (s *source) read(ctx context.Context, r request, authorization string, limit int64) (*answer, error) {
	if r.streams {
		return s.open(ctx, r, authorization)
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.options.Timeouts.Request)
	defer cancel()
	response, err := s.send(ctx, r, authorization)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	reply := &answer{status: response.StatusCode, header: response.Header, length: response.ContentLength}
	if r.method == http.MethodHead || reply.status/100 != 2 {
		drain(response)
		return reply, nil
	}
	if reply.length > limit {
		return reply, tooLarge(s.host, r.what, limit)
	}
	reply.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, networkError(ctx, s.host, err)
	}
	if int64(len(reply.body)) > limit {
		return reply, tooLarge(s.host, r.what, limit)
	}
	return reply, nil
}

func tooLarge(host, what string, limit int64) *Error {
	return &Error{Kind: TooLarge, Host: host, Message: fmt.Sprintf("%s is larger than %d bytes", what, limit)}
}

// send sends a request; redirects are followed.
func (s *source) send(ctx context.Context, r request, authorization string) (*http.Response, error) {
	u := url.URL{Scheme: r.scheme, Host: s.connect, Path: r.path, RawQuery: r.query.Encode()}
	ctx = withTerms(ctx, terms{insecure: s.insecure, streams: r.streams, login: r.login})
	outgoing, err := http.NewRequestWithContext(ctx, r.method, u.String(), nil)
	if err != nil {
		return nil, &Error{Kind: Internal, Host: s.host, Message: "registry " + s.host + ": this is no name of a host"}
	}
	for _, header := range []http.Header{s.header, r.header} {
		for key, values := range header {
			outgoing.Header[http.CanonicalHeaderKey(key)] = slices.Clone(values)
		}
	}
	outgoing.Header.Set("User-Agent", s.client.options.UserAgent)
	if authorization != "" {
		outgoing.Header.Set("Authorization", authorization)
	}
	response, err := s.client.http.Do(outgoing)
	if err != nil {
		return nil, networkError(ctx, s.host, err)
	}
	return response, nil
}

func unwrapped(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.cause
	}
	return err
}
