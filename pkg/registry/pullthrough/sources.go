package pullthrough

import (
	"cmp"
	"slices"
	"strings"

	"image.alauda.io/api/image/reference"
	imagev1 "image.alauda.io/api/image/v1"

	"github.com/opencontainers/go-digest"
)

// source is a repository of another registry that may have something.
type source struct {
	reference reference.DockerImageReference
	insecure  bool
}

// name is host/path.
func (s source) name() string { return s.reference.Registry + "/" + s.reference.RepositoryName() }

func (s source) key() string {
	if s.insecure {
		return s.name() + " insecure"
	}
	return s.name()
}

// event is an item of a tag's history.
type event struct {
	tag    string
	image  string
	source source
	// current is true for the newest item of its tag.
	current bool
}

// events lists what of a stream's history comes from other registries.
func events(stream *imagev1.ImageStream, own ownHosts) []event {
	own = own.of(stream)
	all := stream.Annotations[imagev1.InsecureRepositoryAnnotation] == "true"
	insecureTags := map[string]bool{}
	for _, tag := range stream.Spec.Tags {
		insecureTags[tag.Name] = tag.ImportPolicy.Insecure
	}
	var list []event
	insecureHosts := map[string]bool{}
	for _, tag := range stream.Status.Tags {
		for i, item := range tag.Items {
			parsed, err := reference.Parse(item.DockerImageReference)
			if err != nil || item.Image == "" {
				continue
			}
			parsed = parsed.DockerClientDefaults().AsRepository()
			if own.has(parsed.Registry) || parsed.RepositoryName() == "" {
				continue
			}
			e := event{tag: tag.Tag, image: item.Image, current: i == 0, source: source{reference: parsed, insecure: all}}
			if e.current && insecureTags[tag.Tag] {
				e.source.insecure = true
				insecureHosts[parsed.Registry] = true
			}
			list = append(list, e)
		}
	}
	for i := range list {
		if !list[i].current {
			list[i].source.insecure = all || insecureHosts[list[i].source.reference.Registry]
		}
	}
	return list
}

// manifestSources lists where a manifest can be had: the repositories of the items that
// are it, or that are an index above it. The items of the tag that was asked for come
// first, then the current ones of others.
func manifestSources(list []event, layers *imagev1.ImageStreamLayers, tag string, d digest.Digest, limit int) []source {
	images := map[string]bool{d.String(): true}
	if layers != nil {
		addParents(images, layers)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(e event) bool { return !images[e.image] })
	rank := func(e event) int {
		switch {
		case e.current && tag != "" && e.tag == tag:
			return 0
		case e.image == d.String() && e.current:
			return 1
		case e.image == d.String():
			return 2
		case e.current:
			return 3
		}
		return 4
	}
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(rank(a), rank(b)) })
	return distinct(list, limit)
}

// blobSources lists where a blob can be had: the repositories of the current items of
// all tags, then those of the older ones. Those whose image names the blob come first,
// verified ones before insecure ones.
func blobSources(list []event, layers *imagev1.ImageStreamLayers, d digest.Digest, limit int) []source {
	images := map[string]bool{d.String(): true}
	for name, image := range layers.Images {
		if image.Config != nil && *image.Config == d.String() || slices.Contains(image.Layers, d.String()) {
			images[name] = true
		}
	}
	addParents(images, layers)
	list = slices.Clone(list)
	// A registry is insecure for blobs as soon as one of its tags is.
	insecure := map[string]bool{}
	for _, e := range list {
		insecure[e.source.reference.Registry] = insecure[e.source.reference.Registry] || e.source.insecure
	}
	for i := range list {
		list[i].source.insecure = insecure[list[i].source.reference.Registry]
	}
	slices.SortStableFunc(list, func(a, b event) int {
		return cmp.Or(last(a.current, b.current), last(images[a.image], images[b.image]),
			last(!a.source.insecure, !b.source.insecure), strings.Compare(a.source.name(), b.source.name()))
	})
	return distinct(list, limit)
}

// last orders what is not behind what is.
func last(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// addParents adds the indexes above images, and those above them.
func addParents(images map[string]bool, layers *imagev1.ImageStreamLayers) {
	for grown := true; grown; {
		grown = false
		for name, image := range layers.Images {
			if !images[name] && slices.ContainsFunc(image.Manifests, func(child string) bool { return images[child] }) {
				images[name], grown = true, true
			}
		}
	}
}

func distinct(list []event, limit int) []source {
	seen := map[string]bool{}
	var found []source
	for _, e := range list {
		if key := e.source.key(); !seen[key] && len(found) < limit {
			seen[key] = true
			found = append(found, e.source)
		}
	}
	return found
}

// contains tells whether a stream may ask its sources for a blob: for what its images
// consist of, or for anything while it is not known what one of them consists of.
// Nobody shall probe foreign registries with the credentials of the namespace.
func contains(layers *imagev1.ImageStreamLayers, d digest.Digest) bool {
	if _, found := layers.Blobs[d.String()]; found {
		return true
	}
	for _, image := range layers.Images {
		if image.ImageMissing {
			return true
		}
	}
	return false
}

// sizeOf is the size that an image gives for a blob, or -1.
func sizeOf(layers *imagev1.ImageStreamLayers, d digest.Digest) int64 {
	data, found := layers.Blobs[d.String()]
	if !found || data.LayerSize == nil || *data.LayerSize <= 0 {
		return -1
	}
	return *data.LayerSize
}
