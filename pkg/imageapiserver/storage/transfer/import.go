package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
)

// writers is how many objects are written at once. Kube-apiserver answers in milliseconds, so that one
// after the other would take minutes for what a large installation holds.
const writers = 16

// Import stores the objects of an export. What exists with the same uid is kept, or replaced when
// overwrite is set. A line that cannot be stored is reported and counted, and the rest goes on.
func Import(ctx context.Context, to *Store, in io.Reader, overwrite bool, report Report) (*Summary, error) {
	w := newWriter(ctx, to, overwrite, report)
	lines := bufio.NewReaderSize(in, 1<<20)
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return w.finish(fmt.Errorf("line %d: %w", number, err))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := w.write(line); err != nil {
				w.fail("input", "line %d: %v", number, err)
			}
		}
		if errors.Is(err, io.EOF) || w.ctx.Err() != nil {
			return w.finish(nil)
		}
	}
}

// readLine reads a line of any length that an object may have.
func readLine(lines *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := lines.ReadSlice('\n')
		if line = append(line, part...); len(line) > compress.MaxSize {
			return nil, fmt.Errorf("longer than %d bytes", compress.MaxSize)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// writer stores objects, several at once, but never of two kinds: what comes first may be what the
// next kind names.
type writer struct {
	ctx       context.Context
	to        *Store
	overwrite bool
	report    Report
	group     *errgroup.Group
	kind      string

	mu      sync.Mutex
	summary *Summary
}

func newWriter(ctx context.Context, to *Store, overwrite bool, report Report) *writer {
	w := &writer{ctx: ctx, to: to, overwrite: overwrite, report: report, summary: &Summary{}, group: &errgroup.Group{}}
	w.group.SetLimit(writers)
	return w
}

// write begins to store an object. An error says that it is none; what goes wrong later is reported.
func (w *writer) write(data []byte) error {
	obj, err := parse(data)
	if err != nil {
		return err
	}
	r, err := w.to.ofKind(obj.TypeMeta)
	if err != nil {
		return err
	}
	if r.Namespaced != (obj.Namespace != "") {
		return fmt.Errorf("%s %s: namespace %q", r.kind, obj.Name, obj.Namespace)
	}
	if _, err := r.check(data); err != nil {
		return fmt.Errorf("%s %s: %w", r.kind, obj.path(), err)
	}
	if r.kind != w.kind {
		w.wait()
		w.kind = r.kind
	}
	w.group.Go(func() error {
		w.bring(r, obj)
		return nil
	})
	return nil
}

func (w *writer) bring(r *resourceStore, obj *object) {
	result, err := r.bring(w.ctx, obj, w.overwrite)
	resource := r.Resource.Resource.Resource
	if err != nil {
		w.fail(resource, "%s %s: %v", r.kind, obj.path(), err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.summary.add(resource, map[outcome]string{created: Created, unchanged: Unchanged, kept: Kept, replaced: Replaced}[result])
}

func (w *writer) fail(resource, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report("failed: "+format, args...)
	w.summary.add(resource, Failed)
}

func (w *writer) wait() {
	_ = w.group.Wait() // its functions report instead of failing
}

func (w *writer) finish(err error) (*Summary, error) {
	w.wait()
	if err == nil {
		err = w.ctx.Err()
	}
	return w.summary, err
}
