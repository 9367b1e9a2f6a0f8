package keyring

import (
	"cmp"
	"errors"
	"path"
	"strings"
)

// pattern is the key of an entry: host with wildcards, optional port, optional path prefix.
type pattern struct {
	labels []string
	port   string
	// path is a prefix of the repository, without the first slash.
	path string
}

var errKey = errors.New("a key is not host[:port][/path]")

// parsePattern reads a key. The scheme and the version of the API, which old tools write, are no part of it.
func parsePattern(key string) (pattern, error) {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(key, scheme); ok {
			key = rest
			break
		}
	}
	hostPort, rest, _ := strings.Cut(key, "/")
	for _, version := range []string{"v1", "v2"} {
		if rest == version {
			rest = ""
		} else if tail, ok := strings.CutPrefix(rest, version+"/"); ok {
			rest = tail
			break
		}
	}
	host, port := splitPort(canonicalHost(hostPort))
	if hostPort == "" || host == "" || strings.ContainsAny(hostPort, " @?#\\") {
		return pattern{}, errKey
	}
	p := pattern{labels: strings.Split(host, "."), port: port, path: strings.TrimSuffix(rest, "/")}
	for _, label := range p.labels {
		if _, err := path.Match(label, ""); !isAddress(host) && err != nil {
			return pattern{}, errKey
		}
	}
	return p, nil
}

// isAddress tells an IPv6 address in brackets from a pattern with a character class.
func isAddress(host string) bool {
	return strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && strings.Contains(host, ":")
}

func splitPort(host string) (name, port string) {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host[:colon], host[colon+1:]
	}
	return host, ""
}

// matches compares with a canonical host and the path of a repository. Wildcards stay within a label
// and never stand for a port.
func (p pattern) matches(host, repository string) bool {
	name, port := splitPort(host)
	labels := strings.Split(name, ".")
	if port != p.port || len(labels) != len(p.labels) || !strings.HasPrefix(repository, p.path) {
		return false
	}
	if isAddress(name) {
		return name == strings.Join(p.labels, ".")
	}
	for i, label := range p.labels {
		if ok, err := path.Match(label, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// compare orders the more specific pattern first: the longer path, then the fewer labels with
// wildcards, then the longer host.
func (p pattern) compare(other pattern) int {
	return cmp.Or(
		cmp.Compare(len(other.path), len(p.path)),
		cmp.Compare(p.wildcards(), other.wildcards()),
		cmp.Compare(p.hostLength(), other.hostLength())*-1,
	)
}

func (p pattern) wildcards() int {
	n := 0
	for _, label := range p.labels {
		if strings.ContainsAny(label, "*?[") {
			n++
		}
	}
	return n
}

func (p pattern) hostLength() int { return len(strings.Join(p.labels, ".")) }
