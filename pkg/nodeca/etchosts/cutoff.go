package etchosts

import (
	"bytes"
	"net/netip"
	"strings"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

// A block that is being appended can end anywhere when its writer dies or the disk is full: its last line
// is then the beginning of one of ours, without a newline. Only the last line of a file can look so, and
// what could as well be somebody else's is left alone.

// leastBegin is how much of a BEGIN line must be there to be known for one.
const leastBegin = len("# BEGIN image")

// saysNewlineAdded reports whether a BEGIN line, or what there is of it, says so.
func saysNewlineAdded(line []byte) bool {
	full, other := strings.TrimSuffix(beginAfterNewline, "\n"), strings.TrimSuffix(beginLine, "\n")
	line = bytes.TrimRight(line, "\r\n")
	return bytes.HasPrefix(line, []byte(full)) || (strings.HasPrefix(full, string(line)) && !strings.HasPrefix(other, string(line)))
}

// isCutBegin recognises the beginning of a BEGIN line that is not complete enough to have our name.
func isCutBegin(line []byte) bool {
	return len(line) >= leastBegin && strings.HasPrefix(beginPrefix, string(line))
}

// isCutInBlock recognises, behind a BEGIN line, the beginning of a mapping or of an END line.
func isCutInBlock(line []byte) bool {
	if len(line) == 0 || line[len(line)-1] == '\n' {
		return false
	}
	if strings.HasPrefix(endPrefix, string(line)) {
		return true
	}
	fields := strings.Fields(string(line))
	switch {
	case len(fields) == 0:
		return false
	case len(fields) == 1:
		return strings.Trim(fields[0], "0123456789abcdef:.") == ""
	}
	if _, err := netip.ParseAddr(fields[0]); err != nil {
		return false
	}
	last := len(fields) - 1
	for _, name := range fields[1:last] {
		if !inputs.OwnName(name) {
			return false
		}
	}
	return inputs.OwnName(fields[last]) || inputs.OwnName(completed(fields[last]))
}

// completed makes a whole name of one that was cut off.
func completed(name string) string {
	shortest := inputs.ServiceName + ".svc"
	if strings.HasPrefix(shortest, name) {
		return shortest
	}
	return name + "x" // cut behind a dot or a hyphen of the domain
}
