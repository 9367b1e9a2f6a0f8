package hostfiles

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

// createRoot makes a missing root with the directories above it. The new part is built under a
// temporary name, so that a directory of ours never exists without the marker that says so.
func createRoot(tree *fsroot.Root, rootPath string) error {
	parts := strings.Split(rootPath, "/")
	depth := len(parts) - 1
	for depth > 0 && !tree.Exists(path.Join(parts[:depth]...)) {
		depth--
	}
	above, err := tree.Dir(path.Join(append([]string{"."}, parts[:depth]...)...))
	if err != nil {
		return err
	}
	defer above.Close()
	if _, err := above.Lstat(parts[depth]); err == nil {
		return &fs.PathError{Op: "mkdir", Path: above.HostPath(parts[depth]), Err: unix.ENOTDIR}
	}
	temp := tempName()
	own := marker{Version: markerVersion, CreatedDir: true, CreatedParents: len(parts) - 1 - depth}
	err = buildChain(above, append([]string{temp}, parts[depth+1:]...), own)
	if err == nil {
		err = above.RenameNew(temp, parts[depth])
	}
	if err != nil {
		return errors.Join(err, removeOwn(above, temp))
	}
	return above.Sync()
}

// buildChain makes nested directories and the marker in the innermost.
func buildChain(above *fsroot.Dir, names []string, own marker) error {
	dir, err := above.Mkdir(names[0], dirMode)
	if err != nil {
		return err
	}
	defer dir.Close()
	if len(names) > 1 {
		if err := buildChain(dir, names[1:], own); err != nil {
			return err
		}
		return dir.Sync()
	}
	return fill(dir, []file{{MarkerFile, own.encode()}})
}

// rootMarker reads the marker of a root; nil if the agent did not make it.
func rootMarker(dir *fsroot.Dir) *marker {
	data, _, err := dir.ReadFile(MarkerFile, maxFile)
	var found marker
	if err != nil || json.Unmarshal(data, &found) != nil || found.Host != "" || !found.CreatedDir {
		return nil
	}
	return &found
}

// CreatedByAgent reports whether the directory above a root exists only because the agent made it: a
// sign of an earlier pass, not of a runtime.
func CreatedByAgent(tree *fsroot.Root, rootPath string) bool {
	dir, err := tree.Dir(rootPath)
	if err != nil {
		return false
	}
	defer dir.Close()
	found := rootMarker(dir)
	if found == nil || found.CreatedParents == 0 {
		return false
	}
	parent, err := tree.Dir(path.Dir(rootPath))
	if err != nil {
		return false
	}
	defer parent.Close()
	names, err := parent.List()
	return err == nil && len(names) == 1
}

// removeRoot removes a root that the agent made, and the directories it made above, as far as nothing
// but its own marker is left in them.
func (s *syncer) removeRoot() {
	dir, err := s.tree.Dir(s.root.Path)
	if err != nil {
		return
	}
	found := rootMarker(dir)
	names, err := dir.List()
	dir.Close()
	if found == nil || err != nil || len(names) != 1 {
		return
	}
	if err := s.removeChain(found.CreatedParents); err != nil {
		s.fail("", err)
		return
	}
	s.did("remove", "", "directory "+s.hostPath())
}

// removeChain takes away the root together with those of the directories made for it that hold nothing
// else: all at once, because what is left of a chain says no longer who made it.
func (s *syncer) removeChain(parents int) error {
	top := s.root.Path
	for ; parents > 0; parents-- {
		parent, err := s.tree.Dir(path.Dir(top))
		if err != nil {
			return err
		}
		names, err := parent.List()
		parent.Close()
		if err != nil {
			return err
		}
		if len(names) != 1 {
			break // in use by somebody else now
		}
		top = path.Dir(top)
	}
	above, err := s.tree.Dir(path.Dir(top))
	if err != nil {
		return err
	}
	defer above.Close()
	temp := tempName()
	err = above.RenameNew(path.Base(top), temp)
	if immovable(err) {
		temp, err = path.Base(top), nil
	}
	if err != nil {
		return err
	}
	err = removeOwn(above, temp)
	if inUse(err) {
		if temp == path.Base(top) {
			return nil
		}
		return above.RenameNew(temp, path.Base(top)) // it stays where it is for who uses it
	}
	if err != nil {
		return err
	}
	return above.Sync()
}

// Clean removes everything the agent owns in a root and, at the end, the root if the agent made it.
// Files that somebody edited are left and reported.
func Clean(ctx context.Context, tree *fsroot.Root, root Root) Result {
	s := &syncer{tree: tree, root: root}
	dir, err := tree.Dir(root.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.result
	}
	if err != nil {
		s.fail("", err)
		return s.result
	}
	defer dir.Close()
	names, err := dir.List()
	if err != nil {
		s.fail("", err)
		return s.result
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return s.result
		}
		if isHostName(name) {
			s.cleanHost(dir, name)
		}
	}
	s.settle(dir)
	s.removeRoot()
	return s.result
}

func (s *syncer) cleanHost(dir *fsroot.Dir, name string) {
	found, err := observe(dir, name)
	if err != nil {
		s.fail(name, err)
		return
	}
	if found.marker == nil {
		return
	}
	removed, edited, err := remove(dir, name, found, true)
	s.result.Removed += removed
	s.dirty = true
	s.did("remove", name, "cleanup")
	if err != nil {
		s.fail(name, err)
	}
	if len(edited) > 0 {
		s.result.Reasons = append(s.result.Reasons, reasons.New(reasons.Tampered, s.hostPath(), name,
			"%v in %s was edited by somebody and is left", edited, dir.HostPath(name)))
	}
}

// Owned returns the directories of a root that carry our marker.
func Owned(tree *fsroot.Root, rootPath string) ([]string, error) {
	dir, err := tree.Dir(rootPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.List()
	if err != nil {
		return nil, err
	}
	var owned []string
	for _, name := range names {
		if !isHostName(name) {
			continue
		}
		if found, err := observe(dir, name); err == nil && found.marker != nil {
			owned = append(owned, name)
		}
	}
	return owned, nil
}

// Sweep deletes temporary entries that an agent which died has left in a root, in its hosts'
// directories and in the directories above. Younger ones may belong to an agent at work, unless all is
// set.
func Sweep(tree *fsroot.Root, rootPath string, now time.Time, all bool) []reasons.Reason {
	var found []reasons.Reason
	sweep := func(dir *fsroot.Dir, deep bool) {
		if err := sweepDir(dir, now, all, deep); err != nil {
			found = append(found, reasons.FromError(err, tree.HostPath(rootPath), ""))
		}
		dir.Close()
	}
	for dirPath, deep := rootPath, true; ; dirPath, deep = path.Dir(dirPath), false {
		if dir, err := tree.Dir(dirPath); err == nil {
			sweep(dir, deep)
		}
		if dirPath == "." {
			return found
		}
	}
}

func sweepDir(dir *fsroot.Dir, now time.Time, all, deep bool) error {
	names, err := dir.List()
	if err != nil {
		return err
	}
	var problems []error // one entry that cannot be removed does not keep the others
	for _, name := range names {
		info, err := dir.Lstat(name)
		switch {
		case err != nil:
		case strings.HasPrefix(name, tempPrefix):
			if all || now.Sub(info.ModTime) > staleAfter {
				problems = append(problems, removeOwn(dir, name))
			}
		case deep && info.IsDir:
			inner, err := dir.Open(name)
			if err != nil {
				continue
			}
			problems = append(problems, sweepDir(inner, now, all, false))
			inner.Close()
		}
	}
	return errors.Join(problems...)
}

// removeOwn removes what the agent left under a temporary name: directories, and of the files those that
// only the agent writes. Anything else stays, and keeps its directories.
func removeOwn(dir *fsroot.Dir, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return ignoreMissing(err)
	}
	if !info.IsDir {
		switch {
		case name == caFile, name == hostsFile, name == extraCAFile, name == MarkerFile, strings.HasPrefix(name, tempPrefix):
			return unlink(dir, name)
		}
		return nil
	}
	inner, err := dir.Open(name)
	if err != nil {
		return ignoreMissing(err)
	}
	defer inner.Close()
	entries, err := inner.List()
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := removeOwn(inner, entry); err != nil {
			return err
		}
	}
	return ignoreMissing(dir.Rmdir(name))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
