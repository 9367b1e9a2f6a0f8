package imageapiconfig

import (
	"fmt"
	"strings"

	configv1 "image.alauda.io/api/config/v1"
)

// Location reads the host[:port] of a registry that is allowed for import, in lower case. The port is empty when
// there is none. Both may be patterns.
func Location(location configv1.RegistryLocation) (host, port string, err error) {
	host, port, ok := SplitPort(strings.ToLower(location.DomainName))
	if !ok || host == "" || strings.ContainsAny(host+port, "/ @#") {
		return "", "", fmt.Errorf("%q is not host or host:port", location.DomainName)
	}
	return host, port, nil
}

// SplitPort cuts host[:port]; an IPv6 address stands in brackets. ok is false when
// there are more colons, or one without a port.
func SplitPort(text string) (host, port string, ok bool) {
	end := strings.LastIndexByte(text, ']')
	if strings.HasPrefix(text, "[") && end < 0 {
		return "", "", false
	}
	host, rest := text[:end+1], text[end+1:]
	before, after, found := strings.Cut(rest, ":")
	if found && after == "" || strings.Contains(after, ":") || end >= 0 && before != "" {
		return "", "", false
	}
	return host + before, after, true
}
