package importer

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
)

// reasons say how failures of the registry client are reported.
var reasons = map[remote.Kind]metav1.StatusReason{
	remote.NotFound:         metav1.StatusReasonNotFound,
	remote.Unauthorized:     metav1.StatusReasonUnauthorized,
	remote.Forbidden:        metav1.StatusReasonForbidden,
	remote.Blocked:          metav1.StatusReasonForbidden,
	remote.TooManyRequests:  metav1.StatusReasonTooManyRequests,
	remote.Timeout:          metav1.StatusReasonTimeout,
	remote.NotV2Registry:    ReasonNotV2Registry,
	remote.ContentIntegrity: metav1.StatusReasonInternalError,
	remote.TooLarge:         metav1.StatusReasonInvalid,
	remote.Network:          metav1.StatusReasonInternalError,
	remote.Internal:         metav1.StatusReasonInternalError,
}

// FromRemote tells a failure of the registry client, or of the manifest parser, in the
// words of the API. It never returns nil.
func FromRemote(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var defect *manifest.Error
	if errors.As(err, &defect) {
		return fromManifest(defect)
	}
	var failure *remote.Error
	if errors.As(err, &failure) {
		return fromClient(failure)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return timeout("the time for the import ran out")
	}
	return inside()
}

// inside is an error that says nothing about the registry: its cause is in the log only.
func inside() *Error {
	return newError(metav1.StatusReasonInternalError, "the import failed inside of the server, its log says more")
}

func fromClient(failure *remote.Error) *Error {
	reason, found := reasons[failure.Kind]
	if !found {
		reason = metav1.StatusReasonInternalError
	}
	result := newError(reason, failure.Message)
	switch failure.Kind {
	case remote.TooManyRequests:
		result.RetryAfter, result.Transient = failure.RetryAfter, true
	case remote.Timeout, remote.Network:
		result.Transient = true
	}
	return result
}

func fromManifest(defect *manifest.Error) *Error {
	switch defect.Reason {
	case manifest.ReasonUnsupported:
		return newError(ReasonUnsupportedManifest, defect.Message)
	case manifest.ReasonDigest:
		return newError(metav1.StatusReasonInternalError, "content integrity: "+defect.Message)
	}
	return newError(metav1.StatusReasonInvalid, defect.Message)
}

func timeout(message string) *Error {
	result := newError(metav1.StatusReasonTimeout, message)
	result.Transient = true
	return result
}

func invalid(format string, args ...any) *Error {
	return newError(metav1.StatusReasonInvalid, fmt.Sprintf(format, args...))
}

func notFound(err *Error) bool { return err != nil && err.Reason == metav1.StatusReasonNotFound }

// about says of which content of an image an error is.
func about(what string, err *Error) *Error {
	named := *err
	named.Message = what + ": " + err.Message
	return &named
}

// Summary says how many tags of a repository failed, as the status of the repository. It is
// nil when all were found, changed or not.
func (r *RepositoryResult) Summary() *Error {
	if r.Err != nil {
		return r.Err
	}
	failed := 0
	for i := range r.Tags {
		if r.Tags[i].Err != nil {
			failed++
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed == 1:
		return newError(ReasonImportFailed, "one of the images of this repository failed to import")
	}
	return newError(ReasonImportFailed, fmt.Sprintf("%d of the images of this repository failed to import", failed))
}
