package handlers

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
)

const (
	tokenFormLimit = 64 << 10
	minTokenLife   = 60 * time.Second
	maxTokenLife   = 300 * time.Second
)

// tokenAnswer is the body of a token request. The token is the caller's own.
type tokenAnswer struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
	IssuedAt    string `json:"issued_at"`
	Scope       string `json:"scope,omitempty"`
}

// token gives clients the bearer token of their credentials.
func (h *Handlers) token(req *request) error {
	req.w.Header().Set("Cache-Control", "no-store")
	if req.Method == http.MethodPost {
		return h.postToken(req)
	}
	header := req.Header.Get("Authorization")
	if header == "" {
		if !h.Options.Anonymous {
			return h.badCredentials("authentication required")
		}
		return h.giveToken(req, auth.AnonymousToken, "")
	}
	token, ok := auth.Credential(header)
	if !ok {
		return h.badCredentials("the credentials cannot be used: send a Kubernetes token as the password")
	}
	return h.exchange(req, token, "")
}

// postToken is the form of OAuth 2.
func (h *Handlers) postToken(req *request) error {
	raw, err := io.ReadAll(io.LimitReader(req.Body, tokenFormLimit+1))
	if err != nil {
		return bodyError(req, err)
	}
	if len(raw) > tokenFormLimit {
		return apierror.New(http.StatusRequestEntityTooLarge, apierror.CodeUnsupported, "the form is larger than 64 KiB")
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return apierror.New(http.StatusBadRequest, apierror.CodeUnsupported, "the body is not a form")
	}
	token := ""
	switch form.Get("grant_type") {
	case "password":
		token = form.Get("password")
	case "refresh_token":
		token = form.Get("refresh_token")
	default:
		return apierror.New(http.StatusBadRequest, apierror.CodeUnsupported, "grant_type must be password or refresh_token")
	}
	if token == "" {
		return h.badCredentials("the token is empty")
	}
	return h.exchange(req, token, form.Get("scope"))
}

func (h *Handlers) exchange(req *request, token, scope string) error {
	identity, err := h.Authenticator.Token(req.Context(), token)
	req.record.Identity = identity
	switch {
	case errors.Is(err, auth.ErrInvalidCredentials):
		return h.badCredentials("the token is not valid")
	case err != nil:
		return reviewFailed(err)
	}
	return h.giveToken(req, token, scope)
}

func (h *Handlers) giveToken(req *request, token, scope string) error {
	now := h.Now()
	life := minTokenLife
	if expiry, ok := auth.Expiry(token); ok {
		life = min(max(expiry.Sub(now), minTokenLife), maxTokenLife)
	}
	return writeJSON(req, http.StatusOK, "application/json", tokenAnswer{
		Token: token, AccessToken: token, ExpiresIn: int(life / time.Second),
		IssuedAt: now.UTC().Format(time.RFC3339), Scope: scope,
	})
}

func (h *Handlers) badCredentials(message string) error {
	return apierror.New(http.StatusUnauthorized, apierror.CodeUnauthorized, "%s", message).
		WithHeader("WWW-Authenticate", h.Challenge.Basic())
}
