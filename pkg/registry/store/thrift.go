package store

import (
	"context"
	"path"
	"strings"
	"sync"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// filesystemDriver is the name of the driver whose writes are expensive for being synced.
const filesystemDriver = "filesystem"

// thrifty lies between the engine and the driver and leaves out what an upload does not need,
// because each write to a file system waits for the disk and each to an object store is a
// request:
//
//   - the state of the hash of nothing, which the engine never reads, and that of a session
//     which is complete, because the session is removed a moment later. After a crash in
//     between, the engine reads the bytes again.
//   - on a file system, the empty file of a session that was opened and got nothing yet.
//
// What is acknowledged is written as before.
type thrifty struct {
	driver.StorageDriver
	// complete are the sessions whose bytes are committed, until their state would be written.
	complete sync.Map
}

// PutContent implements driver.StorageDriver.
func (t *thrifty) PutContent(ctx context.Context, target string, content []byte) error {
	if session, offset, ok := hashState(target); ok {
		if _, done := t.complete.LoadAndDelete(session); done || offset == "0" {
			return nil
		}
	}
	return t.StorageDriver.PutContent(ctx, target, content)
}

// Delete implements driver.StorageDriver. On a file system a session ends with what makes it
// known, so that nobody goes on with a part of it: who came before has been seen, or sees the
// announcement of the one who ends it. What somebody puts there who came too late does not make
// an upload fail that is stored; it goes with his announcement.
func (t *thrifty) Delete(ctx context.Context, target string) error {
	if t.Name() != filesystemDriver || path.Base(path.Dir(target)) != "_uploads" {
		return t.StorageDriver.Delete(ctx, target)
	}
	if err := t.StorageDriver.Delete(ctx, target+"/startedat"); err != nil && !isNotFound(err) {
		return err
	}
	err := repeat(ctx, func(err error) bool { return isWrittenAgain(err) || isVanished(err) && !isNotFound(err) }, func() error {
		return t.StorageDriver.Delete(ctx, target)
	})
	if isWrittenAgain(err) {
		return nil
	}
	return err
}

// hashState takes the path of a state apart: SESSION/hashstates/ALGORITHM/OFFSET.
func hashState(target string) (session, offset string, ok bool) {
	algorithm, offset := path.Split(target)
	states, _ := path.Split(strings.TrimSuffix(algorithm, "/"))
	session, ok = strings.CutSuffix(states, "/hashstates/")
	return session, offset, ok
}

// Writer implements driver.StorageDriver.
func (t *thrifty) Writer(ctx context.Context, target string, appending bool) (driver.FileWriter, error) {
	session, isData := strings.CutSuffix(target, "/data")
	if !isData || !strings.Contains(session, "/_uploads/") {
		return t.StorageDriver.Writer(ctx, target, appending)
	}
	writer := &sessionWriter{open: func() (driver.FileWriter, error) { return t.StorageDriver.Writer(ctx, target, appending) }}
	writer.committed = func() { t.complete.Store(session, struct{}{}) }
	if !appending && t.Name() == filesystemDriver {
		return writer, nil
	}
	if err := writer.need(); err != nil {
		return nil, err
	}
	return writer, nil
}

// sessionWriter is the writer of a session's bytes. It is opened when there is something to
// write, at the latest for the commit.
type sessionWriter struct {
	driver.FileWriter

	open      func() (driver.FileWriter, error)
	committed func()
}

func (w *sessionWriter) need() error {
	if w.FileWriter != nil {
		return nil
	}
	opened, err := w.open()
	if err != nil {
		return err
	}
	w.FileWriter = opened
	return nil
}

// Write implements driver.FileWriter.
func (w *sessionWriter) Write(p []byte) (int, error) {
	if err := w.need(); err != nil {
		return 0, err
	}
	return w.FileWriter.Write(p)
}

// Size implements driver.FileWriter.
func (w *sessionWriter) Size() int64 {
	if w.FileWriter == nil {
		return 0
	}
	return w.FileWriter.Size()
}

// Commit implements driver.FileWriter.
func (w *sessionWriter) Commit(ctx context.Context) error {
	if err := w.need(); err != nil {
		return err
	}
	if err := w.FileWriter.Commit(ctx); err != nil {
		return err
	}
	w.committed()
	return nil
}

// Cancel implements driver.FileWriter.
func (w *sessionWriter) Cancel(ctx context.Context) error {
	if w.FileWriter == nil {
		return nil
	}
	return w.FileWriter.Cancel(ctx)
}

// Close implements driver.FileWriter.
func (w *sessionWriter) Close() error {
	if w.FileWriter == nil {
		return nil
	}
	return w.FileWriter.Close()
}
