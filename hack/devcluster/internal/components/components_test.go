package components

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// fakeGo answers "env" and builds by writing the arguments into a program.
const fakeGo = `#!/bin/sh
if [ "$1" = env ]; then echo go1.26.0; exit; fi
echo "$PWD $*" >> "$COUNT"
if [ -n "$BREAK" ]; then echo "cannot compile" >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
printf x > "$2/one"; chmod +x "$2/one"
`

func setUp(t *testing.T) (Builder, Module, string) {
	t.Helper()
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	t.Setenv("COUNT", count)
	write(t, filepath.Join(dir, "go"), fakeGo, 0o755)
	write(t, filepath.Join(dir, "src/components/x/go.mod"), "module x\n", 0o644)
	b := Builder{Source: filepath.Join(dir, "src"), Bin: filepath.Join(dir, "bin"), Go: filepath.Join(dir, "go"), Report: t.Logf}
	return b, Module{Name: "x", Dir: "components/x", Package: "tool", Programs: []string{"one"}}, count
}

func builds(t *testing.T, count string) int {
	t.Helper()
	b, _ := os.ReadFile(count)
	return strings.Count(string(b), "\n")
}

func TestAModuleIsBuiltAgainOnlyWhenSomethingThatDecidesTheResultChanged(t *testing.T) {
	b, m, count := setUp(t)
	for _, step := range []struct {
		name   string
		change func()
		want   int
	}{
		{"first", func() {}, 1},
		{"nothing changed", func() {}, 1},
		{"go.mod", func() { write(t, filepath.Join(b.Source, m.Dir, "go.mod"), "module y\n", 0o644) }, 2},
		{"new go.sum", func() { write(t, filepath.Join(b.Source, m.Dir, "go.sum"), "sum\n", 0o644) }, 3},
		{"new source", func() { write(t, filepath.Join(b.Source, m.Dir, "main.go"), "package main\n", 0o644) }, 4},
		{"flags", func() { m.LDFlags = "-s" }, 5},
		{"program removed", func() { _ = os.Remove(filepath.Join(b.Bin, "one")) }, 6},
	} {
		step.change()
		if err := b.build(context.Background(), m, "go1"); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := builds(t, count); got != step.want {
			t.Errorf("%s: %d builds, want %d", step.name, got, step.want)
		}
	}
}

func TestAFailedBuildKeepsTheProgramAndSaysWhy(t *testing.T) {
	b, m, _ := setUp(t)
	if err := b.build(context.Background(), m, "go1"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BREAK", "1")
	m.LDFlags = "-s"
	err := b.build(context.Background(), m, "go1")
	if err == nil || !strings.Contains(err.Error(), "cannot compile") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(b.Bin, "one")); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.Bin, ".build-*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestEveryModuleHasPinnedVersions(t *testing.T) {
	for _, m := range All() {
		if m.Dir == "." {
			continue
		}
		for _, f := range []string{"go.mod", "go.sum"} {
			if _, err := os.Stat(filepath.Join("../..", m.Dir, f)); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	}
}
