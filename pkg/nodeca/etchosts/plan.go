package etchosts

import (
	"bytes"

	"image.alauda.io/registry/pkg/nodeca/inputs"
)

// write puts data at an offset; writes beyond the end of the file make it longer.
type write struct {
	offset int
	data   []byte
}

// plan is the list of changes that bring the file into the wanted state. The writes are carried out in
// order; then the file is cut to size unless that is negative.
type plan struct {
	writes   []write
	truncate int
}

// empty reports that the file is as wanted.
func (p plan) empty() bool { return len(p.writes) == 0 && p.truncate < 0 }

// planFor compares the content of the file with the wanted entries; no entries means no block.
func planFor(data []byte, entries []inputs.HostEntry) plan {
	blocks := findBlocks(data)
	if len(entries) == 0 {
		return planRemoval(data, blocks)
	}
	result := plan{truncate: -1}
	if len(blocks) == 0 {
		result.writes = append(result.writes, appendBlock(data, entries))
		return result
	}
	first := blocks[0]
	wanted := render(entries, first.newlineAdded)
	switch size := first.end - first.start; {
	case len(wanted) <= size && data[first.end-1] == '\n':
		if padded := pad(wanted, size); !bytes.Equal(padded, data[first.start:first.end]) {
			result.writes = append(result.writes, write{first.start, padded})
		}
	case first.end == len(data):
		// The block is the end of the file: it grows where it is.
		result.writes = append(result.writes, write{first.start, pad(wanted, max(paddedSize(wanted), size))})
	default:
		// Too small and followed by other lines: the new block first, then the old one goes.
		result.writes = append(result.writes, appendBlock(data, entries), write{first.start, blank(data[first.start:first.end])})
	}
	for _, surplus := range blocks[1:] {
		result.writes = append(result.writes, write{surplus.start, blank(data[surplus.start:surplus.end])})
	}
	return result
}

// appendBlock adds a block at the end of the file, after a newline if the last line has none.
func appendBlock(data []byte, entries []inputs.HostEntry) write {
	if len(data) == 0 || data[len(data)-1] == '\n' {
		wanted := render(entries, false)
		return write{len(data), pad(wanted, paddedSize(wanted))}
	}
	wanted := render(entries, true)
	return write{len(data), append([]byte("\n"), pad(wanted, paddedSize(wanted))...)}
}

// planRemoval blanks blocks that have other lines behind them and cuts off those at the end.
func planRemoval(data []byte, blocks []span) plan {
	result := plan{truncate: -1}
	size := len(data)
	for i := len(blocks) - 1; i >= 0; i-- {
		block := blocks[i]
		if block.end == size {
			size = block.start
			if block.newlineAdded && data[size-1] == '\n' {
				size--
			}
			result.truncate = size
			continue
		}
		result.writes = append(result.writes, write{block.start, blank(data[block.start:block.end])})
	}
	return result
}

// blank overwrites everything but line ends.
func blank(block []byte) []byte {
	blanked := bytes.Repeat([]byte(" "), len(block))
	for i, c := range block {
		if c == '\n' || c == '\r' {
			blanked[i] = c
		}
	}
	return blanked
}

// apply returns what the file holds after the plan.
func (p plan) apply(data []byte) []byte {
	out := bytes.Clone(data)
	for _, w := range p.writes {
		if end := w.offset + len(w.data); end > len(out) {
			out = append(out, make([]byte, end-len(out))...)
		}
		copy(out[w.offset:], w.data)
	}
	if p.truncate >= 0 {
		out = out[:p.truncate]
	}
	return out
}

// growth is the size of the file after all writes.
func (p plan) growth(size int) int {
	for _, w := range p.writes {
		size = max(size, w.offset+len(w.data))
	}
	return size
}
