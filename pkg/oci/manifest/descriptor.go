package manifest

import (
	"bytes"
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
	items, err := itemsOf(fields[name], name)
	if err != nil {
		return nil, err
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

// itemsOf reads a list item by item, so that too many of them are noticed before all take memory: what is two
// bytes in the document is many times that here.
func itemsOf(raw json.RawMessage, name string) ([]json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if open, err := decoder.Token(); err != nil || open != json.Delim('[') {
		return nil, malformed("member %q has the wrong form", name)
	}
	var items []json.RawMessage
	for decoder.More() {
		if len(items) == MaxDescriptors {
			return nil, malformed("%s has more than %d descriptors", name, MaxDescriptors)
		}
		var item json.RawMessage
		if err := decoder.Decode(&item); err != nil {
			return nil, malformed("member %q has the wrong form", name)
		}
		items = append(items, item)
	}
	return items, nil
}

// maxAnnotationQuotes bounds the members of annotations, each of which has four quotes; those within texts
// count, too.
const maxAnnotationQuotes = 200_000

func annotationsOf(fields map[string]json.RawMessage) (map[string]string, error) {
	if bytes.Count(fields["annotations"], []byte{'"'}) > maxAnnotationQuotes {
		return nil, malformed("there are too many annotations")
	}
	return member[map[string]string](fields, "annotations")
}

// descriptorMembers decide which content a descriptor means.
var descriptorMembers = []string{"digest", "size", "mediaType", "urls"}

// decodeDescriptor reads the members by their exact names; what it does not know
// stays in the raw document only.
func decodeDescriptor(raw json.RawMessage, where string) (v1.Descriptor, error) {
	var none v1.Descriptor
	fields, err := object(raw)
	if err != nil {
		return none, malformed("%s is not a descriptor", where)
	}
	if err := exactNames(fields, descriptorMembers); err != nil {
		return none, err
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
	if d.Annotations, err = annotationsOf(fields); err != nil {
		return wrong("annotations")
	}
	if d.Platform, err = member[*v1.Platform](fields, "platform"); err != nil {
		return wrong("platform")
	}
	return nil
}
