// Package etchosts keeps the agent's block of lines in /etc/hosts.
//
// The block maps the names of the registry's Service to its address, so that a node's container
// runtime, which does not use the cluster's DNS, finds the registry. Plan is pure: it takes the content
// of the file and the wanted entries and returns the few byte ranges to write; Apply carries it out on
// the file, under a lock, and verifies it.
//
// The one rule of this package: bytes that are not ours are never written, moved or truncated, whatever
// fails in between. The file is never replaced and never truncated before writing; other programs and
// Pods hold the same inode open.
package etchosts

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

const (
	beginPrefix = "# BEGIN image-registry-node-ca"
	endPrefix   = "# END image-registry-node-ca"
	beginLine   = beginPrefix + " (managed, do not edit)\n"
	// beginAfterNewline opens a block before which a newline had to be added, because the last line of
	// the file had none. It makes removal exact.
	beginAfterNewline = beginPrefix + " (managed, do not edit; newline added)\n"
	// blockUnit is the granularity of a block's length, so that a new address fits into the old place.
	blockUnit = 256
)

// render returns the block without padding.
func render(entries []inputs.HostEntry, newlineAdded bool) []byte {
	var out bytes.Buffer
	if newlineAdded {
		out.WriteString(beginAfterNewline)
	} else {
		out.WriteString(beginLine)
	}
	for _, entry := range entries {
		fmt.Fprintf(&out, "%s\t%s\n", entry.IP, strings.Join(entry.Names, " "))
	}
	out.WriteString(endPrefix + "\n")
	return out.Bytes()
}

// pad fills the block with blanks before its last newline to exactly size bytes.
func pad(block []byte, size int) []byte {
	padded := make([]byte, 0, size)
	padded = append(padded, block[:len(block)-1]...)
	padded = append(padded, bytes.Repeat([]byte(" "), size-len(block))...)
	return append(padded, '\n')
}

// paddedSize is the length a new block gets.
func paddedSize(block []byte) int {
	return (len(block) + blockUnit - 1) / blockUnit * blockUnit
}

// span is a range of the file that belongs to the agent.
type span struct {
	start, end int
	// newlineAdded says that the newline before start is ours too.
	newlineAdded bool
}

// findBlocks returns everything in the file that is ours, in order. A block begins at a BEGIN line and
// ends with its END line; everything between must be ours. If another line comes first, be it that the
// END line was lost or that somebody wrote into the block, the block ends before that line. An END
// line on its own is ours as well. The end of the file may be a block that was being appended when its
// writer died; see cutoff.go.
func findBlocks(data []byte) []span {
	var blocks []span
	for at := 0; at < len(data); {
		line := lineAt(data, at)
		switch {
		case bytes.HasPrefix(line, []byte(beginPrefix)):
			block := span{start: at, end: blockEnd(data, at+len(line))}
			block.newlineAdded = at > 0 && saysNewlineAdded(line)
			blocks = append(blocks, block)
			at = block.end
		case isCutBegin(line):
			blocks = append(blocks, span{start: at, end: len(data)})
			at = len(data)
		case bytes.HasPrefix(line, []byte(endPrefix)):
			blocks = append(blocks, span{start: at, end: at + len(line)})
			at += len(line)
		default:
			at += len(line)
		}
	}
	return blocks
}

// blockEnd follows the lines of a block whose BEGIN line ended at from. Blank lines count only when
// one of our lines follows: trailing ones may be somebody else's.
func blockEnd(data []byte, from int) int {
	end := from
	for at := from; at < len(data); {
		line := lineAt(data, at)
		at += len(line)
		switch {
		case bytes.HasPrefix(line, []byte(endPrefix)):
			return at
		case isCutInBlock(line):
			return at
		case len(bytes.TrimSpace(line)) == 0:
		case isOurMapping(line):
			end = at
		default:
			return end
		}
	}
	return end
}

// lineAt returns the line that begins at an offset, with its newline if there is one.
func lineAt(data []byte, at int) []byte {
	if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
		return data[at : at+i+1]
	}
	return data[at:]
}

// isOurMapping reports whether a line consists of an address and only names that the agent may map.
func isOurMapping(line []byte) bool {
	fields := strings.Fields(string(line))
	if len(fields) < 2 {
		return false
	}
	if _, err := netip.ParseAddr(fields[0]); err != nil {
		return false
	}
	for _, name := range fields[1:] {
		if !inputs.OwnName(name) {
			return false
		}
	}
	return true
}

// Entries returns the addresses that the agent's blocks map at present.
func Entries(data []byte) []netip.Addr {
	var addresses []netip.Addr
	for _, block := range findBlocks(data) {
		for at := block.start; at < block.end; {
			line := lineAt(data, at)
			at += len(line)
			if isOurMapping(line) {
				address, _ := netip.ParseAddr(strings.Fields(string(line))[0])
				addresses = append(addresses, address)
			}
		}
	}
	return addresses
}

// ForeignMapping returns the first line outside and before our block that maps one of the wanted names
// to an address which is not wanted. Resolvers take the first line they find.
func ForeignMapping(data []byte, entries []inputs.HostEntry) (string, bool) {
	end := len(data)
	if blocks := findBlocks(data); len(blocks) > 0 {
		end = blocks[0].start
	}
	for at := 0; at < end; {
		line := lineAt(data, at)
		at += len(line)
		text, _, _ := strings.Cut(string(line), "#")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		if address, err := netip.ParseAddr(fields[0]); err == nil && contradicts(address, fields[1:], entries) {
			return strings.TrimSpace(text), true
		}
	}
	return "", false
}

func contradicts(address netip.Addr, names []string, entries []inputs.HostEntry) bool {
	mapped := false
	for _, entry := range entries {
		for _, wanted := range entry.Names {
			for _, name := range names {
				if strings.EqualFold(name, wanted) {
					mapped = true
					if entry.IP == address {
						return false
					}
				}
			}
		}
	}
	return mapped
}
