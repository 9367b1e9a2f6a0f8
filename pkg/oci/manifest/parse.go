package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// MaxDescriptors is the largest number of descriptors in one document.
const MaxDescriptors = 10000

// maxMembers is the largest number of members of one object; none that is known has twenty.
const maxMembers = 1000

// Manifest is a checked manifest or index. Either Config is set (a single image or
// artifact) or the document is an index; never both.
type Manifest struct {
	// MediaType is the announced type, the type that the document names, or the one
	// that its shape implies.
	MediaType string
	// Raw is the document exactly as it came.
	Raw []byte
	// Digest is the canonical (sha256) digest of Raw.
	Digest digest.Digest
	// Config is nil for an index.
	Config *v1.Descriptor
	// Layers in the order of the document, base layer first.
	Layers []v1.Descriptor
	// Manifests are the children of an index, in the order of the document.
	Manifests []v1.Descriptor
	// Subject is the manifest that this one refers to, nil without.
	Subject *v1.Descriptor
	// ArtifactType is the member of that name, not the effective type.
	ArtifactType string
	Annotations  map[string]string
}

// IsIndex tells whether the document is an index or manifest list.
func (m *Manifest) IsIndex() bool { return IsIndex(m.MediaType) }

// EffectiveArtifactType is the type under which referrers are listed: artifactType,
// else the config's media type, else (an index without artifactType) nothing.
func (m *Manifest) EffectiveArtifactType() string {
	if m.ArtifactType != "" || m.Config == nil {
		return m.ArtifactType
	}
	return m.Config.MediaType
}

// Blobs returns the config and each distinct layer once, config first.
func (m *Manifest) Blobs() []v1.Descriptor {
	var blobs []v1.Descriptor
	seen := map[digest.Digest]bool{}
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
		seen[m.Config.Digest] = true
	}
	for _, layer := range m.Layers {
		if !seen[layer.Digest] {
			seen[layer.Digest] = true
			blobs = append(blobs, layer)
		}
	}
	return blobs
}

// Stored returns what must be in a registry for the document to be complete: the config
// and each distinct layer once, config first. Foreign layers that can be had elsewhere are
// left out, unless the document names the same digest as an ordinary layer, too.
func (m *Manifest) Stored() []v1.Descriptor {
	var blobs []v1.Descriptor
	seen := map[digest.Digest]bool{}
	if m.Config != nil {
		blobs = append(blobs, *m.Config)
		seen[m.Config.Digest] = true
	}
	for _, layer := range m.Layers {
		if isElsewhere(layer) || seen[layer.Digest] {
			continue
		}
		seen[layer.Digest] = true
		blobs = append(blobs, layer)
	}
	return blobs
}

func isElsewhere(layer v1.Descriptor) bool {
	return IsForeignLayer(layer.MediaType) && len(layer.URLs) > 0
}

// Parse checks a document. contentType is the announced type, with or without
// parameters; empty means that the document decides. Every refusal is an *Error.
func Parse(raw []byte, contentType string) (*Manifest, error) {
	if !utf8.Valid(raw) {
		return nil, malformed("manifest is not UTF-8 text")
	}
	announced := BaseMediaType(contentType)
	if isSchema1(announced) {
		return nil, schema1()
	}
	fields, err := object(raw)
	if err != nil {
		return nil, err
	}
	if err := exactNames(fields, documentMembers); err != nil {
		return nil, err
	}
	mediaType, err := documentType(fields, announced)
	if err != nil {
		return nil, err
	}
	m := &Manifest{MediaType: mediaType, Raw: raw, Digest: Canonical(raw)}
	if err := m.fill(fields); err != nil {
		return nil, err
	}
	return m, nil
}

func schema1() error {
	return unsupported("schema 1 manifests are not supported, re-push with a current client")
}

// documentType applies the rules for type, version and shape.
func documentType(fields map[string]json.RawMessage, announced string) (string, error) {
	named, err := member[string](fields, "mediaType")
	if err != nil {
		return "", err
	}
	version, err := member[int](fields, "schemaVersion")
	if err != nil {
		return "", err
	}
	if version == 1 || isSchema1(named) {
		return "", schema1()
	}
	mediaType := announced
	switch {
	case announced != "" && named != "" && announced != named:
		return "", ambiguous("the Content-Type is %q but the manifest names the media type %q", shorten(announced), shorten(named))
	case announced == "":
		mediaType = named
	}
	if mediaType == "" {
		mediaType = shape(fields)
	}
	if mediaType == ociArtifactManifest {
		return "", unsupported("the OCI artifact manifest type was withdrawn, push an image manifest with artifactType")
	}
	if !isKnown(mediaType) {
		return "", unsupported("manifest media type %q is not supported", shorten(mediaType))
	}
	if version != 2 {
		return "", unsupported("schemaVersion must be 2, not %d", version)
	}
	return mediaType, checkShape(fields, mediaType)
}

// shape guesses the type of a document that does not say it.
func shape(fields map[string]json.RawMessage) string {
	if _, ok := fields["manifests"]; ok {
		return OCIIndex
	}
	if _, ok := fields["config"]; ok {
		return OCIManifest
	}
	return ""
}

func checkShape(fields map[string]json.RawMessage, mediaType string) error {
	_, children := fields["manifests"]
	_, config := fields["config"]
	_, layers := fields["layers"]
	_, schema1Layers := fields["fsLayers"]
	switch {
	case children && (config || layers || schema1Layers):
		return ambiguous("a document cannot have both manifests and config or layers")
	case schema1Layers:
		return schema1()
	case IsIndex(mediaType) && !children:
		return ambiguous("an index needs the member manifests")
	case IsManifest(mediaType) && !config:
		return ambiguous("an image manifest needs the member config")
	}
	return nil
}

func (m *Manifest) fill(fields map[string]json.RawMessage) (err error) {
	if m.Annotations, err = annotationsOf(fields); err != nil {
		return err
	}
	if m.ArtifactType, err = member[string](fields, "artifactType"); err != nil {
		return err
	}
	if m.Subject, err = descriptorMember(fields, "subject"); err != nil {
		return err
	}
	if m.IsIndex() {
		m.Manifests, err = descriptorList(fields, "manifests")
		return err
	}
	if m.Config, err = descriptorMember(fields, "config"); err != nil {
		return err
	}
	if m.Config == nil {
		return malformed("config must be a descriptor")
	}
	m.Layers, err = descriptorList(fields, "layers")
	return err
}

// object decodes a JSON object by exact member names. A repeated member is refused,
// because two readers may pick different ones.
func object(raw []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		return nil, malformed("manifest is not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		if len(fields) == maxMembers {
			return nil, malformed("manifest has an object with more than %d members", maxMembers)
		}
		key, err := decoder.Token()
		if err != nil {
			return nil, malformed("manifest is not valid JSON: %v", err)
		}
		name, ok := key.(string)
		if !ok {
			return nil, malformed("manifest is not valid JSON")
		}
		if _, repeated := fields[name]; repeated {
			return nil, ambiguous("member %q occurs twice", shorten(name))
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, malformed("manifest is not valid JSON: %v", err)
		}
		fields[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, malformed("manifest is not valid JSON: %v", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("manifest has content after its end")
	}
	return fields, nil
}

// documentMembers decide what a document is and what belongs to it.
var documentMembers = []string{"schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "subject", "artifactType"}

// exactNames refuses members that differ from known ones in upper and lower case only: many clients do not tell these
// apart, so "Manifests" makes an index for them of what is an image here.
func exactNames(fields map[string]json.RawMessage, known []string) error {
	for name := range fields {
		for _, exact := range known {
			if name != exact && strings.EqualFold(name, exact) {
				return ambiguous("member %q must be written %q", shorten(name), exact)
			}
		}
	}
	return nil
}

// member decodes one optional member; absent and null give the zero value.
func member[T any](fields map[string]json.RawMessage, name string) (T, error) {
	var value T
	raw, ok := fields[name]
	if !ok {
		return value, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, malformed("member %q has the wrong form", name)
	}
	return value, nil
}
