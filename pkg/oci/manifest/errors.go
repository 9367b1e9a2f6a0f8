package manifest

import "fmt"

// Reason says what kind of defect a document has.
type Reason string

// The reasons of an Error.
const (
	// ReasonMalformed: not JSON, not an object, or a member of the wrong form.
	ReasonMalformed Reason = "Malformed"
	// ReasonUnsupported: a manifest of a type that is not accepted (schema 1, the
	// withdrawn OCI artifact manifest, anything unknown).
	ReasonUnsupported Reason = "Unsupported"
	// ReasonAmbiguous: the document contradicts its media type or is two kinds at once.
	ReasonAmbiguous Reason = "Ambiguous"
	// ReasonDigest: the bytes do not have the expected digest.
	ReasonDigest Reason = "Digest"
)

// Error is returned for every document that is refused.
type Error struct {
	Reason  Reason
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

func malformed(format string, args ...any) error {
	return &Error{Reason: ReasonMalformed, Message: fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &Error{Reason: ReasonUnsupported, Message: fmt.Sprintf(format, args...)}
}

func ambiguous(format string, args ...any) error {
	return &Error{Reason: ReasonAmbiguous, Message: fmt.Sprintf(format, args...)}
}
