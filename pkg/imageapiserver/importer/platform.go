package importer

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"image.alauda.io/registry/pkg/oci/manifest"
)

// fallbackPlatform is taken when an index does not have what was asked for.
var fallbackPlatform = Platform{Arch: "amd64", OS: "linux"}

// or fills what is not asked for from another platform.
func (p Platform) or(other Platform) Platform {
	if p.Arch == "" {
		p.Arch = other.Arch
	}
	if p.OS == "" {
		p.OS = other.OS
	}
	return p
}

// choose picks the child of an index that mode Legacy imports: the first of the wanted
// platform, else of the fallback, else the first that is an image, else the first. It
// returns -1 for an index without children.
func choose(children []v1.Descriptor, wanted Platform) int {
	for _, platform := range []Platform{wanted, fallbackPlatform} {
		for i, child := range children {
			if child.Platform != nil && child.Platform.Architecture == platform.Arch &&
				child.Platform.OS == platform.OS && !manifest.IsAttestation(child) {
				return i
			}
		}
	}
	for i, child := range children {
		if !manifest.IsAttestation(child) {
			return i
		}
	}
	return min(len(children), 1) - 1
}
