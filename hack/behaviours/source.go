package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// testFiles are the test files of one directory.
type testFiles struct {
	comments []comment
	// users are the functions that name a function. Methods are known by their bare name.
	users map[string][]string
}

// comment is one block of comments and the function that it documents or stands in, if any.
type comment struct {
	text     string
	file     string
	line     int
	function string
}

func parseTests(files []string) (*testFiles, error) {
	t := &testFiles{users: map[string][]string{}}
	for _, file := range files {
		positions := token.NewFileSet()
		parsed, err := parser.ParseFile(positions, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, group := range parsed.Comments {
			t.comments = append(t.comments, comment{
				text: group.Text(), file: filepath.Base(file), line: positions.Position(group.Pos()).Line,
				function: enclosingFunction(parsed, group),
			})
		}
		for _, declaration := range parsed.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok {
				t.addUses(function)
			}
		}
	}
	return t, nil
}

func (t *testFiles) addUses(function *ast.FuncDecl) {
	user := function.Name.Name
	ast.Inspect(function, func(node ast.Node) bool {
		if name, ok := node.(*ast.Ident); ok && !slices.Contains(t.users[name.Name], user) {
			t.users[name.Name] = append(t.users[name.Name], user)
		}
		return true
	})
}

// enclosingFunction names the function to which a comment belongs: as its documentation, or inside.
func enclosingFunction(file *ast.File, group *ast.CommentGroup) string {
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		start := function.Pos()
		if function.Doc != nil {
			start = function.Doc.Pos()
		}
		if group.Pos() >= start && group.End() <= function.End() {
			return function.Name.Name
		}
	}
	return ""
}

// testsThatReach returns the test functions that are the function, or use it by way of others, sorted.
func (t *testFiles) testsThatReach(function string) []string {
	var tests []string
	seen := map[string]bool{}
	for next := []string{function}; len(next) > 0; next = next[1:] {
		name := next[0]
		switch {
		case name == "" || seen[name]:
		case isTest(name):
			tests = append(tests, name)
		default:
			next = append(next, t.users[name]...)
		}
		seen[name] = true
	}
	slices.Sort(tests)
	return tests
}

func isTest(name string) bool {
	return name != "TestMain" && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"))
}
