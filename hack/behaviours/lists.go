package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// list is one specification's behaviours, in its order.
type list struct {
	Spec       string      `json:"spec"`
	Behaviours []behaviour `json:"behaviours"`
}

// behaviour is one numbered requirement.
type behaviour struct {
	// Number is as the specification has it, "33" or "33a".
	Number string `json:"number"`
	Title  string `json:"title"`
	// Later says why the requirement itself waits for a later release.
	Later string `json:"later,omitempty"`
	// Left says why nothing tests it although it is required.
	Left string `json:"left,omitempty"`
}

var numberPattern = regexp.MustCompile(`^[1-9][0-9]*[a-z]?$`)

// readLists reads every list of a directory, in the order of the file names.
func readLists(dir string) ([]list, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no lists in %s", dir)
	}
	var lists []list
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var l list
		if err := yaml.UnmarshalStrict(data, &l); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); l.Spec != want {
			return nil, fmt.Errorf("%s: spec is %q, want %q as the file's name says", file, l.Spec, want)
		}
		if err := l.validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		lists = append(lists, l)
	}
	return lists, nil
}

func (l list) validate() error {
	var problems []error
	seen := map[string]bool{}
	for _, b := range l.Behaviours {
		switch {
		case !numberPattern.MatchString(b.Number):
			problems = append(problems, fmt.Errorf("%q is no number", b.Number))
		case seen[b.Number]:
			problems = append(problems, fmt.Errorf("%s is listed twice", b.Number))
		case b.Title == "":
			problems = append(problems, fmt.Errorf("%s has no title", b.Number))
		case b.Later != "" && b.Left != "":
			problems = append(problems, fmt.Errorf("%s is both later and left", b.Number))
		}
		seen[b.Number] = true
	}
	return errors.Join(problems...)
}
