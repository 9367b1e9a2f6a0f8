package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
)

// dependency is something that a Pod reads once, when it starts.
type dependency struct {
	kind, name string
	data       map[string][]byte
}

// checksum is the same for the same content, in whatever order it comes. A missing object (nil data) is
// left out, so that it can appear later with an effect.
func checksum(dependencies ...dependency) string {
	var lines []string
	for _, d := range dependencies {
		if d.data == nil {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s:%s:%s", d.kind, d.name, dataHash(d.data)))
	}
	sort.Strings(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

func dataHash(data map[string][]byte) string {
	hash := sha256.New()
	for _, key := range sortedKeys(data) {
		fmt.Fprintf(hash, "%d:%s%d:", len(key), key, len(data[key]))
		hash.Write(data[key])
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func texts(data map[string]string) map[string][]byte {
	if data == nil {
		return nil
	}
	out := make(map[string][]byte, len(data))
	for key, value := range data {
		out[key] = []byte(value)
	}
	return out
}

// CertificatesHash is the hash that the agents on the nodes compute over the mounted certificates.
func CertificatesHash(certificates map[string]string) string {
	var lines strings.Builder
	for _, key := range sortedKeys(certificates) {
		sum := sha256.Sum256([]byte(certificates[key]))
		fmt.Fprintf(&lines, "%s %s\n", key, hex.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256([]byte(lines.String()))
	return "sha256:" + hex.EncodeToString(sum[:])
}
