package etchosts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/inputs"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

const (
	fileName    = "hosts"
	fileMode    = 0o644
	maxFileSize = 1 << 20
	lockWait    = 10 * time.Second
	lockPoll    = 50 * time.Millisecond
	// attempts bounds how often one pass starts again because somebody else changed the file.
	attempts = 5
)

// State is what Observe or Apply found.
type State struct {
	// AsWanted is true when the file holds exactly the wanted block (or none, if none is wanted).
	AsWanted bool
	// Changed is true when the file was, or with a dry run would be, written.
	Changed bool
	// Addresses are those mapped by the block afterwards.
	Addresses []netip.Addr
	Reasons   []reasons.Reason
}

// errChanged says that the file is no longer the one that was read.
var errChanged = errors.New("the file was changed by another program")

// Observe compares the file with the wanted entries without opening it for writing.
func Observe(root *fsroot.Root, entries []inputs.HostEntry) State {
	path := root.HostPath(fileName)
	data, err := read(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return State{AsWanted: len(entries) == 0}
	case err != nil:
		return State{Reasons: []reasons.Reason{refused(err, path)}}
	}
	state := State{AsWanted: planFor(data, entries).empty(), Addresses: Entries(data)}
	if line, found := ForeignMapping(data, entries); found {
		state.Reasons = append(state.Reasons, reasons.New(reasons.ForeignHostsEntry, path, "",
			"%s maps the registry before the managed block: %q; remove that line", path, line))
	}
	return state
}

// Apply brings the file into the wanted state; no entries removes the block. With dryRun nothing is
// written.
func Apply(ctx context.Context, root *fsroot.Root, entries []inputs.HostEntry, dryRun bool) State {
	before := Observe(root, entries)
	if before.AsWanted || hasRefusal(before.Reasons) {
		return before
	}
	if dryRun {
		before.Changed = true
		return before
	}
	created, err := change(ctx, root, entries)
	if err != nil {
		before.Reasons = append(before.Reasons, refused(err, root.HostPath(fileName)))
		return before
	}
	after := Observe(root, entries)
	after.Changed = true
	if created {
		after.Reasons = append(after.Reasons, reasons.New(reasons.HostsFileCreated, root.HostPath(fileName), "", "%s did not exist and was created", root.HostPath(fileName)))
	}
	return after
}

func hasRefusal(found []reasons.Reason) bool {
	for _, reason := range found {
		if reason.Reason != reasons.ForeignHostsEntry {
			return true
		}
	}
	return false
}

func refused(err error, path string) reasons.Reason {
	if errors.Is(err, fsroot.ErrTooLarge) || errors.Is(err, unix.EINVAL) || errors.Is(err, errChanged) {
		return reasons.New(reasons.HostsFileRefused, path, "", "%v", err)
	}
	return reasons.FromError(err, path, "")
}

func read(root *fsroot.Root) ([]byte, error) {
	dir, err := root.Dir(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	data, _, err := dir.ReadFile(fileName, maxFileSize)
	return data, err
}

// change repeats until the file was written without anybody else changing it meanwhile.
func change(ctx context.Context, root *fsroot.Root, entries []inputs.HostEntry) (created bool, err error) {
	dir, err := root.Dir(".")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	for range attempts {
		var file *os.File
		file, err = dir.OpenFile(fileName, unix.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			block := appendBlock(nil, entries)
			if err = dir.WriteNew(fileName, block.data, fileMode); !errors.Is(err, fs.ErrExist) {
				return true, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		err = edit(ctx, &target{dir: dir, file: file}, entries)
		file.Close()
		if !errors.Is(err, errChanged) {
			return false, err
		}
	}
	return false, fmt.Errorf("%s: %w %d times in a row", dir.HostPath(fileName), err, attempts)
}

// target is the open file together with the directory it was found in.
type target struct {
	dir  *fsroot.Dir
	file *os.File
	info fsroot.Info
}

// edit carries out the plan for what the file holds now.
func edit(ctx context.Context, t *target, entries []inputs.HostEntry) error {
	if err := lock(ctx, t.file); err != nil {
		return err
	}
	data, err := t.read()
	if err != nil {
		return err
	}
	p := planFor(data, entries)
	if p.empty() {
		return nil
	}
	if err := t.reserve(len(data), p.growth(len(data))); err != nil {
		return err
	}
	for _, w := range p.writes {
		if err := t.write(w); err != nil {
			return err
		}
	}
	if p.truncate >= 0 {
		if err := t.truncate(int64(p.truncate)); err != nil {
			return err
		}
	}
	return t.verify(p.apply(data))
}

func (t *target) read() (data []byte, err error) {
	if t.info, err = fsroot.FileInfo(t.file); err != nil {
		return nil, err
	}
	if !t.info.Regular {
		return nil, &fs.PathError{Op: "open", Path: t.file.Name(), Err: unix.EINVAL}
	}
	if t.info.Size > maxFileSize {
		return nil, &fs.PathError{Op: "open", Path: t.file.Name(), Err: fsroot.ErrTooLarge}
	}
	if t.info.Links == 0 {
		return nil, errChanged
	}
	return io.ReadAll(io.NewSectionReader(t.file, 0, maxFileSize))
}

// unchanged checks, right before a change, that the path still leads to the file that was read and
// that nobody wrote to it.
func (t *target) unchanged() error {
	open, err := fsroot.FileInfo(t.file)
	if err != nil {
		return err
	}
	named, err := t.dir.Lstat(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		return errChanged
	}
	if err != nil {
		return err
	}
	if named.Inode != t.info.Inode || open.Size != t.info.Size || !open.ModTime.Equal(t.info.ModTime) {
		return errChanged
	}
	return nil
}

// reserve makes sure that the growth fits on the disk before anything is written. File systems that
// cannot reserve are used without.
func (t *target) reserve(size, grown int) error {
	if grown <= size {
		return nil
	}
	if err := t.unchanged(); err != nil {
		return err
	}
	if err := t.dir.Changing("fallocate", fileName); err != nil {
		return err
	}
	err := unix.Fallocate(int(t.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, int64(size), int64(grown-size))
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return &fs.PathError{Op: "fallocate", Path: t.file.Name(), Err: err}
	}
	// Reserving changes the time stamp, though not the size.
	after, err := fsroot.FileInfo(t.file)
	if err == nil && after.Size != t.info.Size {
		return errChanged
	}
	t.info = after
	return err
}

// write carries out one write. A write that made the file longer and then failed is cut off again.
func (t *target) write(w write) error {
	release := t.alone()
	defer release()
	if err := t.unchanged(); err != nil {
		return err
	}
	if err := t.dir.Changing("pwrite", fileName); err != nil {
		return err
	}
	n, err := t.put(w)
	after, statErr := fsroot.FileInfo(t.file)
	if err != nil {
		if statErr == nil && after.Size > t.info.Size && after.Size == int64(w.offset+n) {
			return errors.Join(err, t.file.Truncate(t.info.Size))
		}
		return err
	}
	t.info = after
	return statErr
}

// put writes at the offset. What begins at the end of the file is appended by the kernel, so that it
// cannot fall on bytes which somebody else appended a moment ago.
func (t *target) put(w write) (int, error) {
	if int64(w.offset) != t.info.Size {
		return t.file.WriteAt(w.data, int64(w.offset))
	}
	n, err := unix.Pwritev2(int(t.file.Fd()), [][]byte{w.data}, t.info.Size, unix.RWF_APPEND)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
		return t.file.WriteAt(w.data, int64(w.offset))
	case err != nil:
		return 0, &fs.PathError{Op: "pwrite", Path: t.file.Name(), Err: err}
	case n < len(w.data):
		return n, &fs.PathError{Op: "pwrite", Path: t.file.Name(), Err: unix.ENOSPC}
	}
	return n, nil
}

func (t *target) truncate(size int64) error {
	release := t.alone()
	defer release()
	if err := t.unchanged(); err != nil {
		return err
	}
	if err := t.dir.Changing("ftruncate", fileName); err != nil {
		return err
	}
	return t.file.Truncate(size)
}

// verify flushes the file and reads it back.
func (t *target) verify(want []byte) error {
	if err := t.dir.Changing("fsync", fileName); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	got, err := io.ReadAll(io.NewSectionReader(t.file, 0, 2*maxFileSize))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errChanged
	}
	return nil
}

// lock waits for other agents on the node; two run at the same time while a DaemonSet rolls.
func lock(ctx context.Context, file *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return &fs.PathError{Op: "flock", Path: file.Name(), Err: err}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: locked by another program: %w", file.Name(), context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
