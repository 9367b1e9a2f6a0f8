package plan

import (
	"regexp"
	"slices"
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
	// OverSize removes what exceeds the limits of its namespace and is unused, whatever its age; the two
	// settings above do not count then.
	OverSize bool
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
	if verdict, kept := first(func(next each) bool { return p.streamRules(&stream, next) }); kept {
		return p.keepAll(&stream, verdict)
	}
	key := references.Stream{Namespace: stream.Namespace, Name: stream.Name}
	decisions := make([][]Revision, len(stream.Tags))
	listed := map[string]bool{}
	var ordinary, all []Revision
	for i := range stream.Tags {
		if _, signature := signatureSubject(stream.Tags[i].Name); !signature {
			decisions[i] = p.tag(key, &stream.Tags[i], nil)
			ordinary = append(ordinary, decisions[i]...)
		}
	}
	if signed(&stream) {
		p.listKept(ordinary, listed)
	}
	for i := range stream.Tags {
		if _, signature := signatureSubject(stream.Tags[i].Name); signature {
			decisions[i] = p.tag(key, &stream.Tags[i], listed)
		}
		all = append(all, decisions[i]...)
	}
	return all
}

// signed tells whether a stream has tags that belong to digests.
func signed(stream *snapshot.Stream) bool {
	return slices.ContainsFunc(stream.Tags, func(tag snapshot.Tag) bool {
		_, signature := signatureSubject(tag.Name)
		return signature
	})
}

// newerListed stands among the listed digests when there is one whose content the snapshot does not know.
const newerListed = "newer"

// listKept enters what the ordinary tags of a stream still list.
func (p *Planner) listKept(decisions []Revision, listed map[string]bool) {
	for _, decision := range decisions {
		digest := decision.Digest
		if !decision.Keep || listed[digest] {
			continue
		}
		p.list(digest, listed)
		if _, known := p.Snapshot.Images[digest]; !known && digest != "" && !listed[newerListed] {
			listed[newerListed] = p.Lookup(digest) != Absent
		}
	}
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

// streamRules is the part of the rules that holds for a stream as a whole; all of them keep.
func (p *Planner) streamRules(stream *snapshot.Stream, next each) bool {
	if p.Namespace != "" && stream.Namespace != p.Namespace && !next(keeps(RuleOutside)) {
		return false
	}
	if stream.Keep && !next(keeps(RuleStreamKeep)) {
		return false
	}
	for _, expression := range p.Whitelist {
		if expression.MatchString(stream.Key()) {
			if !next(Verdict{Rule: RuleWhitelist, Keep: true, Expression: expression.String()}) {
				return false
			}
			break
		}
	}
	key := references.Stream{Namespace: stream.Namespace, Name: stream.Name}
	if source, protected := p.Snapshot.Uses.Protector(key); protected && !next(keepsFor(RuleMentioned, source)) {
		return false
	}
	if p.young(stream.Created) && !next(p.keepsYoung(RuleYoungStream, stream.Created)) {
		return false
	}
	return true
}

func (p *Planner) keepAll(stream *snapshot.Stream, verdict Verdict) []Revision {
	reason := verdict.Reason()
	var all []Revision
	for t := range stream.Tags {
		for i := range stream.Tags[t].Revisions {
			decision := p.undecided(&stream.Tags[t], i)
			decision.Keep, decision.Reason = true, reason
			all = append(all, decision)
		}
	}
	return all
}

func (p *Planner) undecided(tag *snapshot.Tag, i int) Revision {
	revision := tag.Revisions[i]
	return Revision{Tag: tag.Name, Index: i, Digest: revision.Digest, Age: p.Snapshot.Time.Sub(revision.Created)}
}

// tag decides about the history of one tag. listed is given for signature tags only: what the ordinary
// tags of the stream still list.
func (p *Planner) tag(stream references.Stream, tag *snapshot.Tag, listed map[string]bool) []Revision {
	decisions := make([]Revision, 0, len(tag.Revisions))
	for i := range tag.Revisions {
		decision := p.undecided(tag, i)
		verdict, _ := first(func(next each) bool { return p.revisionRules(stream, tag, i, listed, next) })
		decision.Keep, decision.Unsure, decision.Reason = verdict.Keep, verdict.Unsure, verdict.revisionReason()
		decisions = append(decisions, decision)
	}
	return decisions
}

// revisionReason is Reason in the words for revisions.
func (v Verdict) revisionReason() string {
	if v.Rule == RuleYoung {
		return "the revision is young"
	}
	return v.Reason()
}

// revisionRules are the rules for one revision; the last one removes.
func (p *Planner) revisionRules(stream references.Stream, tag *snapshot.Tag, i int, listed map[string]bool, next each) bool {
	return p.early(stream, tag, i, next) &&
		(listed == nil || p.signature(stream, tag, i, listed, next)) &&
		p.late(stream, tag, i, next)
}

// early holds the rules that need no knowledge of the image.
func (p *Planner) early(stream references.Stream, tag *snapshot.Tag, i int, next each) bool {
	if tag.Keep && !next(keeps(RuleTagKeep)) {
		return false
	}
	if created := tag.Revisions[i].Created; p.young(created) && !next(p.keepsYoung(RuleYoung, created)) {
		return false
	}
	if i > 0 {
		return true
	}
	if source, used := p.Snapshot.Uses.TagUser(stream, tag.Name); used && !next(keepsFor(RuleTagUsed, source)) {
		return false
	}
	return !tag.Declared || p.OverSize || next(keeps(RuleDeclared))
}

// signature holds the rule for tags that belong to a digest: they live and go with it. The other rules
// decide about older revisions, and, where age does not protect, about those that may be ahead of their
// subject.
func (p *Planner) signature(stream references.Stream, tag *snapshot.Tag, i int, listed map[string]bool, next each) bool {
	subject, _ := signatureSubject(tag.Name)
	if listed[subject] {
		return i > 0 || next(Verdict{Rule: RuleSubjectKept, Keep: true, Digest: subject})
	}
	// What runs by its digest may be started again where only signed images may be.
	if source, _, used := p.Snapshot.AnyUser(subject); used {
		return i > 0 || next(Verdict{Rule: RuleSubjectUsed, Keep: true, User: source, Digest: subject})
	}
	// An index that is newer than the snapshot may contain the subject.
	if listed[newerListed] && !next(keeps(RuleNewer)) {
		return false
	}
	if p.OverSize && tag.Revisions[i].Created.After(p.cutoff()) {
		return true
	}
	if source, used, digest := p.digestUser(stream, tag.Revisions[i].Digest); used {
		if !next(Verdict{Rule: RuleDigestUsed, Keep: true, User: source, Digest: digest}) {
			return false
		}
	}
	next(Verdict{Rule: RuleSubjectGone, Digest: subject})
	return false
}

// late holds the rules that look at the image.
func (p *Planner) late(stream references.Stream, tag *snapshot.Tag, i int, next each) bool {
	digest := tag.Revisions[i].Digest
	image, known := p.Snapshot.Images[digest]
	// An entry without an image, of a tag that was only a reference, has nothing to look up.
	if !known && digest != "" {
		return next(p.lookedUp(digest))
	}
	if image.Keep && !next(keeps(RuleImageKeep)) {
		return false
	}
	if !p.All && !image.Managed && !next(keeps(RuleUnmanaged)) {
		return false
	}
	removal := RuleOld
	if p.OverSize {
		removal = RuleExceeds
		if !p.exceeds(stream.Namespace, digest) {
			return next(keeps(RuleFits))
		}
	} else if i < p.KeepTagRevisions && !next(keeps(RuleNewest)) {
		return false
	}
	if source, used, by := p.digestUser(stream, digest); used && !next(Verdict{Rule: RuleDigestUsed, Keep: true, User: source, Digest: by}) {
		return false
	}
	return next(removes(removal))
}

// lookedUp is the verdict about an image that the snapshot does not know.
func (p *Planner) lookedUp(digest string) Verdict {
	switch p.Lookup(digest) {
	case Present:
		return keeps(RuleNewer)
	case Absent:
		return removes(RuleAbsent)
	}
	return Verdict{Rule: RuleUnsure, Keep: true, Unsure: true}
}

// digestUser returns who uses the image in this stream, or an image that it contains, and which of them, by its
// own digest or by that of its configuration.
func (p *Planner) digestUser(stream references.Stream, digest string) (references.Source, bool, string) {
	seen := map[string]bool{}
	queue := []string{digest}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if seen[next] {
			continue
		}
		seen[next] = true
		for _, name := range p.Snapshot.Names(next) {
			if source, used := p.Snapshot.Uses.DigestUser(stream, name); used {
				return source, true, name
			}
		}
		queue = append(queue, p.Snapshot.Images[next].Children...)
	}
	return references.Source{}, false, ""
}

// young tells whether t is after the cutoff. In over-size mode age protects nothing.
func (p *Planner) young(t time.Time) bool { return !p.OverSize && t.After(p.cutoff()) }

func (p *Planner) cutoff() time.Time { return p.Snapshot.Time.Add(-p.KeepYoungerThan) }

func (p *Planner) keepsYoung(rule Rule, since time.Time) Verdict {
	return Verdict{Rule: rule, Keep: true, Until: since.Add(p.KeepYoungerThan)}
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
