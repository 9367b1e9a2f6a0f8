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

// imageKept holds the rules that keep an Image which no stream lists.
func (p *Planner) imageKept(image snapshot.Image) string {
	if source, used := p.Snapshot.Uses.AnyDigestUser(image.Digest); used {
		return "used by " + source.String()
	}
	taken := image.Created
	if image.LastReferenced.After(taken) {
		taken = image.LastReferenced
	}
	switch {
	case image.Keep:
		return "annotated to be kept"
	case !p.All && !image.Managed:
		return "not pushed to this registry"
	case image.Incomplete:
		return "incomplete: what it consists of is not known"
	case p.young(taken):
		return "young"
	case taken.After(p.Snapshot.Time.Add(-p.ReferenceGrace)):
		return "taken up shortly before this run"
	}
	return ""
}
