package references

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"k8s.io/client-go/util/jsonpath"
)

// Path is a JSONPath expression as kubectl takes it. It may be used by several goroutines.
type Path struct {
	text string

	mu   sync.Mutex
	path *jsonpath.JSONPath
}

// String returns the expression as it was given.
func (p *Path) String() string { return p.text }

// ParsePath reads an expression of one pair of braces. Text beside them would be printed by kubectl and
// names no field, so it is a mistake.
func ParsePath(text string) (path *Path, err error) {
	defer recoverTo(&err, text)
	parser, err := jsonpath.Parse("path", text)
	if err != nil {
		return nil, fmt.Errorf("JSONPath %q: %w", text, err)
	}
	if len(parser.Root.Nodes) != 1 || parser.Root.Nodes[0].Type() != jsonpath.NodeList || text == "{}" {
		return nil, fmt.Errorf("JSONPath %q: it must be one expression in braces, as {.spec.image}", text)
	}
	for _, node := range parser.Root.Nodes[0].(*jsonpath.ListNode).Nodes {
		if kind := node.Type(); kind == jsonpath.NodeText || kind == jsonpath.NodeIdentifier {
			return nil, fmt.Errorf("JSONPath %q: it names no field", text)
		}
	}
	compiled := jsonpath.New(text).AllowMissingKeys(true)
	if err := compiled.Parse(text); err != nil {
		return nil, fmt.Errorf("JSONPath %q: %w", text, err)
	}
	return &Path{text: text, path: compiled}, nil
}

// find returns what the expression selects in an object.
func (p *Path) find(object any) (found []any, err error) {
	defer recoverTo(&err, p.text)
	p.mu.Lock()
	defer p.mu.Unlock()
	results, err := p.path.FindResults(object)
	if err != nil {
		return nil, fmt.Errorf("JSONPath %q: %w", p.text, err)
	}
	for _, result := range results {
		for _, value := range result {
			if value.IsValid() && value.CanInterface() {
				found = append(found, value.Interface())
			}
		}
	}
	return found, nil
}

// recoverTo turns a panic of the library, which some nonsensical expressions cause, into an error.
func recoverTo(err *error, text string) {
	if problem := recover(); problem != nil {
		*err = errors.New("JSONPath " + strings.TrimSpace(text) + " cannot be evaluated")
	}
}
