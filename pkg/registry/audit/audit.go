// Package audit writes the audit log: who did what to which repository, and what came of
// it.
//
// In goes an Exchange, which is a request with its outcome; Records decides, without any
// side effect, which operations it was: none, one, or two where a push also made its image
// stream. Out goes one line of JSON for each, to the writer that the Logger was opened
// with, whatever the log level is.
//
// Recorded are pushes, pulls and deletes of manifests, tags and blobs, mounts, image
// streams that came into being, written signatures, requests of administrators, and every
// request that was denied to somebody who showed who he is. A request without credentials
// is no denial: each client begins with one to learn where the tokens are.
//
// No token, no upload state, no address and no body ever gets into a record.
package audit

import (
	"time"

	"image.alauda.io/registry/pkg/registry/route"
)

// Results.
const (
	Success = "success"
	Failure = "error"
)

// Caller is who sent a request.
type Caller struct {
	User, UID string
	Groups    []string
	// Remote is the address, with that behind a proxy before it.
	Remote string
}

// Record is one line of the audit log.
type Record struct {
	Time      time.Time `json:"ts"`
	Audit     bool      `json:"audit"`
	RequestID string    `json:"request_id"`
	User      string    `json:"user"`
	UID       string    `json:"uid,omitempty"`
	Groups    []string  `json:"groups,omitempty"`
	Remote    string    `json:"remote"`
	Operation Operation `json:"operation"`
	Repo      string    `json:"repo,omitempty"`
	Tag       string    `json:"tag,omitempty"`
	Digest    string    `json:"digest,omitempty"`
	// From is the repository that a blob was mounted from.
	From   string `json:"from,omitempty"`
	Result string `json:"result"`
	// Error and Code are those that the client was told.
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

// Outcome is what came of a request.
type Outcome struct {
	// Status is the HTTP status, or 499 when the client left.
	Status int
	// Code and Message are those of the refusal, "" without one.
	Code, Message string
	// Digest is that of the manifest or blob in the answer.
	Digest string
	// CreatedStream says that the request made the image stream.
	CreatedStream bool
}

// Exchange is a request with its outcome.
type Exchange struct {
	ID     string
	Caller Caller
	Route  route.Route
	Method string
	// Credentials says that the request had an Authorization header.
	Credentials bool
	// Upload are the parameters of an upload: the digest that it is finished with, the one
	// that is to be mounted and from where.
	Upload  Upload
	Outcome Outcome
}

// Upload are the parameters of an upload that name content.
type Upload struct{ Digest, Mount, From string }
