package importer

import (
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons that Kubernetes has no word for.
const (
	// ReasonUnsupportedManifest: the manifest is of a kind that nobody can use here.
	ReasonUnsupportedManifest metav1.StatusReason = "UnsupportedManifest"
	// ReasonNotV2Registry: what answers is not a registry.
	ReasonNotV2Registry metav1.StatusReason = "NotV2Registry"
	// ReasonImportFailed: some tags of a repository failed.
	ReasonImportFailed metav1.StatusReason = "ImportFailed"
)

// Error says why an image or a repository could not be imported. Its message is the same
// for the same cause, because a message that changes is written into the stream each time.
type Error struct {
	Reason  metav1.StatusReason
	Code    int32
	Message string
	// RetryAfter is when the registry allows the next request; zero if it did not say.
	RetryAfter time.Duration
	// Transient says that the same request may work soon although nothing was changed:
	// time-outs, cool-downs, and failures of the network.
	Transient bool
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Status is the error as clients of the API read it.
func (e *Error) Status() metav1.Status {
	status := metav1.Status{Status: metav1.StatusFailure, Reason: e.Reason, Code: e.Code, Message: e.Message}
	if e.RetryAfter > 0 {
		seconds := int32((e.RetryAfter + time.Second - 1) / time.Second)
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
	}
	return status
}

func newError(reason metav1.StatusReason, message string) *Error {
	return &Error{Reason: reason, Code: codes[reason], Message: message}
}

// codes are the HTTP codes of the reasons.
var codes = map[metav1.StatusReason]int32{
	metav1.StatusReasonNotFound:        http.StatusNotFound,
	metav1.StatusReasonUnauthorized:    http.StatusUnauthorized,
	metav1.StatusReasonForbidden:       http.StatusForbidden,
	metav1.StatusReasonTooManyRequests: http.StatusTooManyRequests,
	metav1.StatusReasonTimeout:         http.StatusGatewayTimeout,
	metav1.StatusReasonInvalid:         http.StatusUnprocessableEntity,
	ReasonUnsupportedManifest:          http.StatusUnprocessableEntity,
	ReasonNotV2Registry:                http.StatusForbidden,
	metav1.StatusReasonInternalError:   http.StatusInternalServerError,
}
