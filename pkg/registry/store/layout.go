package store

import (
	"path"

	"image.alauda.io/registry/pkg/registry/route"

	"github.com/opencontainers/go-digest"
)

// The layout below /docker/registry/v2 is that of the engine, with additions whose
// names start with "_" so that the engine's walks skip them.
const (
	root         = "/docker/registry/v2"
	blobs        = root + "/blobs"
	repositories = root + "/repositories"
	markers      = root + "/_gc"
)

func blobDirectory(d digest.Digest) string {
	return path.Join(blobs, d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

func blobPath(d digest.Digest) string { return blobDirectory(d) + "/data" }

func repositoryPath(name route.Name, parts ...string) string {
	return path.Join(append([]string{repositories, name.Namespace, name.Stream}, parts...)...)
}

func digestParts(d digest.Digest) (string, string) { return d.Algorithm().String(), d.Encoded() }

// Links names a set of links of a repository.
type Links string

// The sets of links.
const (
	// Layers link blobs: layers and configs.
	Layers Links = "_layers"
	// Revisions link manifests.
	Revisions Links = "_manifests/revisions"
)

func linkDirectory(name route.Name, set Links, d digest.Digest) string {
	algorithm, hex := digestParts(d)
	return repositoryPath(name, string(set), algorithm, hex)
}

func linkPath(name route.Name, set Links, d digest.Digest) string {
	return linkDirectory(name, set, d) + "/link"
}

func tagDirectory(name route.Name, tag string) string {
	return repositoryPath(name, "_manifests/tags", tag)
}

func tagPath(name route.Name, tag string) string { return tagDirectory(name, tag) + "/current/link" }

func referrersDirectory(name route.Name, subject digest.Digest) string {
	algorithm, hex := digestParts(subject)
	return repositoryPath(name, "_referrers", algorithm, hex)
}

func referrerDirectory(name route.Name, subject, referrer digest.Digest) string {
	algorithm, hex := digestParts(referrer)
	return path.Join(referrersDirectory(name, subject), algorithm, hex)
}

func markerPath(kind string, d digest.Digest) string {
	algorithm, hex := digestParts(d)
	return path.Join(markers, kind, algorithm, hex)
}
