package explain

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/pruner/plan"
	"image.alauda.io/registry/pkg/pruner/references"
	"image.alauda.io/registry/pkg/pruner/report"
	"image.alauda.io/registry/pkg/pruner/snapshot"
)

// User is a field of an object that refers to the image.
type User struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Path      string `json:"path,omitempty"`
	Value     string `json:"value,omitempty"`
}

// Reason is what one rule says.
type Reason struct {
	Rule  plan.Rule `json:"rule"`
	Keeps bool      `json:"keeps"`
	// Message says it in a sentence; Change, what one would have to do for another outcome.
	Message string `json:"message"`
	Change  string `json:"change,omitempty"`
	Users   []User `json:"users,omitempty"`
	// Until is when a protection by age ends.
	Until *metav1.Time `json:"until,omitempty"`
}

// Revision is one place in a stream that names the image.
type Revision struct {
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Tag       string      `json:"tag"`
	Revision  int         `json:"revision"`
	Created   metav1.Time `json:"created"`
	Age       string      `json:"age"`
	Kept      bool        `json:"kept"`
	Reasons   []Reason    `json:"reasons"`
}

// Explanation is the answer.
type Explanation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Target     string `json:"target"`
	Digest     string `json:"digest"`
	// Exists: there is an Image of this digest. Kept: a run would leave it.
	Exists bool `json:"exists"`
	Kept   bool `json:"kept"`
	// Revisions are the places that name it, by stream, tag and revision.
	Revisions []Revision `json:"revisions,omitempty"`
	// Reasons are about the Image itself.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Explain answers for one target. The snapshot must remember origins for the users to be named.
func Explain(planner *plan.Planner, text string) (*Explanation, error) {
	target, err := ParseTarget(text)
	if err != nil {
		return nil, err
	}
	id, err := target.resolve(planner.Snapshot)
	if err != nil {
		return nil, err
	}
	e := &Explanation{APIVersion: "pruner.image.alauda.io/v1", Kind: "PruneExplanation", Target: text, Digest: id}
	words := words{planner: planner, digest: id}
	listed := map[string]string{}
	for _, stream := range planner.Snapshot.Streams {
		plan.Listed(planner.Stream(stream), listed, stream.Key())
		if names(stream, id) {
			e.Revisions = append(e.Revisions, words.revisions(stream)...)
		}
	}
	words.listed = listed
	words.decided = map[string]plan.Image{}
	for _, decision := range planner.Images(listed) {
		words.decided[decision.Digest] = decision
	}
	e.image(words)
	return e, nil
}

func names(stream snapshot.Stream, id string) bool {
	return slices.ContainsFunc(stream.Tags, func(tag snapshot.Tag) bool {
		return slices.ContainsFunc(tag.Revisions, func(r snapshot.Revision) bool { return r.Digest == id })
	})
}

// revisions explains the places of a stream that name the image.
func (w words) revisions(stream snapshot.Stream) []Revision {
	var places []Revision
	var all []snapshot.Revision
	for _, tag := range stream.Tags {
		all = append(all, tag.Revisions...)
	}
	for i, explained := range w.planner.ExplainStream(stream) {
		if explained.Digest != w.digest {
			continue
		}
		place := Revision{
			Namespace: stream.Namespace, Name: stream.Name, Tag: explained.Tag, Revision: explained.Index,
			Created: metav1.NewTime(all[i].Created.UTC()),
			Age:     report.Age(explained.Age), Kept: explained.Keep,
		}
		for _, verdict := range explained.Verdicts {
			if verdict.Keep != explained.Keep {
				continue // what would remove it if nothing kept it
			}
			place.Reasons = append(place.Reasons, w.aboutRevision(stream, explained, verdict))
		}
		places = append(places, place)
	}
	return places
}

// image explains the Image itself.
func (e *Explanation) image(w words) {
	decision, exists := w.decided[e.Digest]
	e.Exists = exists
	if !exists {
		return
	}
	e.Kept = decision.Kept || w.planner.Namespace != ""
	if w.planner.Namespace != "" {
		e.Reasons = append(e.Reasons, Reason{Rule: plan.RuleNoImages, Keeps: true,
			Message: "A run that is limited to a namespace deletes no Images.", Change: "Run without --namespace."})
	}
	for _, place := range e.Revisions {
		if place.Kept {
			e.Reasons = append(e.Reasons, Reason{Rule: plan.RuleListed, Keeps: true,
				Message: fmt.Sprintf("%s/%s:%s names it as revision %d, which stays.", place.Namespace, place.Name, place.Tag, place.Revision),
				Change:  "The reasons of that revision are above."})
		}
	}
	for _, verdict := range w.planner.ExplainImage(decision.Image) {
		e.Reasons = append(e.Reasons, w.aboutImage(verdict))
	}
	e.Reasons = append(e.Reasons, w.relatives(decision.Image)...)
	if !e.Kept {
		e.Reasons = append(e.Reasons, w.aboutImage(plan.Verdict{Rule: plan.RuleUnlisted}))
	}
}

// relatives are the kept images that this one belongs to.
func (w words) relatives(image snapshot.Image) []Reason {
	var reasons []Reason
	relations := w.planner.Graph()
	parents := slices.Clone(relations.Parents(image.Digest))
	slices.Sort(parents)
	for _, parent := range slices.Compact(parents) {
		if decided := w.decided[parent]; decided.Kept {
			reasons = append(reasons, Reason{Rule: plan.RuleIndexKept, Keeps: true,
				Message: fmt.Sprintf("The index %s contains it and stays: %s.", parent, decided.Reason),
				Change:  "Ask about the index; an index is kept or deleted as a whole."})
		}
	}
	if image.Subject != "" {
		reasons = append(reasons, w.subject(image.Subject)...)
	}
	return reasons
}

// subject explains what an image refers to. There need not be an Image of it: a push may make it anew.
func (w words) subject(digest string) []Reason {
	reason := Reason{Rule: plan.RuleReferrer, Keeps: true, Change: "Ask about that image; a signature or attestation goes with its subject."}
	decided, exists := w.decided[digest]
	listed, isListed := w.listed[digest]
	source, isUsed := w.planner.Snapshot.Uses.AnyDigestUser(digest)
	switch {
	case exists && !decided.Kept:
		return nil
	case exists:
		reason.Message = fmt.Sprintf("It refers to %s, which stays: %s.", digest, decided.Reason)
	case isListed:
		reason.Message = fmt.Sprintf("It refers to %s, which stays although there is no Image of it: %s.", digest, listed)
	case isUsed:
		reason.Message = fmt.Sprintf("It refers to %s, which is in use by its digest although there is no Image of it.", digest)
		reason.Change = stopUsing
		reason.Users = users(w.planner.Snapshot.Uses.AnyDigestOrigins(digest), source)
	default:
		parents := slices.Sorted(slices.Values(w.planner.Graph().Parents(digest)))
		at := slices.IndexFunc(parents, func(parent string) bool { return w.decided[parent].Kept })
		if at < 0 {
			return nil
		}
		reason.Message = fmt.Sprintf("It refers to %s, of which there is no Image, but which the index %s contains, and that stays: %s.",
			digest, parents[at], w.decided[parents[at]].Reason)
	}
	return []Reason{reason}
}

func users(origins []references.Origin, fallback references.Source) []User {
	if len(origins) == 0 {
		origins = []references.Origin{{Source: fallback}}
	}
	list := make([]User, 0, len(origins))
	for _, origin := range origins {
		list = append(list, User{Kind: origin.Kind, Namespace: origin.Namespace, Name: origin.Name, Path: origin.Path, Value: strings.TrimSpace(origin.Value)})
	}
	return list
}
