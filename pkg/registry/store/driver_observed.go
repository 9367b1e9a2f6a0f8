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
	// Limit ends an operation of a back end that does not answer, 0 for never. An upload or
	// a download is not one operation, but each write to it and each read of it is. What is
	// many requests in one operation has longOperation times as long.
	Limit time.Duration
}

// longOperation is for listing, copying and removing many objects.
const longOperation = 4

// Observe puts the outermost layer around a driver: it measures, counts failures by their
// code, names the storage in errors and ends what hangs. What the driver says about paths
// that are not there passes unchanged, because the storage engine looks at the types.
func Observe(inner driver.StorageDriver, options ObserveOptions) driver.StorageDriver {
	return &observed{StorageDriver: inner, options: options}
}

// directoriesOf finds out whether a driver can remove empty directories.
func directoriesOf(d driver.StorageDriver) emptyRemover {
	if o, ok := d.(*observed); ok && directoriesOf(o.StorageDriver) == nil {
		return nil
	}
	found, _ := d.(emptyRemover)
	return found
}

type observed struct {
	driver.StorageDriver

	options ObserveOptions
}

// limited gives an operation its end, after some times the limit.
func (o *observed) limited(ctx context.Context, times time.Duration) (context.Context, context.CancelFunc) {
	limit := times * o.options.Limit
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, timedOut(limit))
}

func timedOut(limit time.Duration) error { return fmt.Errorf("no answer within %s", limit) }

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
	ctx, cancel := o.limited(ctx, 1)
	defer cancel()
	start := time.Now()
	content, err := o.StorageDriver.GetContent(ctx, path)
	return content, o.done(ctx, "StorageDriver.GetContent", start, err)
}

// PutContent implements driver.StorageDriver.
func (o *observed) PutContent(ctx context.Context, path string, content []byte) error {
	ctx, cancel := o.limited(ctx, 1)
	defer cancel()
	start := time.Now()
	return o.done(ctx, "StorageDriver.PutContent", start, o.StorageDriver.PutContent(ctx, path, content))
}

// Reader implements driver.StorageDriver. Opening and each read have a limit; the time that
// the client needs in between does not count, the server ends a transfer without progress.
func (o *observed) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	start := time.Now()
	ctx, dog := o.watch(ctx, 1)
	reader, err := o.StorageDriver.Reader(ctx, path, offset)
	dog.rest()
	if err = o.done(ctx, "StorageDriver.Reader", start, err); err != nil || dog == nil {
		dog.leave()
		return reader, err
	}
	return &observedReader{ReadCloser: reader, observed: o, ctx: ctx, dog: dog}, nil
}

// Writer implements driver.StorageDriver. The writer lives as long as the upload does.
func (o *observed) Writer(ctx context.Context, path string, appending bool) (driver.FileWriter, error) {
	start := time.Now()
	ctx, dog := o.watch(ctx, 1)
	writer, err := o.StorageDriver.Writer(ctx, path, appending)
	dog.rest()
	if err = o.done(ctx, "StorageDriver.Writer", start, err); err != nil {
		return nil, err
	}
	return &observedWriter{FileWriter: writer, observed: o, ctx: ctx, dog: dog}, nil
}

// Stat implements driver.StorageDriver.
func (o *observed) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	ctx, cancel := o.limited(ctx, 1)
	defer cancel()
	start := time.Now()
	info, err := o.StorageDriver.Stat(ctx, path)
	return info, o.done(ctx, "StorageDriver.Stat", start, err)
}

// List implements driver.StorageDriver. A long listing is many requests.
func (o *observed) List(ctx context.Context, path string) ([]string, error) {
	ctx, cancel := o.limited(ctx, longOperation)
	defer cancel()
	start := time.Now()
	entries, err := o.StorageDriver.List(ctx, path)
	return entries, o.done(ctx, "StorageDriver.List", start, err)
}

// Move implements driver.StorageDriver. Object stores copy, which takes its time.
func (o *observed) Move(ctx context.Context, from, to string) error {
	ctx, cancel := o.limited(ctx, longOperation)
	defer cancel()
	start := time.Now()
	return o.done(ctx, "StorageDriver.Move", start, o.StorageDriver.Move(ctx, from, to))
}

// Delete implements driver.StorageDriver. A directory is as many objects as are below it.
func (o *observed) Delete(ctx context.Context, path string) error {
	ctx, cancel := o.limited(ctx, longOperation)
	defer cancel()
	start := time.Now()
	return o.done(ctx, "StorageDriver.Delete", start, o.StorageDriver.Delete(ctx, path))
}

// RemoveEmpty implements emptyRemover for a driver that does.
func (o *observed) RemoveEmpty(ctx context.Context, path string) error {
	inner, ok := o.StorageDriver.(emptyRemover)
	if !ok {
		return nil
	}
	ctx, cancel := o.limited(ctx, 1)
	defer cancel()
	start := time.Now()
	return o.done(ctx, "StorageDriver.Delete", start, inner.RemoveEmpty(ctx, path))
}

// RedirectURL implements driver.StorageDriver.
func (o *observed) RedirectURL(r *http.Request, path string) (string, error) {
	start := time.Now()
	url, err := o.StorageDriver.RedirectURL(r, path)
	return url, o.done(r.Context(), "StorageDriver.RedirectURL", start, err)
}

// Walk implements driver.StorageDriver. A walk takes as long as the storage is large; what
// has a limit is the time to the next callback. What the callback returns is no failure of
// the storage.
func (o *observed) Walk(ctx context.Context, path string, each driver.WalkFn, options ...func(*driver.WalkOptions)) error {
	start := time.Now()
	ctx, dog := o.watch(ctx, longOperation)
	defer dog.leave()
	var own error
	err := o.StorageDriver.Walk(ctx, path, func(info driver.FileInfo) error {
		dog.rest()
		own = each(info)
		dog.wake()
		return own
	}, options...)
	if own != nil {
		_ = o.done(ctx, "StorageDriver.Walk", start, nil)
		return err
	}
	return o.done(ctx, "StorageDriver.Walk", start, err)
}

// observedReader ends a download whose storage says nothing any more.
type observedReader struct {
	io.ReadCloser

	observed *observed
	ctx      context.Context //nolint:containedctx // the driver's reader keeps it as well
	dog      *watchdog
}

// Read implements io.Reader.
func (r *observedReader) Read(p []byte) (int, error) {
	r.dog.wake()
	n, err := r.ReadCloser.Read(p)
	r.dog.rest()
	return n, r.observed.locate(r.ctx, err)
}

// Close implements io.Closer.
func (r *observedReader) Close() error {
	r.dog.leave()
	return r.ReadCloser.Close()
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
	ctx, cancel := w.observed.limited(ctx, 1)
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
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

// watch returns a context with an awake watchdog.
func (o *observed) watch(ctx context.Context, times time.Duration) (context.Context, *watchdog) {
	limit := times * o.options.Limit
	if limit <= 0 {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{timer: time.AfterFunc(limit, func() { cancel(timedOut(limit)) }), limit: limit, cancel: cancel}
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

// leave ends the context: nobody needs it any more.
func (w *watchdog) leave() {
	if w != nil {
		w.timer.Stop()
		w.cancel(context.Canceled)
	}
}
