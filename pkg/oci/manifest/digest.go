package manifest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// ParseDigest accepts "sha256:" with 64 and "sha512:" with 128 lower-case
// hexadecimal digits and nothing else.
func ParseDigest(text string) (digest.Digest, error) {
	algorithm, encoded, found := strings.Cut(text, ":")
	if !found {
		return "", fmt.Errorf("digest %q has no algorithm", shorten(text))
	}
	want, known := map[string]int{"sha256": 64, "sha512": 128}[algorithm]
	if !known {
		return "", fmt.Errorf("digest algorithm %q is not supported, use sha256 or sha512", shorten(algorithm))
	}
	if len(encoded) != want || strings.Trim(encoded, "0123456789abcdef") != "" {
		return "", fmt.Errorf("digest %q must have %d lower-case hexadecimal digits", shorten(text), want)
	}
	return digest.Digest(text), nil
}

// Verify checks that the bytes have the digest, by the digest's own algorithm.
// The digest must come from ParseDigest.
func Verify(raw []byte, want digest.Digest) error {
	var got digest.Digest
	if want.Algorithm() == digest.SHA512 {
		sum := sha512.Sum512(raw)
		got = digest.Digest("sha512:" + hex.EncodeToString(sum[:]))
	} else {
		got = Canonical(raw)
	}
	if got != want {
		return &Error{Reason: ReasonDigest, Message: fmt.Sprintf("content has digest %s, not %s", got, want)}
	}
	return nil
}

// Canonical returns the sha256 digest by which the image API knows the bytes.
func Canonical(raw []byte) digest.Digest {
	sum := sha256.Sum256(raw)
	return digest.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

func shorten(text string) string {
	if len(text) > 80 {
		return text[:80] + "…"
	}
	return text
}
