// Package handlers answers the requests of the OCI distribution API.
//
// A request passes one pipeline: path, method, limiter, authentication, authorization,
// read-only check; then the file that is named like its noun takes it: base, token,
// catalog, tags, manifests, blobs, uploads, referrers. Handlers return an error instead
// of writing one; Handle turns it into an *apierror.Error and the server writes it.
//
// Handlers hold no state between requests. What is stored lives in package store, what
// is known in the image API, who may do what in package auth.
package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/digestcache"
	"image.alauda.io/registry/pkg/registry/gc/online"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/membership"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/signatures"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/streams"
	"image.alauda.io/registry/pkg/registry/uploadstate"

	"go.uber.org/zap"
)

// ErrClientGone is returned when the client left while its request was read or its
// answer written. There is nobody to tell.
var ErrClientGone = errors.New("the client closed the connection")

// Options are the settings of the handlers.
type Options struct {
	// ServerAddr is the prefix of image references.
	ServerAddr string
	// Host is a configured external URL, "" for none; RelativeURLs keeps Locations
	// without host.
	Host         string
	RelativeURLs bool

	ReadOnly         bool
	RedirectDisabled bool
	RequireCreate    bool
	Anonymous        bool

	// MaxManifestSize in bytes; MaxTags and MaxCatalog are page sizes.
	MaxManifestSize     int64
	MaxTags, MaxCatalog int

	// AllowURLs and DenyURLs check the addresses of foreign layers.
	AllowURLs, DenyURLs []*regexp.Regexp
	// IndexPlatforms is "none", "list" or "all"; Platforms are "os/architecture".
	IndexPlatforms string
	Platforms      []string
}

// Handlers has everything that requests need.
type Handlers struct {
	Options Options
	Access
	Knowledge

	// Store has the content, States carries uploads from request to request.
	Store  *store.Store
	States *uploadstate.Signer
	// PullThrough fetches what streams have by import.
	PullThrough *pullthrough.Service
	// Reads and Writes bound the requests that run at a time.
	Reads, Writes *limiter.Limiter

	// Collections are made and reported here; CollectionAge is the age below which none
	// takes content unless asked otherwise.
	Collections   *online.Service
	CollectionAge time.Duration
	// Metrics serves the metrics; nil when they are disabled.
	Metrics http.Handler

	Log *zap.Logger
	Now func() time.Time
	// Wait pauses and returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
}

// Access says who a caller is and what is allowed.
type Access struct {
	Authenticator *auth.Authenticator
	Authorizer    *auth.Authorizer
	// Catalog decides which namespaces a list of repositories shows.
	Catalog   *Catalog
	Challenge auth.Challenge
	// MetricsSecret is an alternative to a token with the permission to read metrics.
	MetricsSecret string
}

// Knowledge is the image API and what is remembered of it.
type Knowledge struct {
	API     imageapi.Client
	Streams *streams.Views
	Pusher  *imageapi.Pusher
	// Signatures are those of the image API; nil without one.
	Signatures signatures.Client
	// Cache remembers which blobs repositories may serve; nil when it is switched off.
	Cache *digestcache.Cache
	// Limits refuses early what the namespace does not allow; nil when it is switched off.
	Limits *limits.Checker
}

// Record is what the server learns about a request, for logs and metrics.
type Record struct {
	ID    string
	Route route.Route
	// Identity is the caller, zero before it is known.
	Identity auth.Identity
	Method   string
	// Remote says that the answer is read from another registry while it is sent.
	Remote bool
	// Redirected is the size of a blob that the storage was to send, in bytes.
	Redirected int64
	// Upstream is the host of the other registry that the answer comes from, "" for none.
	Upstream string
	// Refusal is what the client was told, nil without one.
	Refusal *apierror.Error
	// CreatedStream says that the request made the image stream.
	CreatedStream bool
}

// request is one request on its way through the handlers.
type request struct {
	*http.Request
	w        http.ResponseWriter
	route    route.Route
	identity auth.Identity
	pruner   bool
	scope    *membership.Scope
	id       string
	record   *Record
}

// Handle serves a request of a route that is not a health check. It fills the record
// and returns nil, ErrClientGone, or an *apierror.Error that was not written yet.
func (h *Handlers) Handle(w http.ResponseWriter, r *http.Request, record *Record) error {
	err := h.handle(w, r, record)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrClientGone):
		return err
	case r.Context().Err() != nil:
		return fmt.Errorf("%w: %w", ErrClientGone, err)
	}
	return refusal(err)
}

func (h *Handlers) handle(w http.ResponseWriter, r *http.Request, record *Record) error {
	matched, err := route.Parse(r.URL, h.Options.ServerAddr)
	record.Route = matched
	if err != nil {
		return err
	}
	if err := h.checkMethod(matched, r.Method); err != nil {
		return err
	}
	release, err := h.limit(r, matched)
	if err != nil {
		return err
	}
	defer release()
	req := &request{Request: r, w: w, route: matched, id: record.ID, record: record}
	if matched.Name != (route.Name{}) {
		req.scope = membership.New(h.API, h.Streams, h.Store, matched.Name).Remembering(h.Cache)
	}
	if matched.Kind == route.Token {
		return h.token(req)
	}
	if matched.Kind == route.Metrics {
		err := h.metrics(req)
		record.Identity = req.identity
		return err
	}
	if err := h.admit(req); err != nil {
		record.Identity = req.identity
		return err
	}
	record.Identity = req.identity
	if h.Options.ReadOnly && isWrite(r.Method) && matched.Kind != route.AdminGC { // which looks at its body
		return readOnly()
	}
	return h.dispatch(req)
}

func (h *Handlers) dispatch(req *request) error {
	read := !isWrite(req.Method)
	switch req.route.Kind {
	case route.Base:
		return h.base(req)
	case route.Catalog:
		return h.catalog(req)
	case route.Tags:
		return h.tags(req)
	case route.Referrers:
		return h.referrers(req)
	case route.Signatures:
		return h.signatures(req)
	case route.UploadStart:
		return h.startUpload(req)
	case route.Upload:
		return h.upload(req)
	case route.AdminBlob:
		return h.deleteStored(req)
	case route.AdminGC:
		return h.startCollection(req)
	case route.AdminGCReport:
		return h.collectionReport(req)
	case route.Blob:
		if read {
			return h.blob(req)
		}
		return h.deleteBlob(req)
	case route.Manifest:
		switch {
		case read:
			return h.manifest(req)
		case req.Method == http.MethodPut:
			return h.putManifest(req)
		case req.route.Tag != "":
			return h.deleteTag(req)
		}
		return h.deleteManifest(req)
	}
	return unknownRoute()
}

func readOnly() error {
	return apierror.New(http.StatusMethodNotAllowed, apierror.CodeUnsupported, "the registry is in read-only mode")
}

func unknownRoute() error {
	return apierror.New(http.StatusNotFound, apierror.CodeUnsupported, "there is nothing under this path")
}

func (h *Handlers) checkMethod(matched route.Route, method string) error {
	if matched.Kind == route.Unknown || matched.Kind == route.Metrics && h.Metrics == nil ||
		matched.Kind == route.Signatures && h.Signatures == nil {
		return unknownRoute()
	}
	methods := matched.Methods()
	allowed := ""
	for _, candidate := range methods {
		if candidate == method {
			return nil
		}
		if allowed != "" {
			allowed += ", "
		}
		allowed += candidate
	}
	return apierror.New(http.StatusMethodNotAllowed, apierror.CodeUnsupported, "method %s is not allowed here", method).
		WithHeader("Allow", allowed)
}

func isWrite(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// limit takes a slot; token and metrics requests need none.
func (h *Handlers) limit(r *http.Request, matched route.Route) (func(), error) {
	if matched.Kind == route.Token || matched.Kind == route.Metrics {
		return func() {}, nil
	}
	class := h.Reads
	if isWrite(r.Method) {
		class = h.Writes
	}
	release, err := class.Acquire(r.Context())
	if err != nil {
		return nil, apierror.New(http.StatusTooManyRequests, apierror.CodeTooManyRequests, "the registry is busy, try again: %s", err).
			WithRetryAfter(time.Second)
	}
	return release, nil
}

// refusal finds or makes the answer for an error.
func refusal(err error) *apierror.Error {
	var known *apierror.Error
	if errors.As(err, &known) {
		return known
	}
	var storage *store.Error
	if errors.As(err, &storage) {
		if storage.Full() {
			return apierror.Unavailable(err, "the storage of the registry is full or takes no writes")
		}
		return apierror.Unavailable(err, "the storage of the registry is not available, try again")
	}
	return apierror.From(err)
}
