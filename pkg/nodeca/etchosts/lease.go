package etchosts

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	leaseTries = 5
	leasePause = 2 * time.Millisecond
)

// alone keeps other programs from opening the file until the returned function is called, so that nothing
// can come between looking at the file and writing to it: who opens it meanwhile waits. The kernel grants
// that only while nobody else has the file open, and not on every file system; after ten milliseconds
// the write is made without, which leaves a moment in which a line that somebody appends could be
// overwritten.
func (t *target) alone() (release func()) {
	fd := t.file.Fd()
	for try := 1; ; try++ {
		_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			return func() { _, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK) }
		}
		if err != unix.EAGAIN || try == leaseTries {
			return func() {}
		}
		time.Sleep(leasePause)
	}
}
