// Package hostfiles writes the CA files of registry hosts into a directory of trusted CAs.
//
// A runtime reads <root>/<host>/ for every pull from that host. For each wanted host the package looks
// at what is there (observe), decides by pure rules what to do about it (decide), and does it in an
// order in which a runtime never sees a directory without its CA (execute). It remembers what it owns in
// a marker file beside the files and repairs, replaces and removes only that. Directories of an
// administrator are left exactly as they are.
//
// Input are a confined file tree, a root and the wanted hosts; output are counts and reasons. The
// package never decides which hosts are wanted or when a removal is safe: its caller does.
package hostfiles

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// Names of the files that the agent writes.
const (
	caFile      = "ca.crt"
	hostsFile   = "hosts.toml"
	extraCAFile = "image-registry-node-ca.crt"
	// MarkerFile names what the agent owns in a directory.
	MarkerFile = ".image-registry-node-ca.json"
	// tempPrefix begins with a dot, which no registry host does, and has no ending that runtimes load.
	tempPrefix = ".node-ca-"
	defaultDir = "_default"

	fileMode = 0o644
	dirMode  = 0o755
	// maxFile bounds what is read of a foreign file.
	maxFile = 1 << 20
	// staleAfter is the age from which a temporary entry belongs to an agent that died.
	staleAfter = 10 * time.Minute
)

// Want is one host to be trusted.
type Want struct {
	// Host is spelt as in image references.
	Host string
	PEM  []byte
	// Own marks the registry's own hosts, which get a hosts.toml for containerd.
	Own bool
	// KeepShape leaves hosts.toml as it is, for the time in which the own hosts are not known.
	KeepShape bool
}

// Root is the directory to serve.
type Root struct {
	// Path is below the tree.
	Path string
	// Containerd roots get hosts.toml files.
	Containerd bool
	// Active roots are filled; in others only owned directories are kept up to date.
	Active bool
	// Fallback is another root, in which runtimes look for hosts that have no directory in this one;
	// empty for none.
	Fallback string
}

// Options of one Sync.
type Options struct {
	// Keep are hosts that are not wanted with a new content but must stay as they are.
	Keep map[string]bool
	// AllowRemoval lets directories of hosts that are no longer wanted be removed.
	AllowRemoval bool
	// Hold is asked before a tampered host is repaired; true leaves it for later.
	Hold func(host string) bool
	// DryRun reports changes without making them.
	DryRun bool
}

// Change is one thing that was done, for the log.
type Change struct {
	What string
	Host string
	Why  string
}

// Result is what one Sync or Clean found and did.
type Result struct {
	// Satisfied are the hosts that the root serves as wanted.
	Satisfied []string
	// Tampered are hosts whose owned files somebody else had changed.
	Tampered []string
	// TamperedKinds are the names of those files.
	TamperedKinds []string
	Written       int
	Removed       int
	Changes       []Change
	Reasons       []reasons.Reason
}

type syncer struct {
	tree    *fsroot.Root
	root    Root
	options Options
	result  Result
	// creates are the hosts whose directories are to be made, all at the end.
	creates []creation
	// dirty says that names in the root changed and are to be made durable.
	dirty bool
}

func (s *syncer) hostPath() string { return s.tree.HostPath(s.root.Path) }

func (s *syncer) fail(host string, err error) {
	s.result.Reasons = append(s.result.Reasons, reasons.FromError(err, s.hostPath(), host))
}

func (s *syncer) did(what, host, why string) {
	s.result.Changes = append(s.result.Changes, Change{what, host, why})
}

// Sync brings one root into the wanted state. Each host is handled on its own: a failure of one is a
// reason and never keeps the others from being served. A cancelled context ends it between two hosts.
func Sync(ctx context.Context, tree *fsroot.Root, root Root, wants []Want, options Options) Result {
	s := &syncer{tree: tree, root: root, options: options}
	dir, err := s.openRoot(len(wants) > 0)
	if err != nil {
		s.fail("", err)
		return s.result
	}
	if dir == nil {
		return s.result
	}
	defer dir.Close()
	names, err := dir.List()
	if err != nil {
		s.fail("", err)
		return s.result
	}
	wanted := map[string]bool{}
	for _, want := range wants {
		wanted[want.Host] = true
		if ctx.Err() != nil {
			return s.result
		}
		s.host(dir, names, want)
	}
	s.create(ctx, dir)
	defer s.settle(dir)
	for _, name := range names {
		if ctx.Err() != nil {
			return s.result
		}
		if !wanted[name] && !options.Keep[name] && options.AllowRemoval && isHostName(name) {
			s.obsolete(dir, name)
		}
	}
	if !root.Active && !options.DryRun {
		s.removeRoot()
	}
	return s.result
}

// openRoot returns nil when there is nothing to do in a root that does not exist.
func (s *syncer) openRoot(create bool) (*fsroot.Dir, error) {
	dir, err := s.tree.Dir(s.root.Path)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if !s.root.Active || !create {
		return nil, nil
	}
	if s.options.DryRun {
		s.did("create", "", "directory "+s.hostPath()+" and all hosts in it")
		return nil, nil
	}
	if err := createRoot(s.tree, s.root.Path); err != nil {
		return nil, err
	}
	s.did("create", "", "directory "+s.hostPath())
	return s.tree.Dir(s.root.Path)
}

func isHostName(name string) bool { return name[0] != '.' && name[0] != '_' }

// host handles one wanted host.
func (s *syncer) host(dir *fsroot.Dir, names []string, want Want) {
	state, err := observe(dir, want.Host)
	if err != nil {
		s.fail(want.Host, err)
		return
	}
	held := s.options.Hold != nil && s.options.Hold(want.Host)
	d := decide(s.root, state, want, s.hides(want.Host), slices.Contains(names, defaultDir), held)
	if d.reason != "" {
		s.result.Reasons = append(s.result.Reasons, reasons.New(d.reason, s.hostPath(), want.Host, "%s", d.message(dir.HostPath(want.Host))))
	}
	if s.root.Containerd && s.root.Active {
		if rival := rivalName(want.Host); rival != "" && slices.Contains(names, rival) {
			s.result.Reasons = append(s.result.Reasons, reasons.New(reasons.ForeignConfigWins, s.hostPath(), want.Host,
				"containerd reads %s instead of %s", dir.HostPath(rival), dir.HostPath(want.Host)))
		}
	}
	if len(d.tampered) > 0 {
		s.result.Tampered = append(s.result.Tampered, want.Host)
		s.result.TamperedKinds = append(s.result.TamperedKinds, d.tampered...)
		s.result.Reasons = append(s.result.Reasons, reasons.New(reasons.Tampered, s.hostPath(), want.Host,
			"somebody changed %v in %s", d.tampered, dir.HostPath(want.Host)))
	}
	if d.changes() {
		s.did(d.verb(), want.Host, d.why)
		if d.action == actionCreate && !s.options.DryRun {
			s.creates = append(s.creates, creation{want: want, decision: d})
			return
		}
		if !s.options.DryRun {
			s.dirty = true
			written, removed, err := execute(dir, want.Host, state, d)
			s.result.Written += written
			s.result.Removed += removed
			if err != nil {
				s.fail(want.Host, err)
				d.satisfied = d.satisfied && stillTrusted(dir, want)
			}
		}
	}
	if d.satisfied {
		s.result.Satisfied = append(s.result.Satisfied, want.Host)
	}
}

// stillTrusted says whether the wanted CA is in place although the last change failed.
func stillTrusted(dir *fsroot.Dir, want Want) bool {
	state, err := observe(dir, want.Host)
	return err == nil && state.holdsCA(want.PEM)
}

// hides returns the directory of the fallback that holds what is not ours, if a directory of this root
// would take its place.
func (s *syncer) hides(host string) string {
	if s.root.Fallback == "" || !s.root.Active {
		return ""
	}
	fallback, err := s.tree.Dir(s.root.Fallback)
	if err != nil {
		return ""
	}
	defer fallback.Close()
	if found, err := observe(fallback, host); err != nil || found.presence == absent || !found.alien() {
		return ""
	}
	return fallback.HostPath(host)
}

// rivalName is the directory that containerd prefers to "host:port".
func rivalName(host string) string {
	for i := len(host) - 1; i > 0; i-- {
		switch c := host[i]; {
		case c == ':':
			return host[:i] + "_" + host[i+1:] + "_"
		case c < '0' || c > '9':
			return ""
		}
	}
	return ""
}

// obsolete removes the directory of a host that is no longer wanted, if it is ours.
func (s *syncer) obsolete(dir *fsroot.Dir, name string) {
	state, err := observe(dir, name)
	if err != nil || state.marker == nil {
		return // not ours, or not readable: nothing of it is touched
	}
	s.did("remove", name, "no longer configured")
	if s.options.DryRun {
		return
	}
	removed, _, err := remove(dir, name, state, false)
	s.result.Removed += removed
	s.dirty = true
	if err != nil {
		s.fail(name, err)
	}
}
