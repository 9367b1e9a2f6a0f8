package pages

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Every folder that holds Go or objects of the cluster has its word in the tour: its path, or its name within the
// sentence about its part.
func TestTheTourNamesEveryFolder(t *testing.T) {
	_, rest, err := Blocks(pages(t)["docs/tour.md"])
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, code := range Inline(rest) {
		for _, word := range strings.FieldsFunc(code, func(r rune) bool { return r == ' ' || r == ',' }) {
			named[strings.TrimPrefix(word, "…/")] = true
		}
	}
	folders := map[string]bool{}
	for _, top := range []string{"cmd", "pkg", "hack", "test", "manifests"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			relative = filepath.ToSlash(relative)
			switch {
			case entry.IsDir() && (entry.Name() == "testdata" || relative == "hack/devcluster/internal" || relative == "hack/devcluster/components" || relative == "hack/devcluster/pause"):
				return filepath.SkipDir // the development cluster has a page of its own
			case !entry.IsDir() && (path.Ext(relative) == ".go" || path.Ext(relative) == ".yaml"):
				folders[path.Dir(relative)] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(folders) < 150 {
		t.Fatalf("only %d folders were found", len(folders))
	}
	for folder := range folders {
		known := strings.HasPrefix(folder, "manifests/bundle") || strings.HasPrefix(folder, "manifests/catalog")
		for tail := folder; !known && tail != ""; {
			known = named[tail]
			_, shorter, _ := strings.Cut(tail, "/")
			tail = shorter
		}
		if !known {
			t.Errorf("docs/tour.md does not name %s", folder)
		}
	}
}
