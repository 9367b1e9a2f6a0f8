package gc

import (
	"encoding/hex"
	"hash/maphash"

	"image.alauda.io/registry/pkg/oci/manifest"

	"github.com/opencontainers/go-digest"
)

// flags of a digest.
type flags uint8

const (
	// live: something names it that stays.
	live flags = 1 << iota
	// hasImage: the API has an Image of this name.
	hasImage
	// unread: a live manifest about which the API does not say what it consists of.
	unread
	// stored: the bytes were there when blobs were enumerated.
	stored
	// old: the bytes were written before the minimum age.
	old
)

const chunkSize = 4096

// digests is a table of sha256 digests. Entries never move, so that an index of four
// bytes names one. With 48 bytes for an entry and at most 10.7 for its place in the hash
// table it stays below 64 bytes for each digest; a Go map doubles that while it grows.
// It is not safe for concurrent use.
type digests struct {
	chunks [][]entry
	count  uint32
	// table holds index+1 of entries; 0 is free. Its length is a power of two.
	table []uint32
	seed  maphash.Seed
}

type entry struct {
	key   [32]byte
	size  int64
	flags flags
}

func newDigests() *digests { return &digests{table: make([]uint32, 1024), seed: maphash.MakeSeed()} }

func (d *digests) at(index uint32) *entry { return &d.chunks[index/chunkSize][index%chunkSize] }

// slot is where a key is, or would be put. The seed keeps digests that somebody invented
// from falling on the same slots.
func (d *digests) slot(key *[32]byte) uint32 {
	mask := uint32(len(d.table) - 1)
	position := uint32(maphash.Bytes(d.seed, key[:])) & mask
	for d.table[position] != 0 && d.at(d.table[position]-1).key != *key {
		position = (position + 1) & mask
	}
	return position
}

// add returns the index of a digest and makes an entry if there is none.
func (d *digests) add(key [32]byte) uint32 {
	position := d.slot(&key)
	if found := d.table[position]; found != 0 {
		return found - 1
	}
	index := d.count
	if index%chunkSize == 0 {
		d.chunks = append(d.chunks, make([]entry, chunkSize))
	}
	d.count++
	d.at(index).key = key
	d.table[position] = index + 1
	if uint64(d.count)*4 > uint64(len(d.table))*3 {
		d.grow()
	}
	return index
}

func (d *digests) grow() {
	d.table = make([]uint32, 2*len(d.table))
	for index := range d.count {
		d.table[d.slot(&d.at(index).key)] = index + 1
	}
}

// flags of a digest; 0 when nothing is known.
func (d *digests) flags(key [32]byte) flags {
	if found := d.table[d.slot(&key)]; found != 0 {
		return d.at(found - 1).flags
	}
	return 0
}

// mark adds flags.
func (d *digests) mark(key [32]byte, add flags) uint32 {
	index := d.add(key)
	d.at(index).flags |= add
	return index
}

// keyOf parses a canonical digest; false for everything else.
func keyOf(text string) (key [32]byte, ok bool) {
	parsed, err := manifest.ParseDigest(text)
	if err != nil || parsed.Algorithm() != digest.SHA256 {
		return key, false
	}
	_, err = hex.Decode(key[:], []byte(parsed.Encoded()))
	return key, err == nil
}

func digestOf(key [32]byte) digest.Digest {
	return digest.Digest("sha256:" + hex.EncodeToString(key[:]))
}
