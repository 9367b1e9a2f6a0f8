package manifest

import (
	"encoding/json"
	"fmt"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// descriptorMember decodes an optional descriptor; absent and null give nil.
func descriptorMember(fields map[string]json.RawMessage, name string) (*v1.Descriptor, error) {
	raw, ok := fields[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	descriptor, err := decodeDescriptor(raw, name)
	if err != nil {
		return nil, err
	}
	return &descriptor, nil
}

func descriptorList(fields map[string]json.RawMessage, name string) ([]v1.Descriptor, error) {
	items, err := member[[]json.RawMessage](fields, name)
	if err != nil {
		return nil, err
	}
	if len(items) > MaxDescriptors {
		return nil, malformed("%s has %d descriptors, more than %d", name, len(items), MaxDescriptors)
	}
	list := make([]v1.Descriptor, 0, len(items))
	for i, raw := range items {
		descriptor, err := decodeDescriptor(raw, fmt.Sprintf("%s[%d]", name, i))
		if err != nil {
			return nil, err
		}
		list = append(list, descriptor)
	}
	return list, nil
}

// decodeDescriptor reads the members by their exact names; what it does not know
// stays in the raw document only.
func decodeDescriptor(raw json.RawMessage, where string) (v1.Descriptor, error) {
	var none v1.Descriptor
	fields, err := object(raw)
	if err != nil {
		return none, malformed("%s is not a descriptor", where)
	}
	d := v1.Descriptor{}
	text, err := member[string](fields, "digest")
	if err != nil {
		return none, malformed("%s: digest has the wrong form", where)
	}
	if d.Digest, err = ParseDigest(text); err != nil {
		return none, malformed("%s: %v", where, err)
	}
	size, err := member[*int64](fields, "size")
	switch {
	case err != nil:
		return none, malformed("%s: size has the wrong form", where)
	case size == nil:
		return none, malformed("%s: size is missing", where)
	case *size < 0:
		return none, malformed("%s: size %d is negative", where, *size)
	}
	d.Size = *size
	err = optionalMembers(fields, where, &d)
	return d, err
}

func optionalMembers(fields map[string]json.RawMessage, where string, d *v1.Descriptor) (err error) {
	wrong := func(name string) error { return malformed("%s: %s has the wrong form", where, name) }
	if d.MediaType, err = member[string](fields, "mediaType"); err != nil {
		return wrong("mediaType")
	}
	if d.ArtifactType, err = member[string](fields, "artifactType"); err != nil {
		return wrong("artifactType")
	}
	if d.URLs, err = member[[]string](fields, "urls"); err != nil {
		return wrong("urls")
	}
	if d.Annotations, err = member[map[string]string](fields, "annotations"); err != nil {
		return wrong("annotations")
	}
	if d.Platform, err = member[*v1.Platform](fields, "platform"); err != nil {
		return wrong("platform")
	}
	return nil
}
