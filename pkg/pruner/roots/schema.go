package roots

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	// maxDocument bounds the schemas of one group version, in bytes.
	maxDocument = 32 << 20
	// maxSteps bounds the search in the schema of one kind.
	maxSteps = 2_000_000
)

// node is the part of an OpenAPI schema that says what an object can hold. Everything else, above all the
// descriptions, is dropped while the document is read.
type node struct {
	Ref        string            `json:"$ref"`
	Type       looseText         `json:"type"`
	Properties map[string]*node  `json:"properties"`
	Items      *node             `json:"items"`
	Additional *nodeOrBool       `json:"additionalProperties"`
	AllOf      []*node           `json:"allOf"`
	AnyOf      []*node           `json:"anyOf"`
	OneOf      []*node           `json:"oneOf"`
	Preserve   looseBool         `json:"x-kubernetes-preserve-unknown-fields"`
	Embedded   looseBool         `json:"x-kubernetes-embedded-resource"`
	Kinds      []groupVersionKnd `json:"x-kubernetes-group-version-kind"`
}

type groupVersionKnd struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// looseText and looseBool ignore values of another type, which say nothing here.
type looseText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *looseText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*t = looseText(text)
	}
	return nil
}

type looseBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (b *looseBool) UnmarshalJSON(data []byte) error {
	*b = looseBool(string(data) == "true")
	return nil
}

type nodeOrBool struct{ *node }

// UnmarshalJSON implements json.Unmarshaler.
func (n *nodeOrBool) UnmarshalJSON(data []byte) error {
	if string(data) == "true" || string(data) == "false" {
		return nil
	}
	return json.Unmarshal(data, &n.node)
}

// document holds the schemas of one group version.
type document struct {
	schemas map[string]*node
}

// readDocument reads an OpenAPI v3 document schema by schema.
func readDocument(r io.Reader) (*document, error) {
	limited := &io.LimitedReader{R: r, N: maxDocument + 1}
	d := &document{schemas: map[string]*node{}}
	decoder := json.NewDecoder(limited)
	err := members(decoder, func(key string) error {
		if key != "components" {
			return skip(decoder)
		}
		return members(decoder, func(key string) error {
			if key != "schemas" {
				return skip(decoder)
			}
			return members(decoder, func(name string) error {
				schema := &node{}
				if err := decoder.Decode(schema); err != nil {
					return fmt.Errorf("schema %s: %w", name, err)
				}
				d.schemas[name] = schema
				return nil
			})
		})
	})
	if limited.N <= 0 {
		return nil, fmt.Errorf("it is larger than %d MiB", maxDocument>>20)
	}
	return d, err
}

// members calls visit for each member of the object that comes next; visit reads the value.
func members(decoder *json.Decoder, visit func(key string) error) error {
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return errors.Join(errors.New("an object was expected"), err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return errors.New("a name was expected")
		}
		if err := visit(key); err != nil {
			return err
		}
	}
	_, err := decoder.Token()
	return err
}

// skip reads the next value without keeping it.
func skip(decoder *json.Decoder) error {
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// kind returns the schema of a kind, nil if there is none.
func (d *document) kind(group, version, kind string) *node {
	for _, name := range slices.Sorted(maps.Keys(d.schemas)) {
		if slices.Contains(d.schemas[name].Kinds, groupVersionKnd{group, version, kind}) {
			return d.schemas[name]
		}
	}
	return nil
}

// forms are a schema and everything that it is composed of. References that lead in a circle end.
func (d *document) forms(n *node) []*node {
	var all []*node
	queue := []*node{n}
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if next == nil || slices.Contains(all, next) {
			continue
		}
		all = append(all, next)
		if next.Ref != "" {
			queue = append(queue, d.schemas[next.Ref[strings.LastIndex(next.Ref, "/")+1:]])
		}
		queue = slices.Concat(queue, next.AllOf, next.AnyOf, next.OneOf)
	}
	return all
}

// elements are the schemas of what stands in a list or in a map.
func elements(forms []*node) []*node {
	var all []*node
	for _, form := range forms {
		if form.Items != nil {
			all = append(all, form.Items)
		}
		if form.Additional != nil && form.Additional.node != nil {
			all = append(all, form.Additional.node)
		}
	}
	return all
}
