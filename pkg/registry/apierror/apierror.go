// Package apierror is the one form in which the registry refuses a request.
//
// Handlers return an *Error; Write turns it, in exactly one place, into a status,
// headers and one JSON document of the OCI distribution specification. Any other
// error becomes 500 UNKNOWN without its text, so that internals never reach a
// client by accident.
//
// A detail is a string, an array or an object built on purpose. Go error values are
// never marshalled into it.
package apierror

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Code is an error code of the OCI distribution specification.
type Code string

// The codes in use.
const (
	CodeUnknown                 Code = "UNKNOWN"
	CodeUnsupported             Code = "UNSUPPORTED"
	CodeUnauthorized            Code = "UNAUTHORIZED"
	CodeDenied                  Code = "DENIED"
	CodeUnavailable             Code = "UNAVAILABLE"
	CodeTooManyRequests         Code = "TOOMANYREQUESTS"
	CodeNameInvalid             Code = "NAME_INVALID"
	CodeNameUnknown             Code = "NAME_UNKNOWN"
	CodeTagInvalid              Code = "TAG_INVALID"
	CodeDigestInvalid           Code = "DIGEST_INVALID"
	CodeSizeInvalid             Code = "SIZE_INVALID"
	CodeRangeInvalid            Code = "RANGE_INVALID"
	CodeManifestInvalid         Code = "MANIFEST_INVALID"
	CodeManifestUnknown         Code = "MANIFEST_UNKNOWN"
	CodeManifestBlobUnknown     Code = "MANIFEST_BLOB_UNKNOWN"
	CodeBlobUnknown             Code = "BLOB_UNKNOWN"
	CodeBlobUploadUnknown       Code = "BLOB_UPLOAD_UNKNOWN"
	CodeBlobUploadInvalid       Code = "BLOB_UPLOAD_INVALID"
	CodeSignatureInvalid        Code = "SIGNATURE_INVALID"
	CodeSignatureExists         Code = "SIGNATURE_EXISTS"
	CodePaginationNumberInvalid Code = "PAGINATION_NUMBER_INVALID"
)

// DefaultRetryAfter is announced with every 503 that has no better number.
const DefaultRetryAfter = 5 * time.Second

// Entry is one error of the answer.
type Entry struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

// Error is a refused request.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Entries has at least one element.
	Entries []Entry
	// Header is added to the answer; nil is fine.
	Header http.Header
	// Cause is written to the log and never sent.
	Cause error
}

// New builds a refusal with one entry.
func New(status int, code Code, format string, args ...any) *Error {
	return &Error{Status: status, Entries: []Entry{{Code: code, Message: fmt.Sprintf(format, args...)}}}
}

// Error implements error with the first message and the cause, for logs.
func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s: %s", e.Status, e.Entries[0].Code, e.Entries[0].Message)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// WithDetail sets the detail of the first entry: a string, or arrays and objects of
// strings and numbers.
func (e *Error) WithDetail(detail any) *Error {
	e.Entries[0].Detail = detail
	return e
}

// WithCause keeps the reason for the log.
func (e *Error) WithCause(cause error) *Error {
	e.Cause = cause
	return e
}

// WithHeader adds a header to the answer.
func (e *Error) WithHeader(name, value string) *Error {
	if e.Header == nil {
		e.Header = http.Header{}
	}
	e.Header.Set(name, value)
	return e
}

// WithRetryAfter announces when a repetition makes sense, rounded up to seconds.
func (e *Error) WithRetryAfter(delay time.Duration) *Error {
	seconds := max(int64((delay+time.Second-1)/time.Second), 1)
	return e.WithHeader("Retry-After", strconv.FormatInt(seconds, 10))
}

// Unavailable says that something the registry needs does not work at the moment.
func Unavailable(cause error, format string, args ...any) *Error {
	return New(http.StatusServiceUnavailable, CodeUnavailable, format, args...).
		WithRetryAfter(DefaultRetryAfter).WithCause(cause)
}

// From returns the refusal inside err, or 500 UNKNOWN with err as its cause.
func From(err error) *Error {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal
	}
	return New(http.StatusInternalServerError, CodeUnknown, "internal error").WithCause(err)
}

// maxWarning bounds the text of one warning, in bytes.
const maxWarning = 1024

// Warning is the value of a Warning header in the form that the OCI distribution
// specification allows: code 299, no agent, a quoted text of printable ASCII.
func Warning(text string) string {
	var quoted strings.Builder
	for _, r := range text {
		if quoted.Len() >= maxWarning {
			break
		}
		switch {
		case r == '"' || r == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(r)
		case r < ' ' || r > '~':
			quoted.WriteByte('?')
		default:
			quoted.WriteRune(r)
		}
	}
	return `299 - "` + quoted.String() + `"`
}

// Write sends the refusal. For HEAD only status and headers are sent, with the message as
// a warning unless something is merely not there: clients that begin with HEAD could not
// tell their user why. The id of the request becomes the detail of an internal error.
func Write(w http.ResponseWriter, r *http.Request, requestID string, refusal *Error) {
	entries := refusal.Entries
	if refusal.Status == http.StatusInternalServerError && entries[0].Detail == nil && requestID != "" {
		entries = []Entry{{Code: entries[0].Code, Message: entries[0].Message, Detail: map[string]string{"requestID": requestID}}}
	}
	body, err := json.Marshal(map[string][]Entry{"errors": entries})
	if err != nil {
		body = []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`)
	}
	header := w.Header()
	for name, values := range refusal.Header {
		header[name] = values
	}
	for _, name := range []string{"Etag", "Cache-Control", "Docker-Content-Digest", "Content-Encoding", "Accept-Ranges"} {
		header.Del(name)
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead && refusal.Status != http.StatusNotFound {
		header.Add("Warning", Warning(entries[0].Message))
	}
	w.WriteHeader(refusal.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // nobody is left to tell
	}
}
