package references

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Kind says what a string refers to.
type Kind int

// The kinds of references.
const (
	// None is no reference to an image that could be in this registry.
	None Kind = iota
	// Tag names a stream and a tag.
	Tag
	// Digest names a stream and a digest.
	Digest
	// Bare is a digest without a repository.
	Bare
	// Local is a name of one component, which means a stream only under conditions.
	Local
)

// Reference is a parsed string.
type Reference struct {
	Kind      Kind
	Namespace string
	Name      string
	Tag       string
	Digest    string
	// LastName is the last component of the name, for local lookup.
	LastName string
	// Host is the registry, docker.io if none was given. It is empty for digests without a repository.
	Host string
}

// maxImage is longer than any reference: a registry, 255 bytes of a name, 128 of a tag and a digest.
const maxImage = 1024

// transports are the prefixes that runtimes put before an image ID.
var transports = []string{"docker-pullable://", "docker://", "oci://"}

// Parse reads an image string as it stands in a Pod. Blank strings and names that cannot be in this
// registry are None without an error.
func Parse(value string) (Reference, error) {
	value = strings.TrimSpace(value)
	for _, transport := range transports {
		if rest, found := strings.CutPrefix(value, transport); found {
			value = rest
			break
		}
	}
	if value == "" {
		return Reference{}, nil
	}
	if len(value) > maxImage {
		return Reference{}, errors.New("not an image reference: it is longer than any")
	}
	if !strings.Contains(value, "/") { // as no digest does
		// Some runtimes leave the algorithm out.
		if d, err := digest.Parse(completeDigest(value)); err == nil {
			return Reference{Kind: Bare, Digest: d.String()}, nil
		}
	}
	named, err := reference.ParseNormalizedNamed(value)
	if err != nil {
		return Reference{}, fmt.Errorf("not an image reference: %s", printable(err.Error()))
	}
	ref := Reference{Tag: "latest", Host: reference.Domain(named)}
	if tagged, ok := named.(reference.Tagged); ok {
		ref.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		ref.Digest = digested.Digest().String()
	}
	ref.place(value, reference.Path(named))
	return ref, nil
}

// place fills in the names. value tells a local name from one of a public registry, which the parser
// completes.
func (r *Reference) place(value, path string) {
	components := strings.Split(path, "/")
	r.LastName = components[len(components)-1]
	name, _, _ := strings.Cut(value, "@")
	switch {
	case !strings.Contains(name, "/"):
		r.Kind = Local
	case len(components) != 2:
		if r.Digest != "" {
			r.Kind = Bare // whatever stands before it, such as the path of a proxy: there is no other such image
		}
		return
	case r.Digest != "":
		r.Kind = Digest
	default:
		r.Kind = Tag
	}
	if len(components) == 2 && r.Kind != Local {
		r.Namespace, r.Name = components[0], components[1]
	}
}

// printable takes the control characters out of an error that repeats what somebody wrote.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, text)
}

// isPlaceholder tells whether a template engine was to fill the value in.
func isPlaceholder(value string) bool {
	for _, mark := range []string{"$(", "${", "{{"} {
		if strings.Contains(value, mark) {
			return true
		}
	}
	return false
}
