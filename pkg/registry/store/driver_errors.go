package store

import (
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// Codes of storage errors, as dashboards know them.
const (
	codeUnsupported   = "UNSUPPORTED_METHOD"
	codePathNotFound  = "PATH_NOT_FOUND"
	codeInvalidPath   = "INVALID_PATH"
	codeInvalidOffset = "INVALID_OFFSET"
	codeReadOnly      = "READ_ONLY_FILESYSTEM"
	codeTooLarge      = "FILE_TOO_LARGE"
	codeNoSpace       = "DEVICE_OUT_OF_SPACE"
	codeUnknown       = "UNKNOWN"
)

// fullCodes are what S3 servers answer when there is no space left.
var fullCodes = []string{"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "InsufficientStorage"}

// errorCode classifies an error. The end of a file and a method that the driver does not
// have are no failures.
func errorCode(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return ""
	}
	code := answerCode(err)
	if code != "" {
		if code == codeUnsupported {
			return ""
		}
		return code
	}
	cause := Cause(err)
	switch {
	case errors.Is(cause, syscall.EROFS):
		return codeReadOnly
	case errors.Is(cause, syscall.EFBIG), providerCode(cause) == "EntityTooLarge":
		return codeTooLarge
	case isFull(cause):
		return codeNoSpace
	}
	return codeUnknown
}

func isFull(cause error) bool {
	return errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) || slices.Contains(fullCodes, providerCode(cause))
}

// answerCode is the code of an error by which a driver answers a question.
func answerCode(err error) string {
	var (
		unsupported driver.ErrUnsupportedMethod
		notFound    driver.PathNotFoundError
		path        driver.InvalidPathError
		offset      driver.InvalidOffsetError
	)
	switch {
	case errors.As(err, &unsupported):
		return codeUnsupported
	case errors.As(err, &notFound):
		return codePathNotFound
	case errors.As(err, &path):
		return codeInvalidPath
	case errors.As(err, &offset):
		return codeInvalidOffset
	}
	return ""
}

func isDriverAnswer(err error) bool { return answerCode(err) != "" }

// providerCode is the code that an S3 server gave, or "".
func providerCode(err error) string {
	var provider interface{ Code() string }
	if errors.As(err, &provider) {
		return provider.Code()
	}
	return ""
}

// isConflict tells whether an object store refused a write because of another one at the
// same time.
func isConflict(err error) bool {
	cause := Cause(err)
	var status interface{ StatusCode() int }
	if errors.As(cause, &status) {
		return status.StatusCode() == 409
	}
	return strings.Contains(cause.Error(), "RESPONSE 409") // how the client of Azure says it
}
