package plan

import (
	"regexp"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Settings are the wishes of the administrator.
type Settings struct {
	// KeepTagRevisions is how many of the newest revisions of each tag stay.
	KeepTagRevisions int
	// KeepYoungerThan protects what is younger.
	KeepYoungerThan time.Duration
	// All: images that were not pushed to this registry are candidates, too.
	All bool
	// Whitelist leaves streams alone whose "namespace/name" matches.
	Whitelist []*regexp.Regexp
	// Namespace limits the run to its streams; empty means all.
	Namespace string
	// ReferenceGrace protects images that were taken up shortly before the run, whatever else holds.
	ReferenceGrace time.Duration
}

// Presence is the answer to a look-up of an image that the snapshot does not know.
type Presence int

// The answers.
const (
	// Unsure: the look-up failed.
	Unsure Presence = iota
	// Present: the image is newer than the snapshot.
	Present
	// Absent: there is no such image.
	Absent
)

// Planner decides on one snapshot.
type Planner struct {
	Settings
	Snapshot *snapshot.Snapshot
	// Lookup is asked about images that the snapshot does not know.
	Lookup func(digest string) Presence
}

// Revision is the decision about one revision of a tag.
type Revision struct {
	Tag    string
	Index  int
	Digest string
	// Age at the time of the run.
	Age  time.Duration
	Keep bool
	// Reason names the rule.
	Reason string
	// Unsure: it is kept only because a look-up failed, which counts as a failure.
	Unsure bool
}

// Stream decides about every revision of a stream, in the order of its tags.
func (p *Planner) Stream(stream snapshot.Stream) []Revision {
	if p.Namespace != "" && stream.Namespace != p.Namespace {
		return keepAll(p, stream, "outside the namespace of the run")
	}
	if reason := p.streamKept(stream); reason != "" {
		return keepAll(p, stream, reason)
	}
	key := references.Stream{Namespace: stream.Namespace, Name: stream.Name}
	decisions := make([][]Revision, len(stream.Tags))
	listed := map[string]bool{}
	for i, tag := range stream.Tags {
		if _, signature := signatureSubject(tag.Name); !signature {
			decisions[i] = p.tag(key, tag, nil)
			for _, decision := range decisions[i] {
				if decision.Keep {
					p.list(decision.Digest, listed)
				}
			}
		}
	}
	var all []Revision
	for i, tag := range stream.Tags {
		if _, signature := signatureSubject(tag.Name); signature {
			decisions[i] = p.tag(key, tag, listed)
		}
		all = append(all, decisions[i]...)
	}
	return all
}

// list enters an image and what an index contains: signatures are made of both.
func (p *Planner) list(digest string, listed map[string]bool) {
	if listed[digest] {
		return
	}
	listed[digest] = true
	for _, child := range p.Snapshot.Images[digest].Children {
		p.list(child, listed)
	}
}

// streamKept is the part of the rules that holds for a stream as a whole.
func (p *Planner) streamKept(stream snapshot.Stream) string {
	if stream.Keep {
		return "the stream is annotated to be kept"
	}
	for _, expression := range p.Whitelist {
		if expression.MatchString(stream.Key()) {
			return "the stream is on the whitelist"
		}
	}
	if source, protected := p.Snapshot.Uses.Protector(references.Stream{Namespace: stream.Namespace, Name: stream.Name}); protected {
		return "an unclear reference of " + source.String() + " mentions the stream"
	}
	if p.young(stream.Created) {
		return "the stream is young"
	}
	return ""
}

func keepAll(p *Planner, stream snapshot.Stream, reason string) []Revision {
	var all []Revision
	for _, tag := range stream.Tags {
		for i := range tag.Revisions {
			decision := p.undecided(tag, i)
			decision.Keep, decision.Reason = true, reason
			all = append(all, decision)
		}
	}
	return all
}

func (p *Planner) undecided(tag snapshot.Tag, i int) Revision {
	revision := tag.Revisions[i]
	return Revision{Tag: tag.Name, Index: i, Digest: revision.Digest, Age: p.Snapshot.Time.Sub(revision.Created)}
}

// tag decides about the history of one tag. listed is given for signature tags only: what the ordinary
// tags of the stream still list.
func (p *Planner) tag(stream references.Stream, tag snapshot.Tag, listed map[string]bool) []Revision {
	decisions := make([]Revision, 0, len(tag.Revisions))
	for i, revision := range tag.Revisions {
		decision := p.undecided(tag, i)
		decision.Reason, decision.Keep = p.early(stream, tag, i)
		if !decision.Keep && listed != nil {
			decision.Reason, decision.Keep = p.signature(stream, tag, i, listed)
		}
		if !decision.Keep && decision.Reason == "" {
			decision = p.late(stream, i, revision, decision)
		}
		decisions = append(decisions, decision)
	}
	return decisions
}

// early holds the rules that need no knowledge of the image.
func (p *Planner) early(stream references.Stream, tag snapshot.Tag, i int) (string, bool) {
	switch {
	case tag.Keep:
		return "the tag is annotated to be kept", true
	case p.young(tag.Revisions[i].Created):
		return "the revision is young", true
	case i > 0:
		return "", false
	}
	if source, used := p.Snapshot.Uses.TagUser(stream, tag.Name); used {
		return "used by " + source.String(), true
	}
	if tag.Declared {
		return "the tag is declared in spec.tags", true
	}
	return "", false
}

// signature holds the rule for tags that belong to a digest: they live and go with it. An empty reason
// leaves the revision to the other rules.
func (p *Planner) signature(stream references.Stream, tag snapshot.Tag, i int, listed map[string]bool) (string, bool) {
	subject, _ := signatureSubject(tag.Name)
	if listed[subject] {
		if i == 0 {
			return "its subject is kept", true
		}
		return "", false
	}
	if source, used := p.digestUser(stream, tag.Revisions[i].Digest); used {
		return "used by " + source.String(), true
	}
	return "its subject is not in the stream any more", false
}

// late holds the rules that look at the image.
func (p *Planner) late(stream references.Stream, i int, revision snapshot.Revision, decision Revision) Revision {
	image, known := p.Snapshot.Images[revision.Digest]
	if !known {
		switch p.Lookup(revision.Digest) {
		case Present:
			decision.Keep, decision.Reason = true, "the image is newer than this run"
		case Absent:
			decision.Reason = "the image does not exist"
		default:
			decision.Keep, decision.Reason, decision.Unsure = true, "the image could not be looked up", true
		}
		return decision
	}
	decision.Keep = true
	switch {
	case image.Keep:
		decision.Reason = "the image is annotated to be kept"
	case !p.All && !image.Managed:
		decision.Reason = "the image was not pushed to this registry"
	case i < p.KeepTagRevisions:
		decision.Reason = "among the newest revisions"
	default:
		if source, used := p.digestUser(stream, revision.Digest); used {
			decision.Reason = "used by " + source.String()
			break
		}
		decision.Keep, decision.Reason = false, "old and unused"
	}
	return decision
}

// digestUser returns who uses the image in this stream, or an image that it contains.
func (p *Planner) digestUser(stream references.Stream, digest string) (references.Source, bool) {
	seen := map[string]bool{}
	queue := []string{digest}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		if source, used := p.Snapshot.Uses.DigestUser(stream, next); used {
			return source, true
		}
		queue = append(queue, p.Snapshot.Images[next].Children...)
	}
	return references.Source{}, false
}

// young tells whether t is after the cutoff.
func (p *Planner) young(t time.Time) bool {
	return t.After(p.Snapshot.Time.Add(-p.KeepYoungerThan))
}

var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})(\.sig|\.att|\.sbom)?$`)

// signatureSubject returns the digest that a tag such as sha256-….sig belongs to.
func signatureSubject(tag string) (string, bool) {
	if !strings.HasPrefix(tag, "sha256-") {
		return "", false
	}
	match := signatureTag.FindStringSubmatch(tag)
	if match == nil {
		return "", false
	}
	return "sha256:" + match[1], true
}
