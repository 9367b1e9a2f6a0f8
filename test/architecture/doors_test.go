// Package architecture holds the rules about which room of the house may import which.
//
// The rules are facts about the import graph, so they are read from `go list` and not from anybody's
// memory: a part that imports another part, an API module that grows a dependency, or a direct
// dependency that nobody decided on makes a test here fail and names the import.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	rootModule   = "image.alauda.io/registry"
	apiModule    = "image.alauda.io/api"
	clientModule = "image.alauda.io/client-go"
)

// parts are the five programs; each may import shared leaves, never another part.
var parts = []string{"operator", "registry", "imageapiserver", "nodeca", "pruner"}

// leaves are the packages below pkg/ that several parts share.
var leaves = []string{"hostcerts", "imageapiconfig", "leader", "logging", "memlimit", "oci", "version"}

type goPackage struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func repositoryRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.work")); err != nil {
		t.Fatalf("repository root not found: %v", err)
	}
	return root
}

// listPackages returns the packages that match the patterns, all build tags of the tests included.
func listPackages(t *testing.T, patterns ...string) []goPackage {
	t.Helper()
	args := append([]string{"list", "-tags=component,e2e,clients", "-json=ImportPath,Standard,Imports,TestImports,XTestImports"}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = repositoryRoot(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list printed something that is not JSON: %v", err)
		}
		packages = append(packages, p)
	}
}

// under tells whether path is the package prefix or lies below it.
func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// partOf returns the part that a package belongs to, or "".
func partOf(path string) string {
	for _, part := range parts {
		if under(path, rootModule+"/pkg/"+part) {
			return part
		}
	}
	return ""
}

func TestPartsNeverImportEachOther(t *testing.T) {
	packages := listPackages(t, "./pkg/...")
	if len(packages) == 0 {
		t.Fatal("go list found no package below pkg/")
	}
	for _, p := range packages {
		own := partOf(p.ImportPath)
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			other := partOf(imported)
			switch {
			case own == "" && other != "":
				t.Errorf("the shared leaf %s imports %s of the part %s", p.ImportPath, imported, other)
			case other != "" && other != own:
				t.Errorf("%s (part %s) imports %s (part %s)", p.ImportPath, own, imported, other)
			}
		}
	}
}

func TestEveryPackageBelowPkgHasARoom(t *testing.T) {
	for _, p := range listPackages(t, "./pkg/...") {
		room, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, rootModule+"/pkg/"), "/")
		if !slices.Contains(parts, room) && !slices.Contains(leaves, room) {
			t.Errorf("%s is neither part of a program nor a shared leaf; name it in this test if it is really shared", p.ImportPath)
		}
	}
}

func TestCommandsImportOnlyTheAppOfTheirPart(t *testing.T) {
	for _, p := range listPackages(t, "./cmd/...") {
		for _, imported := range p.Imports {
			if !under(imported, rootModule) {
				continue
			}
			if partOf(imported) == "" || !strings.HasSuffix(imported, "/app") {
				t.Errorf("%s imports %s, only pkg/<part>/app is allowed", p.ImportPath, imported)
			}
		}
	}
}

func TestProgramsDoNotImportTestsOrTools(t *testing.T) {
	for _, p := range listPackages(t, "./pkg/...", "./cmd/...") {
		for _, imported := range p.Imports {
			if under(imported, rootModule+"/test") || under(imported, rootModule+"/hack") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

func TestNobodyImportsKubernetesItself(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for _, imported := range p.Imports {
			if under(imported, "k8s.io/kubernetes") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

// confined are modules that one package alone may import, because each further one would be a second
// opinion about the same bytes.
var confined = map[string]string{
	"github.com/ProtonMail/go-crypto": rootModule + "/pkg/pruner/signature",
}

func TestConfinedModulesStayInTheirRoom(t *testing.T) {
	for _, p := range listPackages(t, "./pkg/...", "./cmd/...") {
		for _, imported := range p.Imports {
			for module, room := range confined {
				if under(imported, module) && p.ImportPath != room {
					t.Errorf("%s imports %s, only %s may", p.ImportPath, imported, room)
				}
			}
		}
	}
}

func TestStagingModulesStayLight(t *testing.T) {
	for _, tc := range []struct {
		module  string
		allowed []string
	}{
		{apiModule, []string{apiModule, "k8s.io/api", "k8s.io/apimachinery", "k8s.io/utils/ptr"}},
		{clientModule, []string{
			apiModule, clientModule, "k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go",
			"k8s.io/kube-openapi", "k8s.io/utils", "k8s.io/klog/v2", "sigs.k8s.io/structured-merge-diff",
		}},
	} {
		for _, p := range listPackages(t, tc.module+"/...") {
			for _, imported := range p.Imports {
				first, _, _ := strings.Cut(imported, "/")
				if !strings.Contains(first, ".") { // the standard library has no dot in its first element
					continue
				}
				if !slices.ContainsFunc(tc.allowed, func(prefix string) bool { return under(imported, prefix) }) {
					t.Errorf("%s imports %s", p.ImportPath, imported)
				}
			}
		}
	}
}
