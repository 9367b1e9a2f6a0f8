package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxMessage bounds what of the registry's words goes into reports.
const maxMessage = 400

// readOnlyMessage is a part of what a registry in read-only mode says with 405.
const readOnlyMessage = "read-only"

// AnswerError is a refusal by the registry.
type AnswerError struct {
	Method, Path string
	Status       int
	// Code and Message are the first error of the OCI distribution specification in the body, if there is
	// one.
	Code, Message string
	// Location is where a redirect leads.
	Location string
}

// Error implements error.
func (e *AnswerError) Error() string {
	text := fmt.Sprintf("%s %s: the registry answered %d", e.Method, e.Path, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Location != "" {
		text += fmt.Sprintf(": redirects are not followed; if the registry is at %s, give it with --registry-url", e.Location)
	}
	return text
}

// ReadOnly tells whether the registry takes no changes at the moment.
func (e *AnswerError) ReadOnly() bool {
	return e.Status == http.StatusMethodNotAllowed && strings.Contains(e.Message, readOnlyMessage)
}

// StoppedError says why no request is sent any more.
type StoppedError struct {
	Address string
	Reason  error
}

// Error implements error.
func (e *StoppedError) Error() string {
	return fmt.Sprintf("nothing more is sent to the registry at %s: %v", e.Address, e.Reason)
}

// Unwrap returns the reason.
func (e *StoppedError) Unwrap() error { return e.Reason }

// refusal reads the errors of an answer. Whatever the registry wrote, it stays one short line.
func refusal(r request, got *answer) *AnswerError {
	refused := &AnswerError{Method: r.method, Path: r.path, Status: got.status}
	var body struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(got.body, &body) == nil && len(body.Errors) > 0 {
		refused.Code, refused.Message = printable(body.Errors[0].Code), printable(body.Errors[0].Message)
	}
	if got.status >= 300 && got.status < 400 {
		refused.Location = redirectTarget(got.header.Get("Location"))
	}
	return refused
}

// redirectTarget leaves scheme and host of an address: the rest may hold credentials.
func redirectTarget(location string) string {
	scheme, rest, found := strings.Cut(location, "://")
	if !found {
		return "another path"
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return printable(scheme + "://" + rest[strings.LastIndex(rest, "@")+1:])
}

// printable makes one short line.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	for i := range text {
		if i >= maxMessage {
			return text[:i] + "…"
		}
	}
	return text
}

// isFailure tells answers that say nothing about the thing that was asked for.
func isFailure(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict:
		return false
	}
	return status >= 300
}

// temporary answers are worth another attempt.
func temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusLocked, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// retryAfter reads seconds or a date, and bounds what a registry may ask for.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxWait/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxWait)
	}
	return 0
}
