package remote

import (
	"errors"
	"time"
)

// Kind says what went wrong, in the terms in which it is reported to users.
type Kind string

// The kinds of an Error.
const (
	// NotFound: the registry does not have the repository, manifest or blob.
	NotFound Kind = "NotFound"
	// Unauthorized: no credential, or none that the registry knows.
	Unauthorized Kind = "Unauthorized"
	// Forbidden: the registry knows the user and refuses.
	Forbidden Kind = "Forbidden"
	// Blocked: the configuration of this client forbids the host, its address or a redirect.
	Blocked Kind = "Blocked"
	// TooManyRequests: the host asked for a pause; Error.RetryAfter is what is left of it.
	TooManyRequests Kind = "TooManyRequests"
	// Timeout: the time of the request or of its caller ran out.
	Timeout Kind = "Timeout"
	// NotV2Registry: the host answers, but it is no registry.
	NotV2Registry Kind = "NotV2Registry"
	// ContentIntegrity: the content does not have the digest that was announced or asked for.
	ContentIntegrity Kind = "ContentIntegrity"
	// TooLarge: the content is larger than its limit.
	TooLarge Kind = "TooLarge"
	// Network: no connection, a broken one, or one whose certificate is not trusted.
	Network Kind = "Network"
	// Internal: every other failure of the registry.
	Internal Kind = "Internal"
)

// Error is the failure of a request to a registry. The same failure always has the same text.
type Error struct {
	Kind Kind
	// Host is the registry as references spell it; of several sources it is the last one asked.
	Host string
	// Message is for users: no credential, no address of a connection, no text of the registry.
	Message string
	// RetryAfter is set with TooManyRequests: how long the host should be left alone from now on.
	RetryAfter time.Duration

	cause error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what the network or the context reported, which is not meant for users.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of an error of this package, and Internal for every other one.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}
