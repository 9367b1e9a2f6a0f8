package options

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// ParseRegistryURL reads host, host:port, [v6]:port or an http or https URL of one. Without a scheme https
// is meant.
func ParseRegistryURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	parsed, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no address of a registry", text)
	}
	switch {
	case parsed.Scheme != "http" && parsed.Scheme != "https":
		return nil, fmt.Errorf("scheme %q is neither http nor https", parsed.Scheme)
	case parsed.User != nil:
		return nil, errors.New("user and password do not belong into the address")
	case parsed.Path != "" && parsed.Path != "/":
		return nil, fmt.Errorf("path %q does not belong into the address", parsed.Path)
	case parsed.RawQuery != "" || parsed.ForceQuery || parsed.Fragment != "":
		return nil, errors.New("query and fragment do not belong into the address")
	case !isHost(parsed.Hostname()):
		return nil, fmt.Errorf("%q has no valid host", text)
	}
	if port := parsed.Port(); port != "" {
		if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			return nil, fmt.Errorf("port %q is not between 1 and 65535", port)
		}
	}
	parsed.Path = ""
	return parsed, nil
}

func isHost(host string) bool {
	if net.ParseIP(host) != nil {
		return true
	}
	for _, r := range host {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("-._", r) {
			return false
		}
	}
	return host != ""
}
