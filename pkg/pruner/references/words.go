package references

import "strings"

// protectMentioned protects every existing stream whose "namespace/name" stands in the value, because
// that is what its author may have meant.
func (x *Index) protectMentioned(v value) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.protectWords(v)
}

// Looking for streams in a text ends after so many look-ups; then whole namespaces are protected.
const (
	lookupsPerText = 256
	lookupsPerByte = 4
)

// protectWords is protectMentioned with the lock held. A name may be part of a longer one: what follows
// "team-a/app" may be a tag, or a suffix that only the author can tell from a name.
func (x *Index) protectWords(v value) {
	left := lookupsPerText + lookupsPerByte*len(v.text)
	found := map[Stream]bool{}
	for i := range len(v.text) {
		if v.text[i] != '/' {
			continue
		}
		from, to := i, i+1
		for from > 0 && i-from < maxNamespace && inName(v.text[from-1]) {
			from--
		}
		for to < len(v.text) && to-i <= maxName && inName(v.text[to]) {
			to++
		}
		for ; from < i; from++ {
			if !x.known.HasNamespace(v.text[from:i]) {
				continue // most texts name none, and all names after it are many
			}
			if left -= to - i; left < 0 {
				keepFirst(x.namespaces, strings.Clone(v.text[from:i]), v.source)
				continue
			}
			for end := i + 2; end <= to; end++ {
				stream := Stream{v.text[from:i], v.text[i+1 : end]}
				if exists, _ := x.known.Has(stream); exists && !found[stream] {
					found[stream] = true
					stream = Stream{strings.Clone(stream.Namespace), strings.Clone(stream.Name)} // the text may be long
					keepFirst(x.protected, stream, v.source)
					remember(x, func(o *origins) map[Stream][]Origin { return o.protected }, stream, v)
				}
			}
		}
	}
}

// The longest names that Kubernetes and the image API accept.
const (
	maxNamespace = 63
	maxName      = 253
)

// inName tells the characters of namespaces and streams.
func inName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// shortened cuts a text that is longer than any reference, to be shown or remembered.
func shortened(text string) string {
	if len(text) <= maxImage {
		return text
	}
	return strings.ToValidUTF8(text[:maxImage], "") + "..."
}
