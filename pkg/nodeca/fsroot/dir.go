package fsroot

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is an open directory of the tree.
type Dir struct {
	root *Root
	file *os.File
	rel  string
}

// Info describes an entry without following links.
type Info struct {
	Regular bool
	IsDir   bool
	// Link is true for a symbolic link.
	Link bool
	// Mode holds the permission bits including set-id and sticky.
	Mode    uint32
	Size    int64
	ModTime time.Time
	Inode   uint64
	Links   uint64
}

// Close releases the directory.
func (d *Dir) Close() error { return d.file.Close() }

// Path returns the path below the root.
func (d *Dir) Path() string { return d.rel }

// HostPath returns the path of an entry as the host sees it.
func (d *Dir) HostPath(name string) string { return d.root.HostPath(path.Join(d.rel, name)) }

func (d *Dir) fd() int { return int(d.file.Fd()) }

func (d *Dir) error(operation, name string, err error) error {
	return d.root.error(operation, path.Join(d.rel, name), err)
}

// Changing asks the fault hook before a changing call that the caller makes on an open file.
func (d *Dir) Changing(operation, name string) error { return d.changing(operation, name) }

// changing checks the name and asks the fault hook before a changing call.
func (d *Dir) changing(operation, name string) error {
	if !singleName(name) {
		return d.error(operation, name, unix.EINVAL)
	}
	return d.root.before(operation, path.Join(d.rel, name))
}

func singleName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// Open opens a directory in this directory.
func (d *Dir) Open(name string) (*Dir, error) {
	if !singleName(name) {
		return nil, d.error("open", name, unix.EINVAL)
	}
	fd, err := unix.Openat(d.fd(), name, dirFlags, 0)
	if err != nil {
		return nil, d.error("open", name, err)
	}
	rel := path.Join(d.rel, name)
	return &Dir{root: d.root, file: os.NewFile(uintptr(fd), d.root.HostPath(rel)), rel: rel}, nil
}

// List returns the sorted names of all entries.
func (d *Dir) List() ([]string, error) {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil, d.error("list", "", err)
	}
	names, err := d.file.Readdirnames(-1)
	if err != nil {
		return nil, d.error("list", "", err)
	}
	slices.Sort(names)
	return names, nil
}

// Lstat describes an entry.
func (d *Dir) Lstat(name string) (Info, error) {
	var stat unix.Stat_t
	if !singleName(name) {
		return Info{}, d.error("lstat", name, unix.EINVAL)
	}
	if err := unix.Fstatat(d.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, d.error("lstat", name, err)
	}
	return infoOf(&stat), nil
}

// Stat describes the directory itself.
func (d *Dir) Stat() (Info, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(d.fd(), &stat); err != nil {
		return Info{}, d.error("stat", "", err)
	}
	return infoOf(&stat), nil
}

func infoOf(stat *unix.Stat_t) Info {
	return Info{
		Regular: stat.Mode&unix.S_IFMT == unix.S_IFREG,
		IsDir:   stat.Mode&unix.S_IFMT == unix.S_IFDIR,
		Link:    stat.Mode&unix.S_IFMT == unix.S_IFLNK,
		Mode:    uint32(stat.Mode) & 0o7777,
		Size:    stat.Size,
		ModTime: time.Unix(stat.Mtim.Unix()),
		Inode:   stat.Ino,
		Links:   uint64(stat.Nlink),
	}
}

// leaseWait bounds how long opening waits for another agent that writes the file right now and keeps it to
// itself meanwhile; that takes milliseconds.
const (
	leaseWait = 2 * time.Second
	leasePoll = 2 * time.Millisecond
)

// OpenFile opens a regular file without following a link. Opening never blocks on pipes or devices.
func (d *Dir) OpenFile(name string, flags int, mode uint32) (*os.File, error) {
	if flags&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) != 0 {
		if err := d.changing("open", name); err != nil {
			return nil, err
		}
	} else if !singleName(name) {
		return nil, d.error("open", name, unix.EINVAL)
	}
	for waited := time.Duration(0); ; waited += leasePoll {
		fd, err := unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
		if err == nil {
			return os.NewFile(uintptr(fd), d.HostPath(name)), nil
		}
		if !errors.Is(err, unix.EAGAIN) || waited >= leaseWait {
			return nil, d.error("open", name, err)
		}
		time.Sleep(leasePoll)
	}
}

// ErrTooLarge is wrapped by ReadFile for files beyond the limit.
var ErrTooLarge = errors.New("file is too large")

// ReadFile reads a regular file of at most limit bytes.
func (d *Dir) ReadFile(name string, limit int64) ([]byte, Info, error) {
	file, err := d.OpenFile(name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, Info{}, err
	}
	defer file.Close()
	info, err := FileInfo(file)
	if err != nil {
		return nil, Info{}, err
	}
	if !info.Regular {
		return nil, info, d.error("read", name, unix.EINVAL)
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, info, err
	}
	if int64(len(data)) > limit {
		return nil, info, &fs.PathError{Op: "read", Path: d.HostPath(name), Err: ErrTooLarge}
	}
	return data, info, nil
}

// FileInfo describes an open file.
func FileInfo(file *os.File) (Info, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: file.Name(), Err: err}
	}
	return infoOf(&stat), nil
}

// Sync makes renames and new names in the directory durable.
func (d *Dir) Sync() error {
	if err := d.root.before("fsync", d.rel); err != nil {
		return err
	}
	return d.error("fsync", "", unix.Fsync(d.fd()))
}
