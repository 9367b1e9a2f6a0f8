package store

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/distribution/distribution/v3/registry/storage/driver"
)

// steadyAttempts is how often something is tried in which a removal came in between.
const steadyAttempts = 5

// steady lies below the store and the engine and repeats what met a removal on a file system:
// a directory can go between its creation and that of the file in it, and over a network the
// name that was looked up can belong to what another host has removed since. Nothing was done
// then, and the next attempt finds a state in which it succeeds, or fails for a reason.
type steady struct{ driver.StorageDriver }

func repeat(ctx context.Context, again func(error) bool, do func() error) error {
	var err error
	for range steadyAttempts {
		if err = do(); err == nil || ctx.Err() != nil || !again(err) {
			break
		}
	}
	return err
}

// GetContent implements driver.StorageDriver.
func (s *steady) GetContent(ctx context.Context, path string) (content []byte, err error) {
	err = repeat(ctx, isStale, func() error {
		content, err = s.StorageDriver.GetContent(ctx, path)
		return err
	})
	return content, err
}

// PutContent implements driver.StorageDriver. Also the file that would be put in place can have
// gone with the directory.
func (s *steady) PutContent(ctx context.Context, path string, content []byte) error {
	return repeat(ctx, func(err error) bool { return isCutOff(err) || isNotFound(err) }, func() error {
		return s.StorageDriver.PutContent(ctx, path, content)
	})
}

// Writer implements driver.StorageDriver.
func (s *steady) Writer(ctx context.Context, path string, appending bool) (writer driver.FileWriter, err error) {
	err = repeat(ctx, isCutOff, func() error {
		writer, err = s.StorageDriver.Writer(ctx, path, appending)
		return err
	})
	return writer, err
}

// Move implements driver.StorageDriver. That the source is not there is no accident.
func (s *steady) Move(ctx context.Context, from, to string) error {
	return repeat(ctx, isCutOff, func() error { return s.StorageDriver.Move(ctx, from, to) })
}

// Stat implements driver.StorageDriver.
func (s *steady) Stat(ctx context.Context, path string) (info driver.FileInfo, err error) {
	err = repeat(ctx, isStale, func() error {
		info, err = s.StorageDriver.Stat(ctx, path)
		return err
	})
	return info, err
}

// isStale tells that a file server did not know any more what a name stood for.
func isStale(err error) bool { return errors.Is(Cause(err), syscall.ESTALE) }

// isCutOff tells that a directory went while something was put into it.
func isCutOff(err error) bool {
	cause := Cause(err)
	return !isFull(cause) && (isStale(err) || isNotFound(cause) && !isNotFound(err) || errors.Is(cause, fs.ErrNotExist) || errors.Is(cause, fs.ErrExist))
}

// isWrittenAgain tells that a file system has emptied a directory and could not remove it,
// because somebody wrote into it in that moment, or, over NFS, still reads what was in it.
func isWrittenAgain(err error) bool {
	return isOneOf(err, syscall.ENOTEMPTY, syscall.EEXIST, syscall.EBUSY)
}

// isDefinite tells that an operation on a file system was refused, so that nothing of it can
// still happen later. A timeout, or an error of a network, is no such answer.
func isDefinite(err error) bool {
	return !errors.Is(err, context.DeadlineExceeded) && (isWrittenAgain(err) || isFull(Cause(err)) || isOneOf(err,
		syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.ENOENT, syscall.ENOTDIR, syscall.EISDIR,
		syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EMFILE, syscall.ENFILE, syscall.EINVAL, syscall.ESTALE))
}

func isOneOf(err error, codes ...syscall.Errno) bool {
	var code syscall.Errno
	if !errors.As(Cause(err), &code) {
		return false
	}
	for _, candidate := range codes {
		if code == candidate {
			return true
		}
	}
	return false
}

// emptyRemover is a driver of a storage that has directories and can remove one without what
// somebody puts into it at this moment. The interface of drivers knows only removal with all
// content.
type emptyRemover interface {
	RemoveEmpty(ctx context.Context, path string) error
}

// directories adds that to the driver of a file system.
type directories struct {
	driver.StorageDriver
	root string
}

// RemoveEmpty removes a directory that is empty. One that is not, and one that is not there,
// are no error.
func (d *directories) RemoveEmpty(_ context.Context, path string) error {
	full := filepath.Join(d.root, filepath.FromSlash(path))
	err := syscall.Rmdir(full)
	if err == nil || errors.Is(err, syscall.ENOENT) || isWrittenAgain(err) {
		return nil
	}
	return driver.Error{DriverName: d.Name(), Detail: &fs.PathError{Op: "rmdir", Path: full, Err: err}}
}

// removeEmpty removes a directory unless something is in it. Where the driver cannot do that in
// one step, it looks before.
func (s *Store) removeEmpty(ctx context.Context, path string) error {
	if s.directories != nil {
		if err := s.directories.RemoveEmpty(ctx, path); err != nil {
			return &Error{"remove empty " + path, err}
		}
		return nil
	}
	entries, err := s.list(ctx, path)
	if err != nil || len(entries) > 0 {
		return err
	}
	return s.remove(ctx, path)
}
