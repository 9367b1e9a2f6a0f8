package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// specResult is one specification in the table.
type specResult struct {
	spec string
	rows []row
}

// row is one behaviour with the tests that cite it.
type row struct {
	behaviour
	tests []testID
	ended []string
	state state
}

type state string

const (
	statePassed  state = "pass"
	stateFailed  state = "fail"
	stateNotRun  state = "not run"
	stateSkipped state = "skip"
	stateCited   state = "cited"
	stateLater   state = "later"
	stateLeft    state = "left"
	stateMissing state = "no test"
)

// join brings lists, citations and results together and says what is wrong.
func join(lists []list, cited []citation, ended results, listOnly bool) ([]specResult, []string) {
	tests, problems := assign(lists, cited)
	var table []specResult
	for _, l := range lists {
		result := specResult{spec: l.Spec}
		for _, b := range l.Behaviours {
			r := row{behaviour: b, tests: tests[l.Spec+" "+b.Number]}
			for _, test := range r.tests {
				r.ended = append(r.ended, howItEnded(test, ended))
			}
			r.state = r.judge(listOnly)
			switch r.state {
			case stateMissing:
				problems = append(problems, fmt.Sprintf("%s %s has no test and no reason: %s", l.Spec, b.Number, b.Title))
			case stateFailed, stateNotRun, stateSkipped:
				problems = append(problems, fmt.Sprintf("%s %s: %s: %s", l.Spec, b.Number, r.state, r.describeTests(", ")))
			}
			result.rows = append(result.rows, r)
		}
		table = append(table, result)
	}
	return table, problems
}

// howItEnded says how a test ended. One that waits to be asked for and was not is no problem, as long
// as another test of the same behaviour passed.
func howItEnded(test testID, ended results) string {
	outcome := ended[test]
	if target := targetOf(test); outcome == nil && target != "" {
		return "on request: " + target
	}
	return outcome.String()
}

// targetOf returns the target that runs a test that `make test` does not run, "" for all others.
func targetOf(test testID) string {
	for directory, target := range onRequest {
		if strings.HasSuffix(test.pkg, "/"+directory) {
			return target
		}
	}
	return ""
}

// assign spreads the citations over the listed behaviours.
func assign(lists []list, cited []citation) (map[string][]testID, []string) {
	tests, problems := map[string][]testID{}, []string(nil)
	for _, c := range cited {
		numbers, err := numbersOf(lists, c)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", c.position, err))
			continue
		}
		for _, number := range numbers {
			key := c.spec + " " + number
			if !slices.Contains(tests[key], c.test) {
				tests[key] = append(tests[key], c.test)
			}
		}
	}
	return tests, problems
}

// numbersOf returns the listed numbers from the first to the last that a citation names.
func numbersOf(lists []list, c citation) ([]string, error) {
	for _, l := range lists {
		if l.Spec != c.spec {
			continue
		}
		index := func(number string) int {
			return slices.IndexFunc(l.Behaviours, func(b behaviour) bool { return b.Number == number })
		}
		from, to := index(c.from), index(c.to)
		if from < 0 || to < from {
			return nil, fmt.Errorf("%s has no behaviours %s to %s", c.spec, c.from, c.to)
		}
		var numbers []string
		for _, b := range l.Behaviours[from : to+1] {
			numbers = append(numbers, b.Number)
		}
		return numbers, nil
	}
	return nil, fmt.Errorf("there is no list of %s", c.spec)
}

// judge says how a behaviour stands. Tests of what is left or later must not fail either. What is shown on request
// only is left as far as `make test` goes, when the list gives the reason.
func (r row) judge(listOnly bool) state {
	switch {
	case len(r.tests) == 0 && r.Later != "":
		return stateLater
	case len(r.tests) == 0 && r.Left != "":
		return stateLeft
	case len(r.tests) == 0:
		return stateMissing
	case listOnly:
		return stateCited
	case slices.Contains(r.ended, string(stateFailed)):
		return stateFailed
	case slices.Contains(r.ended, string(stateNotRun)):
		return stateNotRun
	}
	onlyOnRequest := true
	for i, ended := range r.ended {
		onlyOnRequest = onlyOnRequest && targetOf(r.tests[i]) != ""
		if strings.HasPrefix(ended, string(statePassed)) {
			return statePassed
		}
	}
	switch {
	case onlyOnRequest && r.Left != "": // the list says that make test does not show it, and why
		return stateLeft
	case onlyOnRequest:
		return stateNotRun
	}
	return stateSkipped
}

func (r row) describeTests(separator string) string {
	var parts []string
	for i, test := range r.tests {
		parts = append(parts, fmt.Sprintf("%s (%s)", strings.TrimPrefix(test.String(), "image.alauda.io/registry/"), r.ended[i]))
	}
	return strings.Join(parts, separator)
}

// summary is one line about a specification.
func (s specResult) summary() string {
	counts := map[state]int{}
	for _, r := range s.rows {
		counts[r.state]++
	}
	text := fmt.Sprintf("behaviours of %s: %d", s.spec, len(s.rows))
	for _, st := range []state{statePassed, stateCited, stateFailed, stateNotRun, stateSkipped, stateMissing, stateLeft, stateLater} {
		if counts[st] > 0 {
			text += fmt.Sprintf(", %s %d", st, counts[st])
		}
	}
	return text
}

func printMarkdown(w io.Writer, table []specResult) error {
	var b strings.Builder
	b.WriteString("# Behaviours and their tests\n")
	for _, s := range table {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| | Behaviour | State | Tests |\n|---|---|---|---|\n", s.spec, s.summary())
		for _, r := range s.rows {
			notes := r.describeTests("<br>")
			for label, reason := range map[string]string{"later": r.Later, "left": r.Left} {
				if reason != "" {
					notes = strings.TrimPrefix(notes+"<br>"+label+": "+reason, "<br>")
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", r.Number, escape(r.Title), r.state, escape(notes))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func escape(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
