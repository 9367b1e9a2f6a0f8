package model

import (
	"regexp"
	"strings"
)

// name is what a string in a Pod says, taken apart.
type name struct {
	// host is empty for a bare digest; docker.io where none was given.
	host       string
	components []string
	tag        string
	digest     string
	// hosted: the string itself named a host.
	hosted bool
}

const (
	hexDigest = `(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})`
	component = `[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*`
	hostName  = `(?:localhost|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*:[0-9]+)(?::[0-9]+)?`
)

var (
	bareDigest = regexp.MustCompile(`^` + hexDigest + `$`)
	fullName   = regexp.MustCompile(`^(?:(` + hostName + `)/)?(` + component + `(?:/` + component + `)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(` + hexDigest + `))?$`)
)

var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.sig|\.att|\.sbom)?$`)

// read takes a string apart. Blank strings are fine and say nothing.
func read(text string) (n name, says, valid bool) {
	text = strings.TrimSpace(text)
	for _, prefix := range []string{"docker://", "docker-pullable://", "oci://"} {
		if strings.HasPrefix(text, prefix) {
			text = text[len(prefix):]
			break
		}
	}
	if text == "" {
		return n, false, true
	}
	if bareDigest.MatchString("sha256:" + text) {
		text = "sha256:" + text
	}
	if bareDigest.MatchString(text) {
		return name{digest: text}, true, true
	}
	match := fullName.FindStringSubmatch(text)
	if match == nil {
		return n, false, false
	}
	n = name{host: match[1], hosted: match[1] != "", components: strings.Split(match[2], "/"), tag: match[3], digest: match[4]}
	if n.host == "docker.io" && len(n.components) == 1 {
		n.components = []string{"library", n.components[0]} // which is what Docker Hub means by it
	}
	if n.host == "" {
		n.host = "docker.io"
	}
	if n.tag == "" {
		n.tag = "latest"
	}
	return n, true, true
}

// isPlaceholder: a program fills the value in later.
func isPlaceholder(text string) bool {
	return strings.Contains(text, "$(") || strings.Contains(text, "${") || strings.Contains(text, "{{")
}

// subjectOf is the digest that a tag of signatures belongs to; empty for other tags.
func subjectOf(tag string) string {
	match := signatureTag.FindStringSubmatch(tag)
	if match == nil {
		return ""
	}
	return "sha256:" + match[1]
}
