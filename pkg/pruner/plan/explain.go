package plan

import (
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// Explained is a decision with everything that speaks for it. Verdicts are in the order of the rules, so
// the first one is what the decision rests on; what removes stands last.
type Explained struct {
	Revision
	Verdicts []Verdict
}

// ExplainStream says of every revision of a stream, in the order of Stream, what each rule makes of it.
// Rules for the stream as a whole come first.
func (p *Planner) ExplainStream(stream snapshot.Stream) []Explained {
	whole := all(func(next each) bool { return p.streamRules(&stream, next) })
	decisions := p.Stream(stream)
	listed := p.listedFor(stream, decisions)
	key := references.Stream{Namespace: stream.Namespace, Name: stream.Name}
	var explained []Explained
	for t := range stream.Tags {
		tag := &stream.Tags[t]
		var of map[string]bool
		if _, signature := signatureSubject(tag.Name); signature {
			of = listed
		}
		for i := range tag.Revisions {
			own := all(func(next each) bool { return p.revisionRules(key, tag, i, of, next) })
			explained = append(explained, Explained{
				Revision: decisions[len(explained)],
				Verdicts: append(whole[:len(whole):len(whole)], own...),
			})
		}
	}
	return explained
}

// listedFor is what signature tags of the stream are decided on.
func (p *Planner) listedFor(stream snapshot.Stream, decisions []Revision) map[string]bool {
	listed := map[string]bool{}
	if !signed(&stream) {
		return listed
	}
	next := 0
	for _, tag := range stream.Tags {
		if _, signature := signatureSubject(tag.Name); !signature {
			p.listKept(decisions[next:next+len(tag.Revisions)], listed)
		}
		next += len(tag.Revisions)
	}
	return listed
}

// ExplainImage says what the rules for images that no stream lists make of one. That the image is listed,
// or belongs to one that is kept, is not among them; empty means that nothing but that keeps it.
func (p *Planner) ExplainImage(image snapshot.Image) []Verdict {
	return all(func(next each) bool { return p.imageRules(image, next) })
}
