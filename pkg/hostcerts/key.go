// Package hostcerts reads the entries of the ConfigMap image-registry-certificates.
//
// Each entry is a key that stands for the host of image references and a value with the PEM
// certificates that clients of this host trust. ParseKey turns a key into the host, Key does the
// reverse, Normalise checks and rewrites a value. The node agent, the registry's pull-through and the
// importer share these rules, so that one entry means the same everywhere.
//
// The checks are strict because the results become directory names and trust anchors on nodes: a
// host that was accepted here is safe as a single path element, and a bundle that was accepted here
// is never empty and never holds a private key.
//
// Everything is pure: nothing here touches files, the network or the clock.
package hostcerts

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	portSeparator = ".."
	ipv6Prefix    = "ipv6-"
	maxHostLength = 253
	maxLabel      = 63
	// maxShownKey limits how much of a hostile key is repeated in an error.
	maxShownKey = 80
)

// ignoredSuffixes belong to certificate files that other writers keep in the same ConfigMap, such as
// storage-ca-bundle.pem.
var ignoredSuffixes = []string{".pem", ".crt", ".cer", ".key"}

// InvalidKeyError says why a key does not stand for a host.
type InvalidKeyError struct {
	Key    string
	Reason string
}

func (e *InvalidKeyError) Error() string {
	shown := e.Key
	if len(shown) > maxShownKey {
		shown = shown[:maxShownKey] + "…"
	}
	return fmt.Sprintf("certificate key %q: %s", shown, e.Reason)
}

// Ignored reports whether a key is the name of an ordinary certificate file and therefore does not
// stand for a host. Such keys are no error.
func Ignored(key string) bool {
	for _, suffix := range ignoredSuffixes {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return false
}

// ParseKey returns the host of a key exactly as image references spell it: "host", "host:port",
// "[address]" or "[address]:port". A key without port stands for references without a port; 443 is
// not implied. The error is an *InvalidKeyError, also for ignored keys (ask Ignored first).
func ParseKey(key string) (string, error) {
	if Ignored(key) {
		return "", &InvalidKeyError{key, "is the name of a certificate file"}
	}
	name, port, hasPort := cutLast(key, portSeparator)
	if hasPort {
		if reason := checkPort(port); reason != "" {
			return "", &InvalidKeyError{key, reason}
		}
	}
	host, reason := parseHost(name)
	if reason != "" {
		return "", &InvalidKeyError{key, reason}
	}
	if hasPort {
		return host + ":" + port, nil
	}
	return host, nil
}

// Key returns the key under which the certificates of a host are published; the host is spelt as in
// image references.
func Key(host string) (string, error) {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port = host[:i], portSeparator+host[i+1:]
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return "", fmt.Errorf("host %q: bracket is not closed", host)
		}
		name = ipv6Prefix + strings.ReplaceAll(inner, ":", "-")
	}
	key := name + port
	back, err := ParseKey(key)
	if err != nil {
		return "", fmt.Errorf("host %q: %w", host, err)
	}
	if back != host {
		return "", fmt.Errorf("host %q cannot be expressed as a certificate key", host)
	}
	return key, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func checkPort(port string) (reason string) {
	if len(port) == 0 || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return "the port after the last \"..\" is not a number of one to five digits"
	}
	if port[0] == '0' {
		return "the port begins with zero"
	}
	if n, err := strconv.Atoi(port); err != nil || n > 65535 {
		return "the port is greater than 65535"
	}
	return ""
}

// parseHost accepts an IPv6 address in its key form, an IPv4 address (which is also a valid name) or a
// DNS-1123 subdomain.
func parseHost(name string) (host, reason string) {
	if dashed, ok := strings.CutPrefix(name, ipv6Prefix); ok {
		address := strings.ReplaceAll(dashed, "-", ":")
		if parsed, err := netip.ParseAddr(address); err == nil && parsed.Is6() && parsed.Zone() == "" && address == strings.ToLower(address) {
			return "[" + address + "]", ""
		}
	}
	switch {
	case name == "":
		return "", "the host is empty"
	case len(name) > maxHostLength:
		return "", "the host is longer than 253 characters"
	}
	for label := range strings.SplitSeq(name, ".") {
		if reason := checkLabel(label); reason != "" {
			return "", reason
		}
	}
	return name, ""
}

func checkLabel(label string) (reason string) {
	switch {
	case label == "":
		return "the host has an empty label"
	case len(label) > maxLabel:
		return "the host has a label longer than 63 characters"
	case label[0] == '-' || label[len(label)-1] == '-':
		return "a label of the host begins or ends with \"-\""
	}
	for _, c := range []byte(label) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "the host may hold only lower-case letters, digits, \"-\" and \".\""
		}
	}
	return ""
}
