package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"

	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/gc/online"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/imageapi"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/limits"
	"image.alauda.io/registry/pkg/registry/pullthrough"
	"image.alauda.io/registry/pkg/registry/purge"
	"image.alauda.io/registry/pkg/registry/server"
	"image.alauda.io/registry/pkg/registry/signatures"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/pkg/registry/streams"
	"image.alauda.io/registry/pkg/registry/tracing"
	"image.alauda.io/registry/pkg/registry/uploadstate"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Dependencies are what the registry talks to. Tests give their own.
type Dependencies struct {
	API      imageapi.Client
	Reviewer auth.Reviewer
	Driver   driver.StorageDriver
	// Signatures are those of the image API; nil serves none.
	Signatures signatures.Client
	// Audit is told about every request; Tracing sends spans. Both may be nil.
	Audit   *audit.Logger
	Tracing *tracing.Tracing
	// Limits reads what namespaces allow; nil checks nothing.
	Limits limits.Source
	Log    *zap.Logger
	Now    func() time.Time
	// Wait pauses between attempts and returns early with the context's error.
	Wait func(ctx context.Context, delay time.Duration) error
	// Clock is that of timers; nil for the real one.
	Clock clock.WithTicker
	// Metadata says what is in use; nil lets every collection fail. Leases hold reports
	// of collections; nil keeps them in this process.
	Metadata gc.Metadata
	Leases   online.Leases
	// Streams lists and watches the metadata of image streams; nil for reading each time.
	Streams cache.ListerWatcherWithContext
}

// Registry is a complete server that does not listen yet.
type Registry struct {
	Server  *server.Server
	Store   *store.Store
	Health  *server.Health
	Metrics *server.Metrics
	// PullThrough works in the background; who builds a Registry stops it.
	PullThrough *pullthrough.Service
	// Collections are made in the background; who builds a Registry stops them.
	Collections *online.Service
	// Purger removes abandoned uploads; nil when nothing is to be removed.
	Purger *purge.Purger
	// Streams follow the image streams when they are run.
	Streams *streams.Views
	// Certificate is nil without TLS.
	Certificate *server.Certificate
}

// Build puts a registry together. Nothing is started and nothing is asked.
func Build(ctx context.Context, c *config.Config, deps Dependencies) (*Registry, error) {
	metrics := server.NewMetrics()
	known, err := digestCache(c, deps, metrics)
	if err != nil {
		return nil, err
	}
	blobs, err := blobStore(ctx, c, deps, metrics, known)
	if err != nil {
		return nil, err
	}
	views, err := streamViews(&deps, metrics)
	if err != nil {
		return nil, err
	}
	authOptions := auth.Options{
		Anonymous: c.Alauda.Auth.Anonymous, Audience: c.Alauda.Auth.Audience, Now: deps.Now, Observer: metrics,
		TokenTTL: c.Alauda.Auth.Cache.TokenTTL, TokenFailureTTL: c.Alauda.Auth.Cache.TokenFailureTTL,
		AllowTTL: c.Alauda.Auth.Cache.AllowTTL, DenyTTL: c.Alauda.Auth.Cache.DenyTTL,
	}
	if authOptions.OIDC, err = identityProvider(c.Alauda.Auth.OIDC, deps, metrics); err != nil {
		return nil, err
	}
	authenticator, err := newAuthenticator(c, deps.Reviewer, authOptions)
	if err != nil {
		return nil, err
	}
	authorizer, err := auth.NewAuthorizer(deps.Reviewer, authOptions)
	if err != nil {
		return nil, err
	}
	catalog, err := catalogReviews(deps.Reviewer, authOptions)
	if err != nil {
		return nil, err
	}
	options, err := handlerOptions(c)
	if err != nil {
		return nil, err
	}
	if err := completeSecret(c, deps.Log); err != nil {
		return nil, err
	}
	h := &handlers.Handlers{
		Options: options, Store: blobs, API: deps.API, Streams: views, Log: deps.Log, Now: deps.Now, Wait: deps.Wait,
		Pusher:        &imageapi.Pusher{Client: deps.API, Now: deps.Now, Wait: deps.Wait},
		Authenticator: authenticator, Authorizer: authorizer, Catalog: catalog, States: uploadstate.NewSigner(c.Configuration.HTTP.Secret),
		Challenge: auth.Challenge{
			Realm: c.Alauda.Auth.Realm, Service: c.Alauda.Auth.Service, TokenRealm: c.Alauda.Auth.TokenRealm,
			Host: c.Configuration.HTTP.Host, ServerAddr: c.Alauda.Server.Addr,
		},
		Reads: newLimiter(c.Alauda.Requests.Read), Writes: newLimiter(c.Alauda.Requests.Write),
		MetricsSecret: c.Alauda.Metrics.Secret, Signatures: deps.Signatures,
	}
	if c.Alauda.Quota.Enabled && deps.Limits != nil {
		h.Limits = limits.New(deps.Limits, limits.Options{TTL: c.Alauda.Quota.CacheTTL, Now: deps.Now})
	}
	h.Cache = known
	if h.PullThrough, err = pullThrough(c, deps, blobs, h.Writes, metrics); err != nil {
		return nil, err
	}
	h.CollectionAge = c.Alauda.GC.MinAge
	if h.Collections, err = collections(c, deps, blobs); err != nil {
		return nil, err
	}
	uploads, err := purger(c, deps, blobs)
	if err != nil {
		return nil, err
	}
	metrics.WatchLimits(h.Reads, h.Writes, blobs.ActiveUploads)
	if c.Alauda.Metrics.Enabled {
		h.Metrics = metrics.Handler()
	}
	threshold := 0
	if check := c.Configuration.Health.StorageDriver; check.Enabled {
		threshold = check.Threshold
	}
	health := server.NewHealth(threshold)
	health.Changed = storageLog(deps.Log)
	serverOptions, certificate, err := serverOptions(c, deps.Log, metrics)
	if err != nil {
		return nil, err
	}
	serverOptions.Audit, serverOptions.Tracing = deps.Audit, deps.Tracing
	return &Registry{
		Server: server.New(serverOptions, h, health, metrics, deps.Log),
		Store:  blobs, Health: health, Metrics: metrics, PullThrough: h.PullThrough, Collections: h.Collections, Purger: uploads, Streams: views, Certificate: certificate,
	}, nil
}

func newLimiter(limit config.Limit) *limiter.Limiter {
	return limiter.New(limit.MaxRunning, limit.MaxInQueue, limit.MaxWaitInQueue)
}

func handlerOptions(c *config.Config) (handlers.Options, error) {
	validation := c.Configuration.Validation.Manifests
	options := handlers.Options{
		ServerAddr: c.Alauda.Server.Addr, Host: c.Configuration.HTTP.Host, RelativeURLs: c.Configuration.HTTP.RelativeURLs,
		ReadOnly: c.ReadOnly(), RedirectDisabled: c.RedirectDisabled(),
		RequireCreate: c.Alauda.Auth.RequireCreate, Anonymous: c.Alauda.Auth.Anonymous,
		MaxManifestSize: c.Alauda.Manifests.MaxSize,
		MaxTags:         c.Configuration.Tags.MaxTags, MaxCatalog: c.Configuration.Catalog.MaxEntries,
		IndexPlatforms: string(validation.Indexes.Platforms),
	}
	for _, platform := range validation.Indexes.PlatformList {
		options.Platforms = append(options.Platforms, platform.OS+"/"+platform.Architecture)
	}
	var err error
	if options.AllowURLs, err = patterns(validation.URLs.Allow); err != nil {
		return options, err
	}
	options.DenyURLs, err = patterns(validation.URLs.Deny)
	return options, err
}

func patterns(texts []string) ([]*regexp.Regexp, error) {
	var list []*regexp.Regexp
	for _, text := range texts {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("validation.manifests.urls: %w", err)
		}
		list = append(list, pattern)
	}
	return list, nil
}

// completeSecret makes up a secret when none is configured. Uploads then end at the border
// of a replica, hence the warning.
func completeSecret(c *config.Config, log *zap.Logger) error {
	if c.Configuration.HTTP.Secret != "" {
		return nil
	}
	log.Warn("http.secret is empty: a random one is used, uploads cannot move between replicas")
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return fmt.Errorf("http.secret: %w", err)
	}
	c.Configuration.HTTP.Secret = hex.EncodeToString(raw)
	return nil
}

func serverOptions(c *config.Config, log *zap.Logger, metrics *server.Metrics) (server.Options, *server.Certificate, error) {
	options := server.Options{
		IOTimeout: c.Alauda.HTTP.IOTimeout, ShutdownDelay: c.Alauda.HTTP.ShutdownDelay,
		DrainTimeout: c.Configuration.HTTP.DrainTimeout, Headers: c.Configuration.HTTP.Headers,
		AccessLog: !c.Configuration.Log.AccessLog.Disabled, HTTP2: !c.Configuration.HTTP.HTTP2.Disabled,
	}
	files := c.Configuration.HTTP.TLS
	if files.Certificate == "" {
		log.Warn("http.tls.certificate is empty: serving plain HTTP")
		return options, nil, nil
	}
	certificate, err := server.NewCertificate(files.Certificate, files.Key, log, metrics.SetCertificateExpiry)
	if err != nil {
		return options, nil, err
	}
	options.TLS, err = server.TLSConfig(server.TLSOptions{
		Certificate: files.Certificate, Key: files.Key, MinimumVersion: files.MinimumTLS,
		CipherSuites: files.CipherSuites, ClientCAs: files.ClientCAs, HTTP2: options.HTTP2,
	}, certificate)
	return options, certificate, err
}
