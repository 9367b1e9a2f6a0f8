package remote

import (
	"slices"
	"strings"

	configv1 "image.alauda.io/api/config/v1"
)

// location is a repository at a registry; host is canonical.
type location struct {
	host, path string
	insecure   bool
}

func (l location) String() string { return l.host + "/" + l.path }

type mirrorRule struct {
	source  string
	mirrors []string
	config  configv1.RegistryMirrors
}

func mirrorRules(mirrors []configv1.RegistryMirrors) []mirrorRule {
	rules := make([]mirrorRule, 0, len(mirrors))
	for _, m := range mirrors {
		rule := mirrorRule{source: canonicalName(m.Source), config: m}
		for _, mirror := range m.Mirrors {
			rule.mirrors = append(rule.mirrors, canonicalName(mirror))
		}
		rules = append(rules, rule)
	}
	return rules
}

// canonicalName makes the host of host[/path] canonical.
func canonicalName(name string) string {
	host, path, found := strings.Cut(strings.Trim(name, "/"), "/")
	if !found {
		return canonicalHost(host)
	}
	return canonicalHost(host) + "/" + path
}

func (m mirrorRule) appliesTo(name string, byDigest bool) bool {
	switch m.config.ApplyTo {
	case configv1.MirrorDigests:
		if !byDigest {
			return false
		}
	case configv1.MirrorTags:
		if byDigest {
			return false
		}
	}
	return name == m.source || strings.HasPrefix(name, m.source+"/")
}

// sources lists where a repository is read, in order: the mirrors of the longest matching source, then
// the repository itself unless it is blocked or must not be contacted. An empty list means blocked.
func (r *rules) sources(origin location, byDigest bool) []location {
	name := origin.String()
	longest := ""
	for _, rule := range r.mirrors {
		if rule.appliesTo(name, byDigest) && len(rule.source) > len(longest) {
			longest = rule.source
		}
	}
	var found []location
	contact := true
	for _, rule := range r.mirrors {
		if rule.source != longest || !rule.appliesTo(name, byDigest) {
			continue
		}
		if rule.config.MirrorSourcePolicy == configv1.NeverContactSource {
			contact = false
		}
		for _, mirror := range rule.mirrors {
			found = appendNew(found, r.located(mirror+strings.TrimPrefix(name, longest), rule.config.Insecure))
		}
	}
	if contact && !r.blocked[origin.host] {
		origin.insecure = origin.insecure || r.insecure[origin.host]
		found = appendNew(found, origin)
	}
	return found
}

func (r *rules) located(name string, insecure bool) location {
	host, path, _ := strings.Cut(name, "/")
	return location{host: host, path: path, insecure: insecure || r.insecure[host]}
}

// appendNew drops what is there already: a mirror of itself would be asked twice.
func appendNew(list []location, l location) []location {
	if slices.ContainsFunc(list, func(known location) bool { return known.host == l.host && known.path == l.path }) {
		return list
	}
	return append(list, l)
}
