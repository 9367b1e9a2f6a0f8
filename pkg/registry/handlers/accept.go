package handlers

import (
	"mime"
	"strconv"
	"strings"
)

// accepted is what an Accept header allows.
type accepted struct {
	anything bool
	types    map[string]bool
}

// parseAccept reads all values of the header. Missing or general values (*/*,
// application/*, application/json) allow everything; q=0 excludes.
func parseAccept(values []string) accepted {
	a := accepted{types: map[string]bool{}}
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			mediaType, parameters, err := mime.ParseMediaType(strings.TrimSpace(item))
			if err != nil {
				continue
			}
			if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil && q == 0 {
				a.types[mediaType] = false
				continue
			}
			switch mediaType {
			case "*/*", "application/*", "application/json":
				a.anything = true
			default:
				a.types[mediaType] = true
			}
		}
	}
	if len(a.types) == 0 {
		a.anything = true
	}
	return a
}

func (a accepted) allows(mediaType string) bool {
	if allowed, named := a.types[mediaType]; named {
		return allowed
	}
	return a.anything
}
