package importer

import (
	"strings"

	"image.alauda.io/api/image/reference"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
)

// repositoryKey is what makes two clients the same. The flag belongs to it: an insecure
// item must not lend its connection to one that is not.
type repositoryKey struct {
	host, path string
	insecure   bool
}

// lookupKey is what makes two lookups the same.
type lookupKey struct {
	repository repositoryKey
	// reference is a tag or digest.
	reference string
	mode      imageapi.ImportModeType
	platform  Platform
}

// unit is one lookup, for all items that ask for the same.
type unit struct {
	lookupKey
	// ref has the defaults filled in.
	ref reference.DockerImageReference
	// lastDigest is that of Item.
	lastDigest string
	// raw keeps manifest and config on the images.
	raw bool
	// outcome is set once the lookup has ended.
	outcome *outcome
}

// order is one item with the unit that serves it.
type order struct {
	// written is what the user wrote.
	written reference.DockerImageReference
	raw     bool
	unit    *unit
	// err is set, and unit is nil, when there is nothing to look up.
	err *Error
}

// plan collects units so that nothing is looked up twice.
type plan struct {
	settings Settings
	own      Platform
	insecure bool
	units    map[unitKey]*unit
}

type unitKey struct {
	lookupKey
	lastDigest string
}

func newPlan(settings Settings, own Platform, streamInsecure bool) *plan {
	return &plan{settings: settings, own: own, insecure: streamInsecure, units: map[unitKey]*unit{}}
}

// item adds an item and tells whether its unit is a new one.
func (p *plan) item(item Item) (*order, bool) {
	written, err := reference.Parse(item.From)
	if err != nil {
		return &order{err: invalid("%q is not a pull spec: %v", shorten(item.From), err)}, false
	}
	if written.Name == "" {
		return &order{err: invalid("%q names a registry and no image", shorten(item.From))}, false
	}
	return p.add(written, item.Policy, item.LastDigest)
}

func (p *plan) add(written reference.DockerImageReference, policy Policy, lastDigest string) (*order, bool) {
	ref := written.MostSpecific().DockerClientDefaults()
	wanted := &unit{lookupKey: p.key(ref, policy), ref: ref, lastDigest: lastDigest}
	key := unitKey{wanted.lookupKey, lastDigest}
	existing, found := p.units[key]
	if !found {
		existing = wanted
		p.units[key] = existing
	}
	existing.raw = existing.raw || policy.IncludeManifest
	return &order{written: written, raw: policy.IncludeManifest, unit: existing}, !found
}

func (p *plan) key(ref reference.DockerImageReference, policy Policy) lookupKey {
	key := lookupKey{repository: p.repository(ref, policy), reference: ref.Tag, mode: policy.ImportMode}
	if ref.ID != "" {
		key.reference = ref.ID
	}
	if key.mode == "" {
		key.mode = p.settings.Mode
	}
	// The platform decides nothing when the whole index is taken.
	if key.mode == imageapi.ImportModeLegacy {
		key.platform = policy.Platform.or(p.own)
	}
	return key
}

func (p *plan) repository(ref reference.DockerImageReference, policy Policy) repositoryKey {
	// Other spellings of a host would be places of their own.
	host := strings.TrimSuffix(strings.ToLower(ref.Registry), ":443")
	key := repositoryKey{host: host, path: repositoryPath(ref), insecure: policy.Insecure || p.insecure}
	if reference.IsDockerHub(key.host) {
		key.host = reference.DefaultRegistry
	}
	return key
}

// found returns a successful unit for the same lookup, whatever its last digest.
func (p *plan) found(key lookupKey) *unit {
	for existing, u := range p.units {
		if existing.lookupKey == key && u.outcome != nil && u.outcome.image != nil {
			return u
		}
	}
	return nil
}

func repositoryPath(ref reference.DockerImageReference) string {
	if ref.Namespace == "" {
		return ref.Name
	}
	return ref.Namespace + "/" + ref.Name
}

// shorten bounds what of a user's text is repeated in a message.
func shorten(text string) string {
	const most = 100
	if len(text) <= most {
		return text
	}
	// Half a character would be stored as another one, and differ from what is said the next time.
	return strings.ToValidUTF8(text[:most], "") + "…"
}
