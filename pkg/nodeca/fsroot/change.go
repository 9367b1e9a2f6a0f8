package fsroot

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteNew creates a file that must not exist, with exactly this content and mode, on disk. On failure
// nothing is left behind.
func (d *Dir) WriteNew(name string, data []byte, mode uint32) error {
	file, err := d.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = d.fill(file, name, data, mode)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(d.Unlink(name)))
	}
	return nil
}

func (d *Dir) fill(file *os.File, name string, data []byte, mode uint32) error {
	if err := d.put(file, name, data, mode); err != nil {
		return err
	}
	return d.flush(file, name)
}

func (d *Dir) put(file *os.File, name string, data []byte, mode uint32) error {
	if err := d.changing("write", name); err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	// The mode given to open is reduced by the umask.
	return d.error("chmod", name, unix.Fchmod(int(file.Fd()), mode))
}

func (d *Dir) flush(file *os.File, name string) error {
	if err := d.changing("fsync", name); err != nil {
		return err
	}
	return file.Sync()
}

// Staged is a new file that has its content but is not on the disk yet.
type Staged struct {
	dir  *Dir
	file *os.File
	name string
}

// Stage creates a file that must not exist, with exactly this content and mode, and asks the system to
// begin writing it to the disk. Who stages many files before the first is finished waits for the disk
// only once. On failure nothing is left behind.
func (d *Dir) Stage(name string, data []byte, mode uint32) (*Staged, error) {
	file, err := d.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	if err := d.put(file, name, data, mode); err != nil {
		file.Close()
		return nil, errors.Join(err, ignoreMissing(d.Unlink(name)))
	}
	// It only saves time, so nothing depends on whether the file system offers it.
	_ = unix.SyncFileRange(int(file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	return &Staged{dir: d, file: file, name: name}, nil
}

// Finish waits until the file is on the disk, and closes it.
func (s *Staged) Finish() error {
	err := s.dir.flush(s.file, s.name)
	if closeErr := s.file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Mkdir creates a directory with exactly this mode and opens it.
func (d *Dir) Mkdir(name string, mode uint32) (*Dir, error) {
	if err := d.changing("mkdir", name); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(d.fd(), name, mode); err != nil {
		return nil, d.error("mkdir", name, err)
	}
	created, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	if err := created.Chmod(mode); err != nil {
		created.Close()
		return nil, err
	}
	return created, nil
}

// Chmod sets the mode of the directory itself.
func (d *Dir) Chmod(mode uint32) error {
	if err := d.root.before("chmod", d.rel); err != nil {
		return err
	}
	return d.error("chmod", "", unix.Fchmod(d.fd(), mode))
}

// Rename replaces an entry by another of the same directory.
func (d *Dir) Rename(from, to string) error {
	if err := d.changing("rename", to); err != nil {
		return err
	}
	return d.error("rename", to, unix.Renameat(d.fd(), from, d.fd(), to))
}

// RenameNew gives an entry a name that must not be taken yet; the error is fs.ErrExist if it is.
func (d *Dir) RenameNew(from, to string) error {
	if err := d.changing("rename", to); err != nil {
		return err
	}
	err := unix.Renameat2(d.fd(), from, d.fd(), to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		// The file system does not know the flag. A plain rename of a directory replaces only an empty
		// directory, so nothing can be lost between the check and the call.
		if _, statErr := d.Lstat(to); statErr == nil {
			return d.error("rename", to, unix.EEXIST)
		}
		err = unix.Renameat(d.fd(), from, d.fd(), to)
	}
	return d.error("rename", to, err)
}

// Unlink removes a file.
func (d *Dir) Unlink(name string) error {
	if err := d.changing("unlink", name); err != nil {
		return err
	}
	return d.error("unlink", name, unix.Unlinkat(d.fd(), name, 0))
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	if err := d.changing("rmdir", name); err != nil {
		return err
	}
	return d.error("rmdir", name, unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
