package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// seen counts what an observer hears.
type seen struct {
	mu   sync.Mutex
	done map[string]int
}

func (s *seen) StorageDone(operation, code string, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = map[string]int{}
	}
	s.done[operation+" "+code]++
}

func (s *seen) operations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.done))
}

// troubled is a driver whose operations fail, or hang until their context ends.
type troubled struct {
	driver.StorageDriver

	err   error
	hangs bool
	tries int
	heals bool
}

func (d *troubled) trouble(ctx context.Context) error {
	d.tries++
	if d.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if d.heals && d.tries > 1 {
		return nil
	}
	return d.err
}

func (d *troubled) Stat(ctx context.Context, _ string) (driver.FileInfo, error) {
	return nil, d.trouble(ctx)
}
func (d *troubled) PutContent(ctx context.Context, _ string, _ []byte) error { return d.trouble(ctx) }
func (d *troubled) Writer(ctx context.Context, _ string, _ bool) (driver.FileWriter, error) {
	return &troubledWriter{driver: d, ctx: ctx}, nil
}

type troubledWriter struct {
	driver.FileWriter

	driver *troubled
	ctx    context.Context //nolint:containedctx // as drivers do
}

func (w *troubledWriter) Write(p []byte) (int, error) { return len(p), w.driver.trouble(w.ctx) }

// provider is an error as the client of S3 makes them.
type provider struct {
	code   string
	status int
}

func (p provider) Error() string   { return p.code + ": said the server" }
func (p provider) Code() string    { return p.code }
func (p provider) StatusCode() int { return p.status }

func newStore(t *testing.T, d driver.StorageDriver, options Options) *Store {
	t.Helper()
	options.Now = time.Now
	s, err := New(t.Context(), d, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func requestOf(ctx context.Context) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
}

// Behaviour 96.
func TestEveryStorageOperationIsMeasured(t *testing.T) {
	heard := &seen{}
	d := Observe(inmemory.New(), ObserveOptions{Observer: heard, Limit: time.Minute})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(d.PutContent(ctx, "/a/b", []byte("x")))
	_, err := d.GetContent(ctx, "/a/b")
	must(err)
	_, err = d.Stat(ctx, "/a/b")
	must(err)
	_, err = d.List(ctx, "/a")
	must(err)
	reader, err := d.Reader(ctx, "/a/b", 0)
	must(err)
	must(reader.Close())
	for range 2 {
		writer, err := d.Writer(ctx, "/a/c", false)
		must(err)
		_, err = writer.Write([]byte("y"))
		must(err)
		must(writer.Commit(ctx))
		must(writer.Close())
	}
	writer, err := d.Writer(ctx, "/a/d", false)
	must(err)
	must(writer.Cancel(ctx))
	must(d.Move(ctx, "/a/c", "/a/e"))
	must(d.Walk(ctx, "/", func(driver.FileInfo) error { return nil }))
	must(d.Delete(ctx, "/a"))
	url, err := d.RedirectURL(requestOf(ctx), "/a/b")
	must(err)
	if url != "" {
		t.Errorf("redirect to %q", url)
	}
	want := []string{
		"FileWriter.Cancel ", "FileWriter.Close ", "FileWriter.Commit ", "FileWriter.Write ",
		"StorageDriver.Delete ", "StorageDriver.GetContent ", "StorageDriver.List ", "StorageDriver.Move ", "StorageDriver.PutContent ",
		"StorageDriver.Reader ", "StorageDriver.RedirectURL ", "StorageDriver.Stat ", "StorageDriver.Walk ", "StorageDriver.Writer ",
	}
	if got := heard.operations(); !slices.Equal(got, want) {
		t.Errorf("heard of\n%q, want\n%q", got, want)
	}
}

// Behaviour 96.
func TestStorageErrorsHaveTheirCodes(t *testing.T) {
	for want, err := range map[string]error{
		"":                     io.EOF,
		codePathNotFound:       driver.PathNotFoundError{Path: "/a"},
		codeInvalidPath:        driver.InvalidPathError{Path: "a"},
		codeInvalidOffset:      driver.InvalidOffsetError{Offset: -1},
		codeReadOnly:           driver.Error{DriverName: "filesystem", Detail: fmt.Errorf("open: %w", syscall.EROFS)},
		codeTooLarge:           driver.Error{Detail: syscall.EFBIG},
		codeNoSpace:            driver.Error{Detail: syscall.ENOSPC},
		codeUnknown:            errors.New("no idea"),
		codeTooLarge + " s3":   driver.Error{Detail: provider{"EntityTooLarge", 400}},
		codeNoSpace + " quota": driver.Error{Detail: syscall.EDQUOT},
		codeNoSpace + " s3":    driver.Error{Detail: fmt.Errorf("upload part: %w", provider{"XMinioStorageFull", 507})},
		codeUnknown + " s3":    driver.Error{Detail: provider{"SlowDown", 503}},
	} {
		want, _, _ = strings.Cut(want, " ")
		if got := errorCode(err); got != want {
			t.Errorf("%v: code %q, want %q", err, got, want)
		}
	}
	if got := errorCode(driver.ErrUnsupportedMethod{DriverName: "x"}); got != "" {
		t.Errorf("a method that the driver does not have counts as %q", got)
	}
	heard := &seen{}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	d := Observe(&troubled{err: errors.New("request canceled")}, ObserveOptions{Observer: heard})
	if _, err := d.Stat(ctx, "/a"); err == nil {
		t.Error("no error")
	}
	if got := heard.operations(); !slices.Equal(got, []string{"StorageDriver.Stat "}) {
		t.Errorf("heard %q, want no failure when the client left", got)
	}
}

func TestErrorsNameTheStorageAndKeepTheirKind(t *testing.T) {
	full := Observe(&troubled{err: driver.Error{DriverName: "s3aws", Detail: provider{"QuotaExceeded", 403}}}, ObserveOptions{Place: `S3 bucket "images"`})
	s := newStore(t, full, Options{})
	err := s.Check(t.Context())
	var storage *Error
	if !errors.As(err, &storage) || !storage.Full() || !strings.Contains(err.Error(), `S3 bucket "images": s3aws: QuotaExceeded: said the server`) {
		t.Errorf("error %v, want place and words of the server, and that it is full", err)
	}
	missing := Observe(&troubled{err: driver.PathNotFoundError{Path: "/a"}}, ObserveOptions{Place: "here"})
	if _, err := missing.Stat(t.Context(), "/a"); err != (driver.PathNotFoundError{Path: "/a"}) { //nolint:errorlint // the engine compares types
		t.Errorf("error %#v, want it unchanged", err)
	}
}

func TestAStorageThatHangsIsGivenUp(t *testing.T) {
	d := Observe(&troubled{hangs: true}, ObserveOptions{Limit: 20 * time.Millisecond, Place: "here"})
	if _, err := d.Stat(t.Context(), "/a"); err == nil || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("error %v", err)
	}
	writer, err := d.Writer(t.Context(), "/a", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), "here: no answer within 20ms") {
		t.Errorf("error of a write %v", err)
	}
}

// Object stores and their proxies sometimes hang in single kinds of requests. Uploads ask
// with contexts that do not end with their request, so nothing else would end them.
func TestNoOperationOfAStorageThatHangsGoesOnForEver(t *testing.T) {
	d := Observe(&hanging{}, ObserveOptions{Limit: 10 * time.Millisecond, Place: "here"})
	ctx := t.Context()
	for name, operation := range map[string]func() error{
		"list":   func() error { _, err := d.List(ctx, "/a"); return err },
		"move":   func() error { return d.Move(ctx, "/a", "/b") },
		"delete": func() error { return d.Delete(ctx, "/a") },
		"walk":   func() error { return d.Walk(ctx, "/a", func(driver.FileInfo) error { return nil }) },
		"read": func() error {
			reader, err := d.Reader(ctx, "/a", 0)
			if err != nil {
				return err
			}
			_, err = reader.Read(make([]byte, 1))
			return errors.Join(err, reader.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			go func() { ended <- operation() }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "here: no answer within") {
					t.Errorf("error %v, want that there is no answer", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("it hangs")
			}
		})
	}
}

// A download, an upload or a walk that goes on has no end, however long it takes.
func TestWhatGoesOnIsNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Observe(&hanging{slow: true}, ObserveOptions{Limit: time.Minute})
		reader, err := d.Reader(t.Context(), "/a", 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 { // the client takes longer than the limit, the storage half of it
			if _, err := reader.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		visits := 0
		err = d.Walk(t.Context(), "/a", func(driver.FileInfo) error {
			visits++
			time.Sleep(10 * time.Minute)
			return nil
		})
		if err != nil || visits != 100 {
			t.Errorf("%d visits, %v", visits, err)
		}
	})
}

// hanging is a driver that says nothing until its context ends, or is slow.
type hanging struct {
	driver.StorageDriver

	slow bool
}

func (h *hanging) hang(ctx context.Context) error {
	if h.slow {
		select {
		case <-time.After(30 * time.Second):
			return nil
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) List(ctx context.Context, _ string) ([]string, error) { return nil, h.hang(ctx) }
func (h *hanging) Move(ctx context.Context, _, _ string) error          { return h.hang(ctx) }
func (h *hanging) Delete(ctx context.Context, _ string) error           { return h.hang(ctx) }
func (h *hanging) Reader(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
	return hangingReader{h, ctx}, nil
}

func (h *hanging) Walk(ctx context.Context, _ string, each driver.WalkFn, _ ...func(*driver.WalkOptions)) error {
	for range 100 {
		if err := h.hang(ctx); err != nil {
			return err
		}
		if err := each(driver.FileInfoInternal{}); err != nil {
			return err
		}
	}
	return nil
}

type hangingReader struct {
	driver *hanging
	ctx    context.Context //nolint:containedctx // as drivers do
}

func (r hangingReader) Read(p []byte) (int, error) { return len(p), r.driver.hang(r.ctx) }
func (r hangingReader) Close() error               { return nil }

func TestRefusedWriteOfTheSameIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"s3":    {driver.Error{Detail: provider{"OperationAborted", 409}}, 2},
		"azure": {driver.Error{Detail: errors.New("PUT https://x\nRESPONSE 409: 409 The blob is leased")}, 2},
		"other": {driver.Error{Detail: provider{"AccessDenied", 403}}, 1},
	} {
		d := &troubled{err: c.err, heals: true}
		err := newStore(t, d, Options{}).put(t.Context(), "/a", nil)
		if d.tries != c.want || (err == nil) != (c.want == 2) {
			t.Errorf("%s: %d attempts, error %v; want %d", name, d.tries, err, c.want)
		}
	}
}

// breaking is a driver whose readers break off after some bytes.
type breaking struct {
	driver.StorageDriver

	step  int
	opens int
}

func (d *breaking) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	d.opens++
	reader, err := d.StorageDriver.Reader(ctx, path, offset)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.MultiReader(io.LimitReader(reader, int64(d.step)), failing{})), nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReadingGoesOnAfterABrokenConnection(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10)
	inner := inmemory.New()
	plain := newStore(t, inner, Options{})
	info := Info{Digest: digest.FromBytes(content), Size: int64(len(content))}
	if err := plain.PutManifest(t.Context(), content, info.Digest); err != nil {
		t.Fatal(err)
	}
	d := &breaking{StorageDriver: inner, step: 30}
	opened, err := newStore(t, d, Options{}).Open(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(opened)
	if err != nil || !bytes.Equal(got, content) || d.opens != 4 {
		t.Errorf("%d bytes by %d readers, error %v", len(got), d.opens, err)
	}
	d.step, d.opens = 0, 0
	if opened, err = newStore(t, d, Options{}).Open(t.Context(), info); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(opened); err == nil || d.opens != maxReadFailures+1 {
		t.Errorf("error %v after %d readers, want an end", err, d.opens)
	}
}

func TestMiddlewareIsAppliedInOrder(t *testing.T) {
	chain := []configuration.Middleware{
		{Name: "redirect", Options: configuration.Parameters{"baseurl": "https://first.test"}},
		{Name: "rewrite", Options: configuration.Parameters{"host": "second.test"}},
		{Name: "rewrite", Options: configuration.Parameters{"host": "disabled.test"}, Disabled: true},
	}
	d, err := OpenDriver(t.Context(), "inmemory", nil, chain)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Observe(d, ObserveOptions{}).RedirectURL(requestOf(t.Context()), "/a/b")
	if err != nil || got != "https://second.test/a/b" {
		t.Errorf("redirect to %q, %v", got, err)
	}
	if _, err := OpenDriver(t.Context(), "inmemory", nil, []configuration.Middleware{{Name: "unheard"}}); err == nil || !strings.Contains(err.Error(), "middleware.storage unheard") {
		t.Errorf("error %v", err)
	}
}
