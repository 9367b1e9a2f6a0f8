package hostfiles

import (
	"bytes"
	"fmt"
	"strings"

	"image.alauda.io/registry/pkg/hostcerts"
	"image.alauda.io/registry/pkg/nodeca/reasons"
)

type action int

const (
	actionNone action = iota
	// actionCreate makes the directory with all files at once.
	actionCreate
	// actionWrite replaces and deletes single files.
	actionWrite
	// actionRemove removes what is ours.
	actionRemove
)

// file is one file to write.
type file struct {
	name string
	data []byte
}

// decision is what to do about one host.
type decision struct {
	action action
	// writes are in the order in which they must appear; the marker is not among them.
	writes  []file
	deletes []string
	marker  marker
	// announce is the marker to write before the files: after a crash in between nobody would know
	// whose they are. It is nil where the marker already says so.
	announce *marker
	// markerStale says that the marker must be written.
	markerStale bool
	chmod       bool
	satisfied   bool
	tampered    []string
	why         string
	reason      string
	detail      string
}

func (d decision) changes() bool { return d.action != actionNone }

func (d decision) verb() string {
	return map[action]string{actionCreate: "create", actionWrite: "write", actionRemove: "remove"}[d.action]
}

func (d decision) message(path string) string { return fmt.Sprintf(d.detail, path) }

func leave(satisfied bool, reason, detail string) decision {
	return decision{satisfied: satisfied, reason: reason, detail: detail}
}

// hostsTOML is the hosts.toml of an own host. The empty [host] table is required by containerd up to
// 1.7.31; a filled one would make it ask the registry twice for everything that is missing.
func hostsTOML(host string) []byte {
	return fmt.Appendf(nil, "# managed by image-registry node-ca; do not edit\nserver = \"https://%s\"\nca = [\"ca.crt\"]\n\n[host]\n", host)
}

// decide applies the rules for foreign content to what was found.
//
// hides is the directory of an administrator that runtimes would no longer read if this one existed.
func decide(root Root, found state, want Want, hides string, hasDefault, held bool) decision {
	if found.presence == blocked {
		return leave(false, reasons.SymlinkRefused, "%s, or a file in it, is a symbolic link or not what it should be; nothing is written")
	}
	if !root.Active && found.marker == nil {
		return decision{}
	}
	if hides != "" && (found.presence == absent || (found.marker != nil && !found.alien())) {
		d := leave(false, reasons.ForeignConfigWins, "%s would hide "+strings.ReplaceAll(hides, "%", "%%")+" of an administrator from runtimes that read only the first of both; nothing is written")
		if found.marker != nil {
			d.action, d.why = actionRemove, "it hid "+hides
		}
		return d
	}
	if root.Containerd && hasDefault && !want.Own && !want.KeepShape {
		d := leave(false, reasons.WouldShadowDefault, "%s would take this host away from the mirror in _default; nothing is written")
		if found.marker != nil {
			d.action, d.why = actionRemove, "a _default directory exists"
		}
		return d
	}
	ca := file{caFile, want.PEM}
	withHosts := root.Containerd && want.Own
	switch {
	case found.presence == absent:
		return create(want, ca, withHosts)
	case found.marker != nil:
		return repair(root, found, want, held)
	case found.has(hostsFile):
		return leave(false, reasons.ForeignConfigWins, "%s has a hosts.toml of somebody else; nothing is written")
	case found.has(caFile) && hostcerts.SameCertificates(found.files[caFile].data, want.PEM):
		return leave(true, "", "")
	case found.has(caFile):
		return claim(want, []file{{extraCAFile, want.PEM}}, "beside a foreign ca.crt")
	case len(found.foreign) > 0:
		return claim(want, []file{ca}, "beside foreign files")
	case withHosts:
		return claim(want, []file{ca, {hostsFile, hostsTOML(want.Host)}}, "empty directory taken over")
	default:
		return claim(want, []file{ca}, "empty directory taken over")
	}
}

func create(want Want, ca file, withHosts bool) decision {
	files := []file{ca}
	if withHosts {
		files = append(files, file{hostsFile, hostsTOML(want.Host)})
	}
	d := decision{action: actionCreate, satisfied: true, why: "new host", writes: files}
	d.marker = markerFor(want.Host, files, true)
	return d
}

func claim(want Want, files []file, why string) decision {
	d := decision{action: actionWrite, satisfied: true, why: why, writes: files, markerStale: true, marker: markerFor(want.Host, files, false)}
	d.announceWrites(marker{Version: markerVersion, Host: want.Host})
	return d
}

// announceWrites sets the marker to write first, if the files get a content that the present one does
// not know.
func (d *decision) announceWrites(now marker) {
	now.Next = map[string]string{}
	unknown := false
	for _, f := range d.writes {
		now.Next[f.name] = hashOf(f.data)
		unknown = unknown || now.Files[f.name] != now.Next[f.name]
	}
	if unknown {
		d.announce, d.markerStale = &now, true
	}
}

func markerFor(host string, files []file, createdDir bool) marker {
	m := marker{Version: markerVersion, Host: host, Files: map[string]string{}, CreatedDir: createdDir}
	for _, f := range files {
		m.Files[f.name] = hashOf(f.data)
	}
	return m
}

// repair compares a directory that has our marker with what it should hold.
func repair(root Root, found state, want Want, held bool) decision {
	d := decision{satisfied: true, why: "content changed"}
	files := d.desired(root, found, want)
	inputChanged := false
	for _, f := range files {
		now, exists := found.files[f.name]
		if exists && bytes.Equal(now.data, f.data) && now.mode == fileMode {
			continue
		}
		d.writes = append(d.writes, f)
		_, cutOff := found.marker.Next[f.name] // an agent died while it wrote this file
		intact := exists && now.mode == fileMode && found.marker.wrote(f.name, hashOf(now.data))
		if found.owns(f.name) && !intact && (exists || !cutOff) {
			d.tampered = append(d.tampered, f.name)
		} else {
			inputChanged = true
		}
	}
	d.marker = markerFor(want.Host, files, found.marker.CreatedDir)
	for _, name := range []string{hostsFile, caFile, extraCAFile} { // hosts.toml goes before the CA it names
		if _, wanted := d.marker.Files[name]; !wanted && found.owns(name) && found.has(name) {
			d.deletes = append(d.deletes, name)
		}
	}
	d.markerStale = !bytes.Equal(found.files[MarkerFile].data, d.marker.encode()) || found.files[MarkerFile].mode != fileMode
	d.chmod = found.marker.CreatedDir && found.mode != dirMode
	d.announceWrites(*found.marker)
	switch {
	case len(d.writes) == 0 && len(d.deletes) == 0 && !d.markerStale && !d.chmod:
	case held && !inputChanged && len(d.deletes) == 0:
		d.satisfied = found.holdsCA(want.PEM)
		d.reason, d.detail = reasons.Contention, "%s is changed by somebody else again and again; it is repaired only every 5 minutes"
	default:
		d.action = actionWrite
		if len(d.tampered) > 0 {
			d.why = "repaired"
		}
	}
	return d
}

// desired lists the files that a directory of ours should hold, beside what is foreign in it.
func (d *decision) desired(root Root, found state, want Want) []file {
	if found.has(caFile) && !found.owns(caFile) {
		return []file{{extraCAFile, want.PEM}}
	}
	files := []file{{caFile, want.PEM}}
	if !root.Containerd {
		return files
	}
	if found.has(hostsFile) && !found.owns(hostsFile) {
		d.satisfied, d.reason, d.detail = false, reasons.ForeignConfigWins, "%s has a hosts.toml of somebody else beside our ca.crt"
		return files
	}
	ours := found.owns(hostsFile)
	if (want.KeepShape && ours) || (want.Own && !want.KeepShape && (ours || len(found.foreign) == 0)) {
		files = append(files, file{hostsFile, hostsTOML(want.Host)})
	}
	return files
}
