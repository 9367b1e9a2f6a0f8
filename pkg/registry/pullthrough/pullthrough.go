// Package pullthrough answers for images that a stream has by import: it fetches their
// manifests and blobs from where the stream's history says they come from.
//
// In come the stream as the image API sees it and a digest that the stream contains;
// who may pull was decided before. Out come verified manifests, streams of blobs, or
// the refusal that the client must see. On the way, content is kept in the repository's
// own storage if the configuration wants it: one download of a blob serves all clients
// of the repository that wait for it, and goes on when they leave.
//
// Nothing is shared between repositories but stored bytes, and these only after this
// repository has fetched the same bytes from its own source: a digest that somebody has
// written into a manifest opens nothing that others have. Credentials are those of the
// namespace and of the cluster; they never reach logs, errors or clients. This registry
// is never asked by itself, and a circle of registries is broken.
package pullthrough

import (
	"context"
	"errors"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/limiter"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/opencontainers/go-digest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
)

// Observer counts what happens. code and result are words from fixed sets.
type Observer interface {
	// RemoteDone reports one question to another registry; code is empty for success.
	RemoteDone(registry, operation, code string, took time.Duration)
	// MirrorDone reports a copy into the own storage that ended, with the bytes it took.
	MirrorDone(result string, bytes int64)
	// DownloadShared reports whether a pull found a download of the same blob under way.
	DownloadShared(hit bool)
}

// Options of a Service.
type Options struct {
	// Client reads from other registries.
	Client *remote.Client
	// Secrets returns the pull secrets that may be used for a stream.
	Secrets func(ctx context.Context, name route.Name) ([]corev1.Secret, error)
	Store   *store.Store
	// Writes is the limiter that copies into the storage take a slot of.
	Writes *limiter.Limiter
	// Mirror keeps what was fetched in the own storage. A registry that is read-only
	// does not.
	Mirror bool
	// ServerAddr and OwnHosts are the names of this registry, which are never asked.
	ServerAddr string
	OwnHosts   []string
	// Installation tells this registry from others with the same address; all replicas
	// have the same one.
	Installation string
	// ConfigFiles are files with credentials of the cluster.
	ConfigFiles []string
	Limits      Limits
	Observer    Observer
	Log         *zap.Logger
	Now         func() time.Time
}

// Limits bound what pulls of others can cost this process.
type Limits struct {
	// Window is the memory of one download in bytes: how far its readers may be apart.
	Window int64
	// Patience is how long a download waits for readers that are slower than its source,
	// all in all. Who is left behind goes on from the storage.
	Patience time.Duration
	// Late is how long who came too late to read along waits for the end of a download
	// before it makes its own: proxies and clients give up on an answer that stands still.
	Late time.Duration
	// Downloads and NamespaceDownloads are copies into the storage at a time.
	Downloads, NamespaceDownloads int
	// Manifests and NamespaceManifests are manifests in the making at a time.
	Manifests, NamespaceManifests int
	// Questions and NamespaceQuestions are searches at a time: all namespaces share the
	// rate at which a registry may be asked.
	Questions, NamespaceQuestions int
	// Sources is how many repositories are asked for one digest.
	Sources int
	// Search is the time for all questions about one manifest or size.
	Search time.Duration
	// Obtain is how long a push waits for a blob that only a source has.
	Obtain time.Duration
	// SlowestCopy in bytes per second, and GraceOfCopy, bound the time of a copy.
	SlowestCopy int64
	GraceOfCopy time.Duration
	// Pause is how long nothing is copied after the storage has failed.
	Pause time.Duration
}

// DefaultLimits are those of a registry with a few hundred MiB of memory.
func DefaultLimits() Limits {
	return Limits{
		Window: 2 << 20, Patience: 30 * time.Second, Late: 20 * time.Second, Downloads: 32, NamespaceDownloads: 8,
		Manifests: 16, NamespaceManifests: 4, Questions: 256, NamespaceQuestions: 32, Sources: 16, Search: time.Minute, Obtain: 30 * time.Second,
		SlowestCopy: 64 << 10, GraceOfCopy: 15 * time.Minute, Pause: 30 * time.Second,
	}
}

// Validate reports what a Service cannot work without.
func (o *Options) Validate() error {
	l := o.Limits
	switch {
	case o.Client == nil || o.Secrets == nil || o.Store == nil || o.Writes == nil || o.Observer == nil || o.Log == nil || o.Now == nil:
		return errors.New("pull-through: client, secrets, store, limiter, observer, log and clock are required")
	case o.ServerAddr == "" || o.Installation == "":
		return errors.New("pull-through: the registry's own address and identity are required")
	case l.Window <= 0 || l.Patience < 0 || l.Late <= 0 || l.Downloads <= 0 || l.NamespaceDownloads <= 0 || l.Manifests <= 0 || l.NamespaceManifests <= 0 || l.Questions <= 0 || l.NamespaceQuestions <= 0 ||
		l.Sources <= 0 || l.Search <= 0 || l.Obtain <= 0 || l.SlowestCopy <= 0 || l.GraceOfCopy <= 0 || l.Pause < 0:
		return errors.New("pull-through: every limit must be positive")
	}
	return nil
}

// Request is what a client wants of a repository. The caller has checked its right to
// pull from there.
type Request struct {
	Name route.Name
	// Stream is the ImageStream.
	Stream *imagev1.ImageStream
	// Layers returns what its images consist of; it is asked when that matters.
	Layers func(ctx context.Context) (*imagev1.ImageStreamLayers, error)
	// Tag is the tag that was asked for, or empty.
	Tag    string
	Digest digest.Digest
	// Passed are the registries that the question has passed (HeaderPassed).
	Passed []string
	// Trace is the span of the one who asks; what is fetched in the background for several
	// belongs to the first of them.
	Trace trace.SpanContext
}

// Service is the pull-through of one process. All methods may be used concurrently.
type Service struct {
	options      Options
	own          ownHosts
	keyrings     *keyrings
	repositories *repositories
	manifests    manifestFlights
	manifestGate *gate
	questions    *gate
	downloads    *downloads

	// base ends with the process, work are the goroutines below it.
	base context.Context //nolint:containedctx // work in the background outlives requests
	stop context.CancelFunc
	work sync.WaitGroup
}

// New returns a Service. It asks nobody.
func New(options Options) (*Service, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	s := &Service{
		options: options, own: newOwnHosts(options.ServerAddr, options.OwnHosts),
		keyrings:     newKeyrings(options),
		manifests:    manifestFlights{running: map[string]*manifestFlight{}},
		manifestGate: newGate(options.Limits.Manifests, options.Limits.NamespaceManifests),
		questions:    newGate(options.Limits.Questions, options.Limits.NamespaceQuestions),
		downloads:    newDownloads(newGate(options.Limits.Downloads, options.Limits.NamespaceDownloads)),
	}
	s.repositories = newRepositories(s)
	s.base, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Stop ends the work in the background and waits for it.
func (s *Service) Stop() {
	s.stop()
	s.work.Wait()
	s.options.Client.Close()
}
