// Package fsroot gives access to the files of one directory tree and to nothing else.
//
// The node agent runs as root with the node's /etc mounted. Whoever can place a symbolic link there
// must not be able to make it write elsewhere, so every path is resolved below one descriptor and no
// symbolic link is ever followed, not even one that stays inside: an absolute link would be resolved
// against the container. Resolution uses openat2, or one component at a time on kernels without it.
//
// A Root opens directories; a Dir works on the entries of one directory by their single names. Errors
// are *fs.PathError with the path as the host sees it and the errno inside.
package fsroot

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Root is the top of the tree.
type Root struct {
	file *os.File
	// hostPath is what the tree is called on the host, for messages: "/etc".
	hostPath string
	// noOpenat2 is set when the kernel, or its seccomp filter, does not offer openat2.
	noOpenat2 atomic.Bool
	fault     func(operation, path string) error
}

// Options of a Root.
type Options struct {
	// HostPath is what messages call the tree; default "/etc".
	HostPath string
	// Fault, if set, is asked before every changing system call and can make it fail. Tests inject
	// faults and count writes with it.
	Fault func(operation, path string) error
	// NoOpenat2 resolves paths one component at a time, as on old kernels.
	NoOpenat2 bool
}

// Open opens the tree at dir.
func Open(dir string, options Options) (*Root, error) {
	file, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	root := &Root{file: file, hostPath: options.HostPath, fault: options.Fault}
	if root.hostPath == "" {
		root.hostPath = "/etc"
	}
	root.noOpenat2.Store(options.NoOpenat2)
	return root, nil
}

// Close releases the tree.
func (r *Root) Close() error { return r.file.Close() }

// HostPath returns the path of an entry as the host sees it.
func (r *Root) HostPath(rel string) string { return path.Join(r.hostPath, rel) }

// Dir opens a directory by its path below the root; "." is the root itself.
func (r *Root) Dir(rel string) (*Dir, error) {
	if !fs.ValidPath(rel) {
		return nil, r.error("open", rel, unix.EINVAL)
	}
	fd, err := r.resolve(rel)
	if err != nil {
		return nil, r.error("open", rel, err)
	}
	return &Dir{root: r, file: os.NewFile(uintptr(fd), r.HostPath(rel)), rel: rel}, nil
}

// Exists reports whether rel is a directory that can be opened without following links.
func (r *Root) Exists(rel string) bool {
	dir, err := r.Dir(rel)
	if err != nil {
		return false
	}
	dir.Close()
	return true
}

func (r *Root) resolve(rel string) (int, error) {
	if !r.noOpenat2.Load() {
		fd, err := unix.Openat2(int(r.file.Fd()), rel, &unix.OpenHow{
			Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
		})
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		r.noOpenat2.Store(true)
	}
	return r.resolveStepwise(rel)
}

func (r *Root) resolveStepwise(rel string) (int, error) {
	fd, err := unix.Openat(int(r.file.Fd()), ".", dirFlags, 0)
	if err != nil || rel == "." {
		return fd, err
	}
	for name := range strings.SplitSeq(rel, "/") {
		next, err := unix.Openat(fd, name, dirFlags, 0)
		unix.Close(fd)
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (r *Root) error(operation, rel string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: operation, Path: r.HostPath(rel), Err: err}
}

// before asks the fault hook.
func (r *Root) before(operation, rel string) error {
	if r.fault == nil {
		return nil
	}
	return r.error(operation, rel, r.fault(operation, r.HostPath(rel)))
}
