package hostfiles

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

// tempName is random: two agents may work at the same time while a DaemonSet rolls.
func tempName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return tempPrefix + hex.EncodeToString(random[:])
}

// execute carries out a decision and returns how many files were written and removed.
func execute(root *fsroot.Dir, host string, found state, d decision) (written, removed int, err error) {
	switch d.action {
	case actionCreate:
		if err := createHost(root, host, d); err != nil {
			return 0, 0, err
		}
		return len(d.writes), 0, nil
	case actionRemove:
		removed, _, err = remove(root, host, found, false)
		return 0, removed, err
	default:
		return writeHost(root, host, d)
	}
}

// createHost builds the directory under a temporary name and gives it its name when it is complete: a
// runtime never sees it without its CA.
func createHost(root *fsroot.Dir, host string, d decision) (err error) {
	temp := tempName()
	dir, err := root.Mkdir(temp, dirMode)
	if err == nil {
		err = fill(dir, append(d.writes, file{MarkerFile, d.marker.encode()}))
		dir.Close()
	}
	if err == nil {
		err = root.RenameNew(temp, host)
	}
	if err != nil {
		return errors.Join(err, root.RemoveTree(temp))
	}
	return root.Sync()
}

func fill(dir *fsroot.Dir, files []file) error {
	for _, f := range files {
		if err := dir.WriteNew(f.name, f.data, fileMode); err != nil {
			return err
		}
	}
	return dir.Sync()
}

// writeHost changes single files of a directory.
func writeHost(root *fsroot.Dir, host string, d decision) (written, removed int, err error) {
	dir, err := root.Open(host)
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	if d.chmod {
		if err := dir.Chmod(dirMode); err != nil {
			return 0, 0, err
		}
	}
	if d.markerFirst {
		if err := replace(dir, file{MarkerFile, d.marker.encode()}); err != nil {
			return 0, 0, err
		}
	}
	for _, name := range d.deletes {
		if name == hostsFile {
			if err := unlink(dir, name); err != nil {
				return written, removed, err
			}
			removed++
		}
	}
	for _, f := range d.writes {
		if err := replace(dir, f); err != nil {
			return written, removed, err
		}
		written++
	}
	for _, name := range d.deletes {
		if name != hostsFile {
			if err := unlink(dir, name); err != nil {
				return written, removed, err
			}
			removed++
		}
	}
	if d.markerStale && !d.markerFirst {
		if err := replace(dir, file{MarkerFile, d.marker.encode()}); err != nil {
			return written, removed, err
		}
	}
	return written, removed, dir.Sync()
}

// replace puts a complete file in the place of the old one.
func replace(dir *fsroot.Dir, f file) error {
	temp := tempName()
	if err := dir.WriteNew(temp, f.data, fileMode); err != nil {
		return err
	}
	if err := dir.Rename(temp, f.name); err != nil {
		return errors.Join(err, unlink(dir, temp))
	}
	return nil
}

func unlink(dir *fsroot.Dir, name string) error {
	if err := dir.Unlink(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// remove takes away what is ours in the directory of a host. With keepEdited, files that somebody
// changed are left; their names are returned.
func remove(root *fsroot.Dir, host string, found state, keepEdited bool) (removed int, edited []string, err error) {
	var owned []string
	for _, name := range []string{hostsFile, caFile, extraCAFile} { // hosts.toml goes before the CA it names
		if !found.owns(name) || !found.has(name) {
			continue
		}
		if keepEdited && hashOf(found.files[name].data) != found.marker.Files[name] {
			edited = append(edited, name)
			continue
		}
		owned = append(owned, name)
	}
	unowned := len(found.foreign) + len(edited)
	for _, name := range []string{hostsFile, caFile, extraCAFile} {
		if found.has(name) && !found.owns(name) {
			unowned++
		}
	}
	owned = append(owned, MarkerFile)
	if found.marker.CreatedDir && unowned == 0 {
		return len(owned) - 1, nil, removeWhole(root, host, owned, found.temps)
	}
	dir, err := root.Open(host)
	if err != nil {
		return 0, edited, err
	}
	defer dir.Close()
	for _, name := range owned {
		if err := unlink(dir, name); err != nil {
			return removed, edited, err
		}
		removed++
	}
	return removed - 1, edited, dir.Sync()
}

// removeWhole makes a directory disappear at once and then deletes it. If somebody put a file into it
// in the last moment, it gets its name back with that file.
func removeWhole(root *fsroot.Dir, host string, owned, temps []string) error {
	temp := tempName()
	if err := root.RenameNew(host, temp); err != nil {
		return err
	}
	dir, err := root.Open(temp)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, name := range append(owned, temps...) {
		if err := unlink(dir, name); err != nil {
			return err
		}
	}
	err = root.Rmdir(temp)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return root.RenameNew(temp, host)
	}
	if err != nil {
		return err
	}
	return root.Sync()
}
