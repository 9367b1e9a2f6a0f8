package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// outcome is how a test ended, over all levels in which it ran: one failure counts more than passes,
// one pass more than skips.
type outcome struct {
	passed, failed, skipped bool
	// skippedParts are subtests that were skipped and passed in no level.
	skippedParts map[string]bool
	passedParts  map[string]bool
}

func (o *outcome) String() string {
	switch {
	case o == nil:
		return "not run"
	case o.failed:
		return "fail"
	case !o.passed:
		return "skip"
	}
	skipped := 0
	for part := range o.skippedParts {
		if !o.passedParts[part] {
			skipped++
		}
	}
	if skipped > 0 {
		return fmt.Sprintf("pass, %d subtests skipped", skipped)
	}
	return "pass"
}

// results are the outcomes of top-level tests.
type results map[testID]*outcome

// event is a line of `go test -json`.
type event struct {
	Action  string
	Package string
	Test    string
}

// readResults reads all files of results in a directory.
func readResults(dir string) (results, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no results of tests in %s; make test writes them", dir)
	}
	r := results{}
	for _, file := range files {
		if err := r.read(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return r, nil
}

func (r results) read(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	decoder := json.NewDecoder(lines)
	// A test that is run again after a failure counts as it ended last, within one level.
	level := map[testID]map[string]string{}
	for decoder.More() {
		var e event
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		if e.Test == "" || (e.Action != "pass" && e.Action != "fail" && e.Action != "skip") {
			continue
		}
		name, part, _ := strings.Cut(e.Test, "/")
		id := testID{pkg: e.Package, name: name}
		if level[id] == nil {
			level[id] = map[string]string{}
		}
		level[id][part] = e.Action
	}
	for id, parts := range level {
		r.add(id, parts)
	}
	return nil
}

// add counts how a test and its subtests ended in one level; the test itself has the empty name.
func (r results) add(id testID, parts map[string]string) {
	o := r[id]
	if o == nil {
		o = &outcome{skippedParts: map[string]bool{}, passedParts: map[string]bool{}}
		r[id] = o
	}
	for part, action := range parts {
		switch {
		case part == "":
			o.passed = o.passed || action == "pass"
			o.failed = o.failed || action == "fail"
			o.skipped = o.skipped || action == "skip"
		case action == "skip":
			o.skippedParts[part] = true
		case action == "pass":
			o.passedParts[part] = true
		}
	}
}
