package crd

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

const (
	// digestPrefix starts the names of images; records use digestNamePrefix instead of the colon.
	digestPrefix     = "sha256:"
	digestNamePrefix = "sha256-"
	digestHexLength  = 64
	// escapePrefix starts the names that cannot be names of Kubernetes objects.
	escapePrefix = "x--"
	hashPrefix   = escapePrefix + "h-"
)

// base32 digits without padding, in lower case, so that every result is a DNS label's text. The
// letter after the prefix is never followed by "-", which keeps hashed names apart.
var nameEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// recordName returns the name of the record for an API object's name. It is injective, but for names
// so long that only their hash is kept. The true name is in an annotation of the record.
func recordName(name string) string {
	if digest, ok := strings.CutPrefix(name, digestPrefix); ok && isHexDigest(digest) {
		return digestNamePrefix + digest
	}
	if isPlainName(name) {
		return name
	}
	escaped := escapePrefix + strings.ToLower(nameEncoding.EncodeToString([]byte(name)))
	if len(escaped) <= validation.DNS1123SubdomainMaxLength {
		return escaped
	}
	sum := sha256.Sum256([]byte(name))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// isPlainName tells whether a name can be kept: it is a DNS subdomain and cannot be mistaken for an
// encoded one.
func isPlainName(name string) bool {
	return !strings.HasPrefix(name, digestNamePrefix) && !strings.HasPrefix(name, escapePrefix) &&
		len(validation.IsDNS1123Subdomain(name)) == 0
}

func isHexDigest(text string) bool {
	if len(text) != digestHexLength {
		return false
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
