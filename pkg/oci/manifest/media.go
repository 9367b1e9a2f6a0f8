package manifest

import (
	"mime"
	"slices"
	"strings"
)

// Media types of manifests and of the blobs that a manifest gives a meaning to.
const (
	DockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	DockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	OCIManifest        = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex           = "application/vnd.oci.image.index.v1+json"

	DockerConfig       = "application/vnd.docker.container.image.v1+json"
	OCIConfig          = "application/vnd.oci.image.config.v1+json"
	OCIEmpty           = "application/vnd.oci.empty.v1+json"
	DockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

	ociArtifactManifest   = "application/vnd.oci.artifact.manifest.v1+json"
	dockerSchema1         = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed   = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	ociNondistributable   = "application/vnd.oci.image.layer.nondistributable.v1."
	platformUnknown       = "unknown"
	attestationAnnotation = "vnd.docker.reference.type"
	imageMetadataVersion  = "1.0"
	imageMetadataAPI      = "image.alauda.io/1.0"
	imageMetadataKind     = "DockerImage"
)

// MediaTypes lists the manifest media types that are accepted, single images first.
func MediaTypes() []string {
	return []string{OCIManifest, DockerManifest, OCIIndex, DockerManifestList}
}

// IsIndex tells whether the media type is a Docker manifest list or an OCI index.
func IsIndex(mediaType string) bool {
	return mediaType == OCIIndex || mediaType == DockerManifestList
}

// IsManifest tells whether the media type is that of a single image or artifact.
func IsManifest(mediaType string) bool {
	return mediaType == OCIManifest || mediaType == DockerManifest
}

// IsImageConfig tells whether a config blob of this media type describes a
// container image. Every other config belongs to an artifact and is not parsed.
func IsImageConfig(mediaType string) bool {
	return mediaType == DockerConfig || mediaType == OCIConfig
}

// IsForeignLayer tells whether the layer may be kept elsewhere: Docker's foreign
// layers and the non-distributable ones of OCI.
func IsForeignLayer(mediaType string) bool {
	return mediaType == DockerForeignLayer || strings.HasPrefix(mediaType, ociNondistributable)
}

// BaseMediaType returns a Content-Type without its parameters, in lower case.
// A value that cannot be parsed is cut at the first semicolon.
func BaseMediaType(contentType string) string {
	if contentType == "" {
		return ""
	}
	if base, _, err := mime.ParseMediaType(contentType); err == nil {
		return base
	}
	base, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(base))
}

func isSchema1(mediaType string) bool {
	return mediaType == dockerSchema1 || mediaType == dockerSchema1Signed
}

func isKnown(mediaType string) bool {
	return slices.Contains(MediaTypes(), mediaType)
}
