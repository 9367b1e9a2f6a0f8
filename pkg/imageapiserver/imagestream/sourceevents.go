package imagestream

import (
	"slices"
	"sort"
	"strings"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/history"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
)

// sourceEvents is the history of one stream, arranged so that many ids can be
// looked up in it: a user decides how many tags name an image of a stream by
// its id, and how many images that has.
type sourceEvents struct {
	// best is the event that each digest stands for.
	best map[string]imageapi.TagEvent
	// digests are sorted as they are, hexes by what follows the algorithm.
	digests, hexes []string
	// ambiguous are the ids that turned out to stand for several digests.
	ambiguous map[string]error
}

func newSourceEvents(origin *imageapi.ImageStream, hosts repository.Hosts) *sourceEvents {
	events := &sourceEvents{best: map[string]imageapi.TagEvent{}, digests: history.Digests(origin), ambiguous: map[string]error{}}
	events.hexes = slices.Clone(events.digests)
	sort.Slice(events.hexes, func(i, j int) bool { return hexOf(events.hexes[i]) < hexOf(events.hexes[j]) })

	local := map[string]bool{}
	for _, tag := range sortedTags(origin) {
		for _, event := range origin.Status.Tags[tag].Items {
			if event.Image == "" {
				continue
			}
			here := hosts.IsLocal(event.DockerImageReference, origin.Namespace, origin.Name)
			before, known := events.best[event.Image]
			newer := event.Created.After(before.Created.Time)
			// A local event before others, the newest of its kind.
			if !known || here && !local[event.Image] || here == local[event.Image] && newer {
				events.best[event.Image], local[event.Image] = event, here
			}
		}
	}
	return events
}

// find returns the event of the one digest that id stands for. It returns a
// *reference.AmbiguousIDError when there are several.
func (s *sourceEvents) find(id string) (imageapi.TagEvent, bool, error) {
	if event, exact := s.best[id]; exact {
		return event, true, nil
	}
	if err := s.ambiguous[id]; id == "" || err != nil {
		return imageapi.TagEvent{}, false, err
	}
	candidates := slices.Concat(
		beginningWith(s.digests, id, func(digest string) string { return digest }),
		beginningWith(s.hexes, id, hexOf))
	digest, err := reference.MatchID(id, candidates)
	if err != nil {
		s.ambiguous[id] = err
		return imageapi.TagEvent{}, false, err
	}
	event, found := s.best[digest]
	return event, found, nil
}

// beginningWith is the part of a list, sorted by key, whose keys begin with
// prefix.
func beginningWith(list []string, prefix string, key func(string) string) []string {
	from := sort.Search(len(list), func(i int) bool { return key(list[i]) >= prefix })
	length := sort.Search(len(list)-from, func(i int) bool { return !strings.HasPrefix(key(list[from+i]), prefix) })
	return list[from : from+length]
}

func hexOf(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex
}

func sortedTags(stream *imageapi.ImageStream) []string {
	tags := make([]string, 0, len(stream.Status.Tags))
	for tag := range stream.Status.Tags {
		tags = append(tags, tag)
	}
	return sorted(tags)
}
