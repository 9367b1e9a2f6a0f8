// Command behaviours shows which behaviours of the specifications are tested, by which tests, and how
// those tests ended.
//
// In: the lists in test/behaviours (one file for each specification: number, title, and why something
// is not tested), the comments of tests that cite numbers ("Behaviour 24.", "Behaviours 12, 13 and
// 40 to 44."), and the files with results that `make test` writes to _output/tests. Out: a table in
// _output/behaviours.md and one line for each specification. It fails when a cited number does not
// exist, when a behaviour has neither a test nor a reason, and when a test that is cited failed or was
// not run. Tests that run on request only may be cited beside others; alone they show nothing.
//
// Which specification a number belongs to follows from the directory of the test; elsewhere the name
// comes first: "Behaviour operator 12.". The command judges comments and results only: whether a test
// really shows what it cites is for readers to say.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("behaviours", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "Top directory of the repository.")
	listOnly := flags.Bool("list-only", false, "Compare lists and comments only, without results of tests.")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return 2
	}
	problems, err := report(*root, *listOnly, stdout)
	if err != nil {
		fmt.Fprintf(stderr, "behaviours: %v\n", err)
		return 1
	}
	for _, problem := range problems {
		fmt.Fprintf(stderr, "behaviours: %s\n", problem)
	}
	if len(problems) > 0 {
		fmt.Fprintf(stderr, "behaviours: %d problems\n", len(problems))
		return 1
	}
	return 0
}

// report writes the table and the summary, and returns what is wrong.
func report(root string, listOnly bool, stdout io.Writer) ([]string, error) {
	lists, err := readLists(filepath.Join(root, "test", "behaviours"))
	if err != nil {
		return nil, err
	}
	cited, misplaced, err := findCitations(root)
	if err != nil {
		return nil, err
	}
	results := results{}
	if !listOnly {
		if results, err = readResults(filepath.Join(root, "_output", "tests")); err != nil {
			return nil, err
		}
	}
	table, problems := join(lists, cited, results, listOnly)
	for _, spec := range table {
		fmt.Fprintln(stdout, spec.summary())
	}
	if listOnly {
		return append(misplaced, problems...), nil
	}
	return append(misplaced, problems...), writeTable(filepath.Join(root, "_output", "behaviours.md"), table)
}

func writeTable(path string, table []specResult) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return printMarkdown(file, table)
}
