// Package app is the command line of the binary image-registry.
//
// In come arguments, the configuration and a context; out come an exit code and, for the
// modes that do one work and end, lines on stdout. command.go and modes.go read the command
// line; serve.go serves until the context ends, while prune.go, restore.go and list.go are
// the other modes.
//
// Build puts a serving registry together without starting anything: build.go is its table
// of contents, and each of its steps lives in the file of its subject. Tests call it with a
// storage and an API in memory. What the parts do is written in their packages; nothing is
// decided here but what they are made of.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const component = "image-registry"

// Exit codes, and the errors that lead to them.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitProblems = 3
	exitRefused  = 4
)

var (
	// errUsage marks errors of the command line.
	errUsage = errors.New("usage")
	// errProblems marks the end of a run that found problems and did not repair all of them.
	errProblems = errors.New("problems are left")
	// errRefused marks errors of guards, which end a run before it changes anything.
	errRefused = errors.New("refused")
)

// Run executes the command and returns the exit code.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := newCommand()
	command.SetArgs(normalise(args))
	command.SetOut(stdout)
	command.SetErr(stderr)
	err := command.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "%s\nRun '%s --help' for usage.\n", err, component)
		return exitUsage
	}
	fmt.Fprintf(stderr, "%s: %s\n", component, err)
	switch {
	case errors.Is(err, errProblems):
		return exitProblems
	case errors.Is(err, errRefused):
		return exitRefused
	}
	return exitError
}
