package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// specs are the names that may stand between the word and the numbers.
var specs = []string{"image-api", "node-ca", "operator", "pruner", "registry"}

// specOfDirectory names the specification of the tests below a directory. The longest prefix counts.
var specOfDirectory = map[string]string{
	"manifests":          "operator",
	"pkg/hostcerts":      "node-ca",
	"pkg/imageapiserver": "image-api",
	"pkg/nodeca":         "node-ca",
	"pkg/oci/manifest":   "registry",
	"pkg/oci/remote":     "image-api",
	"pkg/operator":       "operator",
	"pkg/pruner":         "pruner",
	"pkg/registry":       "registry",
	"test/apiserver":     "image-api",
	"test/conformance":   "registry",
	"test/crd":           "operator",
	"test/datapath":      "registry",
	"test/operator":      "operator",
	"test/pruner":        "pruner",
}

// onRequest names the directories whose tests `make test` leaves out, because they need clients from
// outside of the project or the history of the repository, and the target that runs them.
var onRequest = map[string]string{"test/clients": "make test-clients", "test/upgrade": "make test-upgrade", "test/olm": "make test-olm", "test/runtimes": "make test-runtimes"}

// testID is a test function: the import path of its package and its name.
type testID struct {
	pkg  string
	name string
}

func (t testID) String() string { return t.pkg + "." + t.name }

// citation says that a test shows a behaviour. The number may be the end of a range ("40 to 44"),
// which is spread over the list later.
type citation struct {
	spec     string
	from, to string
	test     testID
	position string
}

// findCitations reads all test files of the repository. It returns the citations, and the places of
// comments that cite a number where it means nothing.
func findCitations(root string) (cited []citation, misplaced []string, err error) {
	modules := newModules(root)
	err = filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); dir != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return filepath.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			return err
		}
		relative, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		pkg, err := modules.importPath(relative)
		if err != nil {
			return err
		}
		tests, err := parseTests(files)
		if err != nil {
			return err
		}
		inPackage, wrong := tests.citations(relative, pkg)
		cited, misplaced = append(cited, inPackage...), append(misplaced, wrong...)
		return nil
	})
	return cited, misplaced, err
}

// citations returns what the comments of a package cite, and the comments that cite nothing.
func (t *testFiles) citations(dir, pkg string) (cited []citation, misplaced []string) {
	for _, comment := range t.comments {
		position := fmt.Sprintf("%s/%s:%d", dir, comment.file, comment.line)
		for _, found := range numbersIn(comment.text) {
			spec := found.spec
			if spec == "" {
				spec = directorySpec(dir)
			}
			names := t.testsThatReach(comment.function)
			switch {
			case len(names) == 0:
				misplaced = append(misplaced, fmt.Sprintf("%s: %s is cited outside of a test", position, found.from))
			case spec == "":
				misplaced = append(misplaced, fmt.Sprintf("%s: say of which specification %s is, for example \"Behaviour operator %s\"", position, found.from, found.from))
			}
			if spec == "" {
				continue
			}
			for _, name := range names {
				cited = append(cited, citation{spec: spec, from: found.from, to: found.to, test: testID{pkg: pkg, name: name}, position: position})
			}
		}
	}
	return cited, misplaced
}

func directorySpec(dir string) string {
	var prefixes []string
	for prefix := range specOfDirectory {
		if dir == prefix || strings.HasPrefix(dir, prefix+"/") {
			prefixes = append(prefixes, prefix)
		}
	}
	// Directories of tests of the image API begin alike: test/imageapi, test/imageimport…
	if len(prefixes) == 0 && strings.HasPrefix(dir, "test/image") {
		return "image-api"
	}
	if len(prefixes) == 0 {
		return ""
	}
	return specOfDirectory[slices.MaxFunc(prefixes, func(a, b string) int { return len(a) - len(b) })]
}
