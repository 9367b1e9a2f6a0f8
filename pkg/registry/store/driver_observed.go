package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// DriverObserver hears about every operation of the storage driver. The code is "" for
// one that did not fail, and for failures that say nothing about the storage.
type DriverObserver interface {
	StorageDone(operation, code string, took time.Duration)
}

// ObserveOptions are the options of Observe.
type ObserveOptions struct {
	// Observer may be nil.
	Observer DriverObserver
	// Place names the storage in errors, for example `bucket "images"`; "" for none.
	Place string
	// Limit ends an operation of a back end that does not answer, 0 for never. An upload
	// is not one operation, but each write to it is.
	Limit time.Duration
}

// Observe puts the outermost layer around a driver: it measures, counts failures by their
// code, names the storage in errors and ends what hangs. What the driver says about paths
// that are not there passes unchanged, because the storage engine looks at the types.
func Observe(inner driver.StorageDriver, options ObserveOptions) driver.StorageDriver {
	return &observed{StorageDriver: inner, options: options}
}

type observed struct {
	driver.StorageDriver

	options ObserveOptions
}

// limited gives an operation its end.
func (o *observed) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.options.Limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, o.options.Limit, o.timedOut())
}

func (o *observed) timedOut() error { return fmt.Errorf("no answer within %s", o.options.Limit) }

// done reports an operation and returns its error as callers shall see it.
func (o *observed) done(ctx context.Context, operation string, start time.Time, err error) error {
	if o.options.Observer != nil {
		code := errorCode(err)
		if errors.Is(context.Cause(ctx), context.Canceled) {
			code = "" // whoever asked has left
		}
		o.options.Observer.StorageDone(operation, code, time.Since(start))
	}
	return o.locate(ctx, err)
}

// locate adds where the storage is and why an operation was ended.
func (o *observed) locate(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) || isDriverAnswer(err) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if o.options.Place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", o.options.Place, err)
}

// GetContent implements driver.StorageDriver.
func (o *observed) GetContent(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := o.limited(ctx)
	defer cancel()
	start := time.Now()
	content, err := o.StorageDriver.GetContent(ctx, path)
	return content, o.done(ctx, "StorageDriver.GetContent", start, err)
}

// PutContent implements driver.StorageDriver.
func (o *observed) PutContent(ctx context.Context, path string, content []byte) error {
	ctx, cancel := o.limited(ctx)
	defer cancel()
	start := time.Now()
	return o.done(ctx, "StorageDriver.PutContent", start, o.StorageDriver.PutContent(ctx, path, content))
}

// Reader implements driver.StorageDriver. Only opening has a limit: the bytes flow as fast
// as the client takes them, and the server ends a transfer without progress.
func (o *observed) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	start := time.Now()
	ctx, dog := o.watch(ctx)
	reader, err := o.StorageDriver.Reader(ctx, path, offset)
	dog.rest()
	return reader, o.done(ctx, "StorageDriver.Reader", start, err)
}

// Writer implements driver.StorageDriver. The writer lives as long as the upload does.
func (o *observed) Writer(ctx context.Context, path string, appending bool) (driver.FileWriter, error) {
	start := time.Now()
	ctx, dog := o.watch(ctx)
	writer, err := o.StorageDriver.Writer(ctx, path, appending)
	dog.rest()
	if err = o.done(ctx, "StorageDriver.Writer", start, err); err != nil {
		return nil, err
	}
	return &observedWriter{FileWriter: writer, observed: o, ctx: ctx, dog: dog}, nil
}

// Stat implements driver.StorageDriver.
func (o *observed) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	ctx, cancel := o.limited(ctx)
	defer cancel()
	start := time.Now()
	info, err := o.StorageDriver.Stat(ctx, path)
	return info, o.done(ctx, "StorageDriver.Stat", start, err)
}

// List implements driver.StorageDriver. A long listing is many requests, so it has no limit.
func (o *observed) List(ctx context.Context, path string) ([]string, error) {
	start := time.Now()
	entries, err := o.StorageDriver.List(ctx, path)
	return entries, o.done(ctx, "StorageDriver.List", start, err)
}

// Move implements driver.StorageDriver. Object stores copy, which takes its time.
func (o *observed) Move(ctx context.Context, from, to string) error {
	start := time.Now()
	return o.done(ctx, "StorageDriver.Move", start, o.StorageDriver.Move(ctx, from, to))
}

// Delete implements driver.StorageDriver.
func (o *observed) Delete(ctx context.Context, path string) error {
	start := time.Now()
	return o.done(ctx, "StorageDriver.Delete", start, o.StorageDriver.Delete(ctx, path))
}

// RedirectURL implements driver.StorageDriver.
func (o *observed) RedirectURL(r *http.Request, path string) (string, error) {
	start := time.Now()
	url, err := o.StorageDriver.RedirectURL(r, path)
	return url, o.done(r.Context(), "StorageDriver.RedirectURL", start, err)
}

// Walk implements driver.StorageDriver. What the callback returns is no failure of the
// storage.
func (o *observed) Walk(ctx context.Context, path string, each driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	start := time.Now()
	var own error
	err := o.StorageDriver.Walk(ctx, path, func(info driver.FileInfo) error {
		own = each(info)
		return own
	}, options...)
	if own != nil {
		_ = o.done(ctx, "StorageDriver.Walk", start, nil)
		return err
	}
	return o.done(ctx, "StorageDriver.Walk", start, err)
}

// observedWriter measures the operations of one upload.
type observedWriter struct {
	driver.FileWriter

	observed *observed
	ctx      context.Context //nolint:containedctx // the driver's writer keeps it as well
	dog      *watchdog
}

// Write implements io.Writer.
func (w *observedWriter) Write(p []byte) (int, error) {
	start := time.Now()
	w.dog.wake()
	n, err := w.FileWriter.Write(p)
	w.dog.rest()
	return n, w.observed.done(w.ctx, "FileWriter.Write", start, err)
}

// Close implements io.Closer.
func (w *observedWriter) Close() error {
	start := time.Now()
	w.dog.wake()
	err := w.FileWriter.Close()
	w.dog.rest()
	return w.observed.done(w.ctx, "FileWriter.Close", start, err)
}

// Cancel implements driver.FileWriter.
func (w *observedWriter) Cancel(ctx context.Context) error {
	ctx, cancel := w.observed.limited(ctx)
	defer cancel()
	start := time.Now()
	return w.observed.done(ctx, "FileWriter.Cancel", start, w.FileWriter.Cancel(ctx))
}

// Commit implements driver.FileWriter.
func (w *observedWriter) Commit(ctx context.Context) error {
	start := time.Now()
	w.dog.wake()
	err := w.FileWriter.Commit(ctx)
	w.dog.rest()
	return w.observed.done(w.ctx, "FileWriter.Commit", start, err)
}

// watchdog ends a context when one step takes too long, and lets it live between steps.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
}

// watch returns a context with an awake watchdog.
func (o *observed) watch(ctx context.Context) (context.Context, *watchdog) {
	if o.options.Limit <= 0 {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{timer: time.AfterFunc(o.options.Limit, func() { cancel(o.timedOut()) }), limit: o.options.Limit}
}

func (w *watchdog) wake() {
	if w != nil {
		w.timer.Reset(w.limit)
	}
}

func (w *watchdog) rest() {
	if w != nil {
		w.timer.Stop()
	}
}
