package hostfiles

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"

	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/nodeca/fsroot"
)

// marker is the content of MarkerFile. Files maps names to the hash of what the agent wrote.
type marker struct {
	Version int               `json:"version"`
	Host    string            `json:"host,omitempty"`
	Files   map[string]string `json:"files,omitempty"`
	// Next is there while files are being written: what the agent is about to put in their place. An
	// agent that finds it knows both the old and the new content for its own.
	Next       map[string]string `json:"next,omitempty"`
	CreatedDir bool              `json:"createdDir"`
	// CreatedParents is set in the marker of a root: how many directories above it the agent made.
	CreatedParents int `json:"createdParents,omitempty"`
}

const markerVersion = 1

func (m marker) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		return nil // cannot happen: strings, numbers and a map of strings
	}
	return append(data, '\n')
}

// wrote reports whether the agent wrote this content to the file, or was about to.
func (m marker) wrote(name, hash string) bool { return m.Files[name] == hash || m.Next[name] == hash }

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

type presence int

const (
	absent presence = iota
	present
	// blocked is a symbolic link or a file where a directory is wanted, or such a thing inside it in
	// the place of one of our files.
	blocked
)

// content is one of the files that the agent may write, as found.
type content struct {
	data []byte
	mode uint32
}

// state is what was found for one host.
type state struct {
	presence presence
	mode     uint32
	// files holds those of ca.crt, hosts.toml, image-registry-node-ca.crt and the marker that exist.
	files map[string]content
	// foreign are all other names, without the agent's temporary files.
	foreign []string
	// strange are those of our names that are no regular files.
	strange []string
	temps   []string
	// marker is nil unless the directory is ours, wholly or partly.
	marker *marker
}

func (s state) owns(name string) bool {
	if s.marker == nil {
		return false
	}
	_, written := s.marker.Files[name]
	_, announced := s.marker.Next[name]
	return written || announced
}

// alien reports whether anything in the directory is not the agent's.
func (s state) alien() bool {
	for name := range s.files {
		if name != MarkerFile && !s.owns(name) {
			return true
		}
	}
	return len(s.foreign)+len(s.strange) > 0
}

func (s state) has(name string) bool {
	_, ok := s.files[name]
	return ok
}

func (s state) holdsCA(pem []byte) bool {
	return hostcerts.SameCertificates(s.files[caFile].data, pem) || hostcerts.SameCertificates(s.files[extraCAFile].data, pem)
}

// observe reads the directory of a host.
func observe(root *fsroot.Dir, host string) (state, error) {
	found := state{files: map[string]content{}}
	info, err := root.Lstat(host)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	if !info.IsDir {
		found.presence = blocked
		return found, nil
	}
	dir, err := root.Open(host)
	if err != nil {
		return found, err
	}
	defer dir.Close()
	found.presence, found.mode = present, info.Mode
	names, err := dir.List()
	if err != nil {
		return found, err
	}
	for _, name := range names {
		if err := found.add(dir, name); err != nil {
			return found, err
		}
	}
	found.readMarker(host)
	return found, nil
}

func (s *state) add(dir *fsroot.Dir, name string) error {
	switch name {
	case caFile, hostsFile, extraCAFile, MarkerFile:
	default:
		if strings.HasPrefix(name, tempPrefix) {
			s.temps = append(s.temps, name)
		} else {
			s.foreign = append(s.foreign, name)
		}
		return nil
	}
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Regular {
		s.presence = blocked
		s.strange = append(s.strange, name)
		return nil
	}
	data, info, err := dir.ReadFile(name, maxFile)
	switch {
	case errors.Is(err, fsroot.ErrTooLarge):
		err = nil // certainly not what we wrote
	case errors.Is(err, fs.ErrPermission):
		// Nor is this: the agent can read what it wrote. Who may not be read here keeps what is his, and nothing
		// waits for that.
		err = nil
		if name == MarkerFile {
			s.foreign = append(s.foreign, name)
			return nil
		}
	}
	s.files[name] = content{data: data, mode: info.Mode}
	return err
}

// readMarker accepts a marker only for the directory it was written for: a copy of one of our
// directories under another name belongs to whoever copied it.
func (s *state) readMarker(host string) {
	file, ok := s.files[MarkerFile]
	if !ok {
		return
	}
	var found marker
	if err := json.Unmarshal(file.data, &found); err != nil {
		// Damaged, but nobody else writes a file of this name: what it said is unknown, so nothing but
		// the marker counts as ours.
		s.marker = &marker{Version: markerVersion, Host: host}
		return
	}
	if found.Host != host {
		s.foreign = append(s.foreign, MarkerFile)
		return
	}
	s.marker = &found
}
