package plan

// exceeds tells whether the image is larger than some LimitRange of the namespace allows.
func (p *Planner) exceeds(namespace, digest string) bool {
	limit, limited := p.Snapshot.Limits[namespace]
	return limited && p.sizeOf(digest, map[string]bool{}) > limit
}

// SizeOf is what counts of an image against limits: its size, and of an index the one of the largest child
// that is known, as when it was pushed.
func (p *Planner) SizeOf(digest string) int64 { return p.sizeOf(digest, map[string]bool{}) }

func (p *Planner) sizeOf(digest string, seen map[string]bool) int64 {
	image := p.Snapshot.Images[digest]
	if len(image.Children) == 0 {
		return image.Size
	}
	largest := int64(0)
	seen[digest] = true
	for _, child := range image.Children {
		if !seen[child] {
			largest = max(largest, p.sizeOf(child, seen))
		}
	}
	return largest
}
