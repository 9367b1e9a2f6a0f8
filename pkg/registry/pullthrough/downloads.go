package pullthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/store"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// errNotKept marks a failure of the own storage, or a reason not to use it: the source is
// fine, and readers go there themselves.
var errNotKept = errors.New("the content is not kept")

// downloads are the blobs on their way into the storage, by repository and digest.
type downloads struct {
	gate *gate

	mu      sync.Mutex
	running map[string]*download
	// failed is when the storage failed last.
	failed time.Time
}

func newDownloads(g *gate) *downloads {
	return &downloads{gate: g, running: map[string]*download{}}
}

// download is one blob on its way into the storage.
type download struct {
	*window
	// opened is closed when the source has answered; then size or refused is set. size
	// is -1 when the source does not say.
	opened  chan struct{}
	size    int64
	refused error
}

// purpose is whom a download is for.
type purpose int

const (
	// forNobody: the blob is to be kept for later.
	forNobody purpose = iota
	// forReader: a client reads along.
	forReader
	// forPush: a push waits, which has a slot of the limiter itself.
	forPush
)

// share finds the download of a blob or starts it, and makes a reader of it for a client.
// Without room for a download the result is nil.
func (s *Service) share(r *Request, layers *imagev1.ImageStreamLayers, list []source, whom purpose) (*download, *follower) {
	along := whom == forReader
	key := r.Name.String() + " " + r.Digest.String()
	d := s.downloads
	d.mu.Lock()
	defer d.mu.Unlock()
	if running := d.running[key]; running != nil {
		// Two registries whose clients wait for each other's download would wait for ever.
		if len(r.Passed) > 0 {
			return nil, nil
		}
		s.options.Observer.DownloadShared(true)
		if along {
			return running, running.follow()
		}
		return running, nil
	}
	if s.options.Now().Sub(d.failed) < s.options.Limits.Pause {
		return nil, nil
	}
	leave, ok := d.gate.try(r.Name.Namespace)
	if !ok {
		return nil, nil
	}
	release, ok := s.options.Writes.TryAcquire()
	switch {
	case !ok && whom == forPush:
		release = func() {}
	case !ok:
		leave()
		return nil, nil
	}
	s.options.Observer.DownloadShared(false)
	started := &download{window: newWindow(s.options.Limits), opened: make(chan struct{}), size: -1}
	d.running[key] = started
	var reader *follower
	if along {
		reader = started.follow()
	}
	request := *r
	s.work.Go(func() {
		defer leave()
		defer release()
		s.run(started, key, request, layers, list)
	})
	return started, reader
}

// run downloads a blob and tells everybody who waits.
func (s *Service) run(d *download, key string, r Request, layers *imagev1.ImageStreamLayers, list []source) {
	ctx, cancel := context.WithCancel(trace.ContextWithSpanContext(s.base, r.Trace))
	defer cancel()
	info, err := s.keep(ctx, cancel, d, &r, layers, list)
	select {
	case <-d.opened:
	default:
		d.refused = err
		close(d.opened)
	}
	d.close(info, err)
	result := "ok"
	switch {
	case d.refused != nil:
		result = "refused"
	case err != nil:
		result = "failed"
		s.options.Log.Warn("a blob was not kept", zap.Stringer("repository", r.Name), zap.Stringer("digest", r.Digest), zap.Error(err))
	}
	s.options.Observer.MirrorDone(result, info.Size)
	var storage *store.Error
	s.downloads.mu.Lock()
	defer s.downloads.mu.Unlock()
	if errors.As(err, &storage) {
		s.downloads.failed = s.options.Now()
	}
	delete(s.downloads.running, key)
}

// keep fetches a blob into the storage and links it in the repository.
func (s *Service) keep(ctx context.Context, cancel context.CancelFunc, d *download, r *Request, layers *imagev1.ImageStreamLayers, list []source) (store.Info, error) {
	// The one who waited for the slot of another download of the same blob finds it here.
	if info, err := s.linked(ctx, r); !errors.Is(err, store.ErrNotFound) {
		if err == nil {
			d.size = info.Size
			close(d.opened)
		}
		return info, err
	}
	blob, err := search(ctx, s, r, list, "Blob", apierror.CodeBlobUnknown, func(repository *remote.Repository) (*remote.Blob, error) {
		return repository.OpenBlob(ctx, r.Digest, "")
	})
	if err != nil {
		return store.Info{}, err
	}
	defer blob.Body.Close() //nolint:errcheck // everything was read, or it is of no use
	expected := sizeOf(layers, r.Digest)
	d.size = blob.Size
	close(d.opened)
	if expected >= 0 && blob.Size >= 0 && expected != blob.Size {
		return store.Info{}, fmt.Errorf("%w: the image says that it has %d bytes, its source %d", errNotKept, expected, blob.Size)
	}
	if expected < 0 {
		expected = blob.Size
	}
	limits := s.options.Limits
	time := limits.GraceOfCopy + time.Duration(max(expected, 0)/limits.SlowestCopy)*time.Second
	defer timeAfter(time, cancel)()
	upload, err := s.options.Store.NewUpload(ctx, r.Name)
	if err != nil {
		return store.Info{}, fmt.Errorf("%w: %w", errNotKept, err)
	}
	if _, err := upload.Append(&published{ctx: ctx, window: d.window, reader: &careful{reader: blob.Body, limit: expected}}); err != nil {
		_ = upload.Cancel(ctx) // what stays of it is purged with old sessions
		return store.Info{}, s.keepError(err)
	}
	info, err := upload.Commit(ctx, r.Digest)
	if err != nil {
		return store.Info{}, s.keepError(err)
	}
	return info, nil
}

func (s *Service) keepError(err error) error {
	var storage *store.Error
	if errors.As(err, &storage) {
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	return err
}

// timeAfter calls a function later; the result calls it off.
func timeAfter(d time.Duration, f func()) (stop func()) {
	timer := time.AfterFunc(d, f)
	return func() { timer.Stop() }
}

// linked finds a blob that the repository has meanwhile.
func (s *Service) linked(ctx context.Context, r *Request) (store.Info, error) {
	canonical, err := s.options.Store.Link(ctx, r.Name, store.Layers, r.Digest)
	if err != nil {
		return store.Info{}, err
	}
	return s.options.Store.Stat(ctx, canonical)
}

// published shows the bytes that are read through it to the readers of a window.
type published struct {
	ctx    context.Context //nolint:containedctx // io.Reader has no room for it
	window *window
	reader io.Reader
}

// Read implements io.Reader.
func (p *published) Read(b []byte) (int, error) {
	n, err := p.reader.Read(b)
	if waited := p.window.publish(p.ctx, b[:n]); waited != nil {
		return n, waited
	}
	if errors.Is(err, io.EOF) {
		p.window.finish()
	}
	return n, err
}
