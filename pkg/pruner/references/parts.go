package references

import (
	"slices"
	"strconv"
	"strings"
)

// maxCombinations bounds what is put together of the fields of one node.
const maxCombinations = 256

// parts are the fields of a node that may name an image together.
type parts struct {
	// repositories are names of fields, the others are values.
	repositories              []string
	registries, tags, digests []string
}

// partsOf sorts the fields of a node by their names, which projects choose much alike: repository,
// imageRepository, baseImage; tag, imageTag, newTag, version.
func partsOf(node map[string]any) parts {
	var p parts
	for name, value := range node {
		key, text := strings.ToLower(name), scalar(value)
		switch {
		case text == "" || len(text) > maxImage:
		case namesRepository(key) || key == "name" && overrides(node):
			p.repositories = append(p.repositories, name)
		case hasSuffix(key, "digest", "sha", "sha256"):
			p.digests = append(p.digests, completeDigest(text))
		case hasSuffix(key, "tag", "version") && name != "apiVersion":
			p.tags = append(p.tags, text)
		case hasSuffix(key, "registry") || key == "host":
			if _, host, found := strings.Cut(text, "://"); found {
				text = host
			}
			p.registries = append(p.registries, strings.TrimSuffix(text, "/"))
		}
	}
	return p
}

func namesRepository(key string) bool {
	return namesImage(key) || hasSuffix(key, "repository", "repo", "newname")
}

// overrides: kustomize names an image and says which tag or digest it is to have.
func overrides(node map[string]any) bool {
	return scalar(node["newTag"]) != "" || scalar(node["digest"]) != ""
}

func hasSuffix(text string, suffixes ...string) bool {
	return slices.ContainsFunc(suffixes, func(suffix string) bool { return strings.HasSuffix(text, suffix) })
}

// completeDigest adds the algorithm that some charts leave out.
func completeDigest(text string) string {
	if len(text) == 64 && strings.Trim(text, "0123456789abcdef") == "" {
		return "sha256:" + text
	}
	return text
}

func (p parts) combinations() int {
	return len(p.repositories) * (len(p.registries) + 1) * (len(p.tags) + len(p.digests))
}

// pairs puts references together whose repository and tag or digest stand side by side, each in a field of
// its own. Where it is not clear what is meant, the whole stream is protected.
func (s scan) pairs(node map[string]any, at *place) {
	p := partsOf(node)
	many := p.combinations() > maxCombinations
	for _, field := range p.repositories {
		repository := scalar(node[field])
		if strings.Contains(repository, "@") {
			continue
		}
		where := &place{up: at, name: field}
		found := !many && s.combine(repository, p, where)
		elsewhere := found && s.x.hosts != nil && len(p.registries) == 0 && !namesHost(repository)
		if many || elsewhere || !found && !namesImage(field) {
			// Which tag or which registry is meant stands somewhere else.
			v := s.base
			v.text, v.path = repository, where.String()
			s.x.protectMentioned(v)
		}
	}
}

// combine adds what a repository and the other parts can mean and tells whether one of it is a reference.
func (s scan) combine(repository string, p parts, where *place) (found bool) {
	names := []string{repository}
	for _, registry := range p.registries {
		names = append(names, registry+"/"+repository)
	}
	var ends []string
	for _, tag := range p.tags {
		ends = append(ends, ":"+tag)
	}
	for _, digest := range p.digests {
		ends = append(ends, "@"+digest)
	}
	for _, name := range names {
		for _, end := range ends {
			if _, err := Parse(name + end); err == nil || isPlaceholder(name+end) {
				s.add(name+end, where)
				found = true
			}
		}
	}
	return found
}

// namesHost: the name begins with a registry.
func namesHost(name string) bool {
	domain, _, found := strings.Cut(name, "/")
	return found && (strings.ContainsAny(domain, ".:") || domain == "localhost")
}

// scalar is a text, or a tag that YAML may have taken for a number.
func scalar(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case int64:
		return strconv.FormatInt(value, 10)
	}
	return ""
}
