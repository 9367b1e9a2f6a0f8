// Package reasons names everything the node agent has to say about the state of a node.
//
// A Reason is one finding: what (a fixed word that metrics, Events and documentation use), how bad,
// where, and a sentence for a person. All parts of the agent return reasons instead of failing as a
// whole, because one broken directory must not keep the others from being served. FromError turns an
// error of the file system into the reason that tells an administrator what to repair.
//
// Messages never contain certificates or other input values beyond names.
package reasons

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// Severity says what a reason means for the node.
type Severity string

// Severities from worst to best.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// The words of all reasons.
const (
	ReadOnlyFilesystem   = "ReadOnlyFilesystem"
	NoSpace              = "NoSpace"
	PermissionDenied     = "PermissionDenied"
	ConfigurationMissing = "ConfigurationMissing"
	InvalidConfiguration = "InvalidConfiguration"

	InvalidKey            = "InvalidKey"
	InvalidPEM            = "InvalidPEM"
	InvalidHostEntry      = "InvalidHostEntry"
	CAExpired             = "CAExpired"
	RuntimeNotRecognised  = "RuntimeNotRecognised"
	LegacyMirrors         = "LegacyMirrors"
	ConfigPathNotSet      = "ConfigPathNotSet"
	ConfigPathUnknown     = "ConfigPathUnknown"
	ConfigPathUnreachable = "ConfigPathUnreachable"
	ConfigUnreadable      = "ConfigUnreadable"
	UnsupportedRuntime    = "UnsupportedRuntime"
	WouldShadowDefault    = "WouldShadowDefault"
	ForeignConfigWins     = "ForeignConfigWins"
	SymlinkRefused        = "SymlinkRefused"
	Tampered              = "Tampered"
	Contention            = "Contention"
	ForeignHostsEntry     = "ForeignHostsEntry"
	HostsFileRefused      = "HostsFileRefused"
	FileSystemError       = "FileSystemError"

	ConfigPathList   = "ConfigPathList"
	HostsFileCreated = "HostsFileCreated"
)

// Reason is one finding.
type Reason struct {
	Reason   string   `json:"reason"`
	Severity Severity `json:"severity"`
	// Root is the host path it is about, Host the registry host; both may be empty.
	Root    string `json:"root,omitempty"`
	Host    string `json:"host,omitempty"`
	Message string `json:"message"`
}

// New makes a reason with the severity that belongs to the word.
func New(word, root, host, format string, args ...any) Reason {
	return Reason{Reason: word, Severity: severityOf(word), Root: root, Host: host, Message: fmt.Sprintf(format, args...)}
}

// String is the form that probes print.
func (r Reason) String() string { return r.Reason + ": " + r.Message }

func severityOf(word string) Severity {
	switch word {
	case ReadOnlyFilesystem, NoSpace, PermissionDenied, ConfigurationMissing, InvalidConfiguration:
		return Error
	case ConfigPathList, HostsFileCreated:
		return Info
	default:
		return Warning
	}
}

// FromError classifies a file system error by its errno; the error names the path.
func FromError(err error, root, host string) Reason {
	word := FileSystemError
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.EROFS:
			word = ReadOnlyFilesystem
		case syscall.ENOSPC, syscall.EDQUOT:
			word = NoSpace
		case syscall.EACCES, syscall.EPERM:
			word = PermissionDenied
		case syscall.ELOOP, syscall.ENOTDIR, syscall.EXDEV:
			word = SymlinkRefused
		}
	}
	return New(word, root, host, "%v", err)
}

// Sort orders reasons for people: the worst first, then by word and place, and drops repetitions.
func Sort(all []Reason) []Reason {
	rank := map[Severity]int{Error: 0, Warning: 1, Info: 2}
	slices.SortFunc(all, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(rank[a.Severity], rank[b.Severity]), cmp.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Root, b.Root), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(all)
}
