// Package graph knows how images hang together: an index contains its children, and a signature or an
// attestation refers to its subject.
//
// In come digests with their relations. Out come the closure of a set of kept images and an order of
// deletion in which an interruption never leaves an index without its children. Everything is pure; an
// image that is named but does not exist is a node like any other.
package graph

import "slices"

// Image is one node.
type Image struct {
	Digest string
	// Children are the images that an index contains.
	Children []string
	// Subject is the image that this one refers to; empty if none.
	Subject string
}

// Graph holds the relations in both directions.
type Graph struct {
	images    map[string]Image
	parents   map[string][]string
	referrers map[string][]string
	// circular are indexes that refer to a subject which they contain, by whatever way. They go before it
	// like every index, and not after it like other referrers.
	circular map[string]bool
}

// New builds the graph.
func New(images []Image) *Graph {
	g := &Graph{
		images: make(map[string]Image, len(images)), parents: map[string][]string{}, referrers: map[string][]string{}, circular: map[string]bool{},
	}
	for _, image := range images {
		g.images[image.Digest] = image
		for _, child := range image.Children {
			g.parents[child] = append(g.parents[child], image.Digest)
		}
		if image.Subject != "" {
			g.referrers[image.Subject] = append(g.referrers[image.Subject], image.Digest)
		}
	}
	for _, image := range images {
		if image.Subject != "" && len(image.Children) > 0 && g.leads(image.Digest, image.Subject) {
			g.circular[image.Digest] = true
		}
	}
	return g
}

// leads tells whether to has to go after from when subjects go before their referrers. Every circle of such
// rules passes through an index with a subject, because digests cannot contain each other in a circle.
func (g *Graph) leads(from, to string) bool {
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range slices.Concat(g.Children(queue[0]), g.referrers[queue[0]]) {
			if next == to {
				return true
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return false
}

// Children lists the images that an index contains.
func (g *Graph) Children(digest string) []string { return g.images[digest].Children }

// Parents lists the indexes that contain the image.
func (g *Graph) Parents(digest string) []string { return g.parents[digest] }

// Subject is the image that this one refers to; empty if none.
func (g *Graph) Subject(digest string) string { return g.images[digest].Subject }

// Before lists what has to be deleted before the image: the indexes that contain it, and its subject.
func (g *Graph) Before(digest string) []string {
	before := g.parents[digest]
	if subject := g.Subject(digest); subject != "" && !g.circular[digest] {
		before = append(slices.Clone(before), subject)
	}
	return before
}

// Keep extends kept, in place, by everything that a kept image needs: the children of an index and the
// referrers of a subject, on and on. Each image is entered with the one that it is kept for.
func (g *Graph) Keep(kept map[string]string) {
	queue := make([]string, 0, len(kept))
	for digest := range kept {
		queue = append(queue, digest)
	}
	slices.Sort(queue)
	for len(queue) > 0 {
		digest := queue[0]
		queue = queue[1:]
		for _, next := range slices.Concat(g.Children(digest), g.referrers[digest]) {
			if _, known := kept[next]; !known {
				kept[next] = digest
				queue = append(queue, next)
			}
		}
	}
}

// Waves splits digests into groups that are to be deleted one after the other: what Before lists for an
// image comes in an earlier one. Digests are sorted within a group.
func (g *Graph) Waves(digests []string) [][]string {
	memo := map[string]int{}
	var waves [][]string
	for _, digest := range digests {
		depth := g.depth(digest, memo, map[string]bool{})
		for len(waves) <= depth {
			waves = append(waves, nil)
		}
		waves[depth] = append(waves[depth], digest)
	}
	waves = slices.DeleteFunc(waves, func(wave []string) bool { return len(wave) == 0 })
	for _, wave := range waves {
		slices.Sort(wave)
	}
	return waves
}

// depth is the longest way from an image that nothing names. A circle, which digests cannot form, ends.
func (g *Graph) depth(digest string, memo map[string]int, open map[string]bool) int {
	if depth, known := memo[digest]; known {
		return depth
	}
	if open[digest] {
		return 0
	}
	open[digest] = true
	depth := 0
	for _, other := range g.Before(digest) {
		depth = max(depth, 1+g.depth(other, memo, open))
	}
	delete(open, digest)
	memo[digest] = depth
	return depth
}
