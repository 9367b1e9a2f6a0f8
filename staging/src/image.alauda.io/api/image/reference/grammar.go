package reference

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Limits of the grammar, in characters.
const (
	// MaxRepositoryLength bounds the path of a repository, host excluded, and
	// so also "<namespace>/<stream>".
	MaxRepositoryLength = 255
	// MaxTagLength bounds a tag.
	MaxTagLength = 128
)

var (
	componentPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	digestPattern    = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*):([0-9a-fA-F]{32,})$`)
	lowerHexPattern  = regexp.MustCompile(`^[0-9a-f]+$`)
	hostPattern      = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?$`)
	portPattern      = regexp.MustCompile(`^[0-9]{1,5}$`)
)

// hexLengths holds the exact length of the hex part of known algorithms.
var hexLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

// ErrInvalidFormat is the cause of every error of this package.
var ErrInvalidFormat = errors.New("invalid reference format")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidFormat, fmt.Sprintf(format, args...))
}

// ValidateTag tells why a text cannot be a tag.
func ValidateTag(tag string) error {
	switch {
	case tag == "":
		return invalid("the tag is empty")
	case len(tag) > MaxTagLength:
		return invalid("the tag is longer than %d characters", MaxTagLength)
	case !tagPattern.MatchString(tag):
		return invalid("tag %q: use letters, digits, '_', '.' and '-', and start with a letter, a digit or '_'", tag)
	}
	return nil
}

// ValidateDigest tells why a text cannot be a digest. The hex part of a known
// algorithm has its exact length and small letters.
func ValidateDigest(digest string) error {
	match := digestPattern.FindStringSubmatch(digest)
	if match == nil {
		return invalid("digest %q: expected algorithm:hex with at least 32 hex digits", digest)
	}
	want, known := hexLengths[match[1]]
	if !known {
		return nil
	}
	if len(match[2]) != want {
		return invalid("digest %q: %s has %d hex digits, not %d", digest, match[1], want, len(match[2]))
	}
	if !lowerHexPattern.MatchString(match[2]) {
		return invalid("digest %q: hex digits must be small letters", digest)
	}
	return nil
}

// ValidateHost tells why a text cannot be a registry host with optional port.
func ValidateHost(host string) error {
	if !hostPattern.MatchString(host) {
		return invalid("registry host %q: expected host or host:port", host)
	}
	return nil
}

// ValidateRepository tells why a text cannot be the path of a repository.
func ValidateRepository(path string) error {
	if path == "" {
		return invalid("the repository name is empty")
	}
	if len(path) > MaxRepositoryLength {
		return invalid("the repository name is longer than %d characters", MaxRepositoryLength)
	}
	for component := range strings.SplitSeq(path, "/") {
		if err := validateComponent(component); err != nil {
			return err
		}
	}
	return nil
}

func validateComponent(component string) error {
	if component == "" {
		return invalid("the repository name has an empty component")
	}
	if !componentPattern.MatchString(component) {
		if strings.ToLower(component) != component {
			return invalid("repository name component %q must be in small letters", component)
		}
		return invalid("repository name component %q: use small letters and digits, separated by '.', '_', '__' or '-'", component)
	}
	return nil
}
