package reasons

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

// Behaviour 18.
func TestErrorsOfTheFileSystemBecomeReasons(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EROFS: ReadOnlyFilesystem, syscall.ENOSPC: NoSpace, syscall.EDQUOT: NoSpace, syscall.EACCES: PermissionDenied,
		syscall.EPERM: PermissionDenied, syscall.ELOOP: SymlinkRefused, syscall.ENOTDIR: SymlinkRefused, syscall.EIO: FileSystemError,
	} {
		err := fmt.Errorf("wrapped: %w", &fs.PathError{Op: "open", Path: "/etc/x", Err: errno})
		if got := FromError(err, "/etc", "h"); got.Reason != want || got.Root != "/etc" || got.Host != "h" {
			t.Errorf("%v: got %+v, want %s", errno, got, want)
		}
	}
	if got := FromError(errors.New("else"), "", ""); got.Reason != FileSystemError || got.Severity != Warning {
		t.Errorf("got %+v", got)
	}
}

func TestSortPutsTheWorstFirstAndDropsRepetitions(t *testing.T) {
	all := Sort([]Reason{
		New(HostsFileCreated, "", "", "i"), New(Tampered, "b", "", "w"), New(NoSpace, "", "", "e"), New(Tampered, "a", "", "w"), New(NoSpace, "", "", "e"),
	})
	var got string
	for _, reason := range all {
		got += reason.Reason + reason.Root + " "
	}
	if want := "NoSpace Tampereda Tamperedb HostsFileCreated "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
