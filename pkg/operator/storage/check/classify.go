package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/registry/pkg/operator/storage/preflight"
)

const invalidConfiguration = registryv1.ReasonInvalidStorageConfiguration

// Codes of providers by what they mean.
var (
	notFoundCodes    = []string{"NoSuchBucket", "ContainerNotFound"}
	regionCodes      = []string{"BucketRegionError", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
	credentialsCodes = []string{"NoCredentialProviders"}
	fileCodes        = []string{"SharedCredsLoad", "SharedConfigLoadError", "SharedConfigAssumeRoleError", "SharedConfigProfileNotExistsError"}
	deniedCodes      = []string{
		"AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidSecurity", "AccountProblem",
		"AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions", "AccountIsDisabled",
	}
	fullCodes   = []string{"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "InsufficientStorage", "NotImplemented"}
	brokenCodes = []string{"RequestError", "RequestCanceled", "ResponseTimeout"} // of the client, not of the provider
)

// unreadable is the code of the S3 client for an answer that it cannot read.
const unreadable = "SerializationError"

// bodies is what stands before the body of an answer in errors of the Google client.
var bodies = regexp.MustCompile(`(?s)(\nResponse:| with body:).*`)

// answer is what a provider said, as far as it is known.
type answer struct {
	code   string
	status int
	text   string
	// cause is what the client met below.
	cause error
}

// failure is the result of a step that did not succeed.
func failure(ctx context.Context, step string, err error, timeout time.Duration) preflight.Result {
	result := preflight.Result{Step: step}
	var content contentError
	if errors.As(err, &content) {
		result.Reason, result.Text = registryv1.ReasonStoragePreflightFailed, content.text
		return result
	}
	if ctx.Err() != nil {
		result.Text = fmt.Sprintf("the storage did not answer within %s", timeout)
		return result
	}
	a := understand(err)
	result.Code, result.Text, result.Reason = a.code, a.text, reason(step, a)
	return result
}

// reason maps an answer to a reason of the conditions, "" for what may pass by itself.
func reason(step string, a answer) string {
	is := func(codes []string) bool { return slices.Contains(codes, a.code) }
	switch {
	case is(notFoundCodes) || strings.Contains(a.text, "bucket does not exist") || strings.Contains(a.text, "bucket doesn't exist"):
		return registryv1.ReasonBucketNotFound
	case is(regionCodes) || is(fileCodes):
		return invalidConfiguration
	case is(credentialsCodes) || strings.Contains(a.text, "could not find default credentials") || strings.Contains(a.text, "DefaultAzureCredential"):
		return registryv1.ReasonStorageCredentialsNotFound
	case is(deniedCodes) || a.status == http.StatusForbidden || a.status == http.StatusUnauthorized || strings.Contains(a.text, "cannot fetch token: 4"):
		return registryv1.ReasonStorageAccessDenied
	case is(fullCodes):
		return registryv1.ReasonStoragePreflightFailed
	case strings.Contains(a.text, "x509: "):
		return registryv1.ReasonStoragePreflightFailed // waiting does not make a certificate trusted
	case strings.Contains(a.text, "HTTP response to HTTPS client"):
		return invalidConfiguration
	case a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests || is(brokenCodes) || unreachable(a.cause):
		return ""
	case step == preflight.StepOpen:
		return invalidConfiguration // drivers ask nobody before they are open, they check their options
	}
	return registryv1.ReasonStoragePreflightFailed
}

func unreachable(err error) bool {
	var address *net.OpError
	var name *net.DNSError
	var timeout interface{ Timeout() bool }
	return errors.As(err, &address) || errors.As(err, &name) || errors.As(err, &timeout) && timeout.Timeout()
}

// provider is an error of the S3 client.
type provider interface {
	error
	Code() string
	Message() string
	OrigErr() error
}

// Errors of the other two clients are known by their texts.
var (
	googleAnswer = regexp.MustCompile(`googleapi: Error (\d{3}): ([^\n]*)`)
	azureStatus  = regexp.MustCompile(`RESPONSE (\d{3}): \d{3} ([^\n]*)`)
	azureCode    = regexp.MustCompile(`ERROR CODE: ([A-Za-z]+)`)
)

// understand takes an error of a driver apart. Request numbers, addresses with random names and times are left
// out: the text shall be the same the next time.
func understand(err error) answer {
	err = unwrapped(err)
	var s3 provider
	if errors.As(err, &s3) {
		return understandS3(s3)
	}
	text := err.Error()
	if found := googleAnswer.FindStringSubmatch(text); found != nil {
		return answer{status: number(found[1]), text: found[1] + " " + found[2], cause: err}
	}
	if found := azureStatus.FindStringSubmatch(text); found != nil {
		a := answer{status: number(found[1]), text: found[1] + " " + found[2], cause: err}
		if code := azureCode.FindStringSubmatch(text); code != nil && code[1] != "UNAVAILABLE" {
			a.code = code[1]
		}
		return a
	}
	return answer{text: plain(err), cause: err}
}

func understandS3(s3 provider) answer {
	a := answer{code: s3.Code(), text: s3.Message(), cause: s3.OrigErr()}
	var status interface{ StatusCode() int }
	if errors.As(s3, &status) {
		a.status = status.StatusCode()
	}
	switch {
	case a.code == unreadable:
		// The client puts what it read into its error. It may be anything, of anybody.
		a.code, a.text = "", "the answer is not that of an S3 store"
		if a.status != 0 {
			a.text += fmt.Sprintf(" (status %d)", a.status)
		}
	case a.cause != nil:
		cause := unwrapped(a.cause)
		if slices.Contains(brokenCodes, a.code) {
			a.code, a.text = "", plain(cause)
			if !unreachable(cause) {
				a.code = brokenCodes[0]
			}
		} else {
			a.text = strings.TrimPrefix(a.text+": "+plain(cause), ": ")
		}
	}
	if a.text == "" {
		a.text = http.StatusText(a.status)
	}
	if a.text == "" {
		a.text = a.code
	}
	return a
}

// unwrapped leaves out what the drivers put around errors without the usual way to look inside.
func unwrapped(err error) error {
	for {
		var outer driver.Error
		if !errors.As(err, &outer) || outer.Detail == nil {
			return err
		}
		err = outer.Detail
	}
}

// plain leaves out the address that was asked, which has names that are random, and the bodies of answers.
func plain(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return bodies.ReplaceAllString(err.Error(), "")
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
