package main

import (
	"regexp"
	"strings"
)

var (
	citePattern  = regexp.MustCompile(`\bBehaviours?\s+(?:(` + strings.Join(specs, "|") + `)\s+)?([1-9][0-9]*[a-z]?\b)`)
	rangePattern = regexp.MustCompile(`^\s+to\s+([1-9][0-9]*[a-z]?\b)`)
	nextPattern  = regexp.MustCompile(`^(?:,\s*(?:and\s+)?|\s+and\s+)([1-9][0-9]*[a-z]?\b)`)
)

// span is what a comment cites: one number, or a range.
type span struct {
	// spec is empty for the specification of the directory.
	spec     string
	from, to string
}

// numbersIn finds what a comment cites.
func numbersIn(text string) []span {
	var found []span
	for {
		match := citePattern.FindStringSubmatchIndex(text)
		if match == nil {
			return found
		}
		spec := ""
		if match[2] >= 0 {
			spec = text[match[2]:match[3]]
		}
		number := text[match[4]:match[5]]
		text = text[match[5]:]
		for {
			last := number
			if to := rangePattern.FindStringSubmatch(text); to != nil {
				last, text = to[1], text[len(to[0]):]
			}
			found = append(found, span{spec: spec, from: number, to: last})
			next := nextPattern.FindStringSubmatch(text)
			if next == nil {
				break
			}
			number, text = next[1], text[len(next[0]):]
		}
	}
}
