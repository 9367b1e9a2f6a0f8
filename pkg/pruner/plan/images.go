package plan

import (
	"slices"
	"strings"

	"image.alauda.io/registry/pkg/pruner/graph"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Image is the decision about one Image.
type Image struct {
	snapshot.Image
	Kept   bool
	Reason string
}

// Graph returns the relations of the snapshot's images.
func (p *Planner) Graph() *graph.Graph {
	nodes := make([]graph.Image, 0, len(p.Snapshot.Images))
	for _, image := range p.Snapshot.Images {
		nodes = append(nodes, graph.Image{Digest: image.Digest, Children: image.Children, Subject: image.Subject})
	}
	return graph.New(nodes)
}

// Listed collects the digests that streams name after their revisions were decided on.
func Listed(decisions []Revision, listed map[string]string, stream string) {
	for _, decision := range decisions {
		if decision.Keep {
			listed[decision.Digest] = "listed in " + stream
		}
	}
}

// Images decides about every Image, sorted by digest. listed holds the digests that streams name, as they
// are stored after the first stage, with a reason each.
func (p *Planner) Images(listed map[string]string) []Image {
	reasons := map[string]string{}
	kept := map[string]string{}
	for digest, reason := range listed {
		kept[digest], reasons[digest] = "", reason
	}
	for digest, image := range p.Snapshot.Images {
		if _, known := kept[digest]; known {
			continue
		}
		if reason := p.imageKept(image); reason != "" {
			kept[digest], reasons[digest] = "", reason
		}
	}
	// A subject in use needs its referrers although its Image is missing: a push makes it anew.
	for _, image := range p.Snapshot.Images {
		if _, known := kept[image.Subject]; image.Subject == "" || known {
			continue
		}
		if source, used := p.Snapshot.Uses.AnyDigestUser(image.Subject); used {
			kept[image.Subject], reasons[image.Subject] = "", "used by "+source.String()
		}
	}
	p.Graph().Keep(kept)

	decisions := make([]Image, 0, len(p.Snapshot.Images))
	for digest, image := range p.Snapshot.Images {
		decision := Image{Image: image, Reason: "in no stream and unused"}
		if origin, isKept := kept[digest]; isKept {
			decision.Kept = true
			decision.Reason = reasons[digest]
			if decision.Reason == "" {
				decision.Reason = "belongs to " + origin
			}
		}
		decisions = append(decisions, decision)
	}
	slices.SortFunc(decisions, func(a, b Image) int { return strings.Compare(a.Digest, b.Digest) })
	return decisions
}

// imageKept returns why an Image stays that no stream lists; empty if it does not.
func (p *Planner) imageKept(image snapshot.Image) string {
	verdict, kept := first(func(next each) bool { return p.imageRules(image, next) })
	switch {
	case !kept:
		return ""
	case verdict.Rule == RuleUnmanaged:
		return "not pushed to this registry"
	case verdict.Rule == RuleImageKeep:
		return "annotated to be kept"
	}
	return verdict.Reason()
}

// imageRules are the rules that keep an Image which no stream lists.
func (p *Planner) imageRules(image snapshot.Image, next each) bool {
	if source, name, used := p.Snapshot.AnyUser(image.Digest); used &&
		!next(Verdict{Rule: RuleDigestUsed, Keep: true, User: source, Digest: name}) {
		return false
	}
	taken := image.Created
	if image.LastReferenced.After(taken) {
		taken = image.LastReferenced
	}
	if image.Keep && !next(keeps(RuleImageKeep)) {
		return false
	}
	if !p.All && !image.Managed && !next(keeps(RuleUnmanaged)) {
		return false
	}
	if image.Incomplete && !next(keeps(RuleIncomplete)) {
		return false
	}
	if p.young(taken) && !next(p.keepsYoung(RuleYoung, taken)) {
		return false
	}
	grace := Verdict{Rule: RuleTakenUp, Keep: true, Until: taken.Add(p.ReferenceGrace)}
	return !taken.After(p.Snapshot.Time.Add(-p.ReferenceGrace)) || next(grace)
}
