package hostfiles

import (
	"crypto/rand"
	"encoding/hex"
	"errors"

	"golang.org/x/sys/unix"

	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

// tempName is random: two agents may work at the same time while a DaemonSet rolls.
func tempName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return tempPrefix + hex.EncodeToString(random[:])
}

// execute carries out a decision about a directory that exists and returns how many files were written
// and removed.
func execute(root *fsroot.Dir, host string, found state, d decision) (written, removed int, err error) {
	if d.action == actionRemove {
		removed, _, err = remove(root, host, found, false)
		return 0, removed, err
	}
	return writeHost(root, host, d)
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
	if d.announce != nil {
		if err := replace(dir, file{MarkerFile, d.announce.encode()}); err != nil {
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
	if d.markerStale {
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
	return ignoreMissing(dir.Unlink(name))
}

// remove takes away what is ours in the directory of a host. With keepEdited, files that somebody
// changed are left; their names are returned.
func remove(root *fsroot.Dir, host string, found state, keepEdited bool) (removed int, edited []string, err error) {
	var owned []string
	for _, name := range []string{hostsFile, caFile, extraCAFile} { // hosts.toml goes before the CA it names
		if !found.owns(name) || !found.has(name) {
			continue
		}
		if keepEdited && !found.marker.wrote(name, hashOf(found.files[name].data)) {
			edited = append(edited, name)
			continue
		}
		owned = append(owned, name)
	}
	for _, name := range found.strange {
		if keepEdited && found.owns(name) {
			edited = append(edited, name) // somebody put a link or a directory in its place
		}
	}
	unowned := len(found.foreign) + len(found.strange) + len(edited)
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
// in the last moment, it gets its name back with that file. The caller makes it durable.
func removeWhole(root *fsroot.Dir, host string, owned, temps []string) error {
	temp := tempName()
	err := root.RenameNew(host, temp)
	if immovable(err) {
		temp, err = host, nil
	}
	if err != nil {
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
	if inUse(err) {
		if temp == host {
			return nil // somebody else's now, or the place of a mount
		}
		return root.RenameNew(temp, host)
	}
	return err
}

// immovable says that a directory cannot get another name though what is in it can be removed: on an overlay
// it belongs to the layer below, as on a node whose image was made with the agent's files in it, or something
// is mounted on it.
func immovable(err error) bool { return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBUSY) }

// inUse says of a directory that it cannot be removed: somebody put a file into it in the last moment, or something is
// mounted on it or below.
func inUse(err error) bool {
	return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}
