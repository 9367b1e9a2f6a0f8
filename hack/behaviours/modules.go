package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
)

// modules knows which module a directory of the repository is in.
type modules struct {
	root string
	// names are the modules' names by directory; empty for a directory that begins no module.
	names map[string]string
}

func newModules(root string) *modules { return &modules{root: root, names: map[string]string{}} }

var modulePattern = regexp.MustCompile(`(?m)^module\s+(\S+)\s*$`)

// importPath returns the import path of the package in a directory, which is relative to the root.
func (m *modules) importPath(dir string) (string, error) {
	for at := dir; ; at = path.Dir(at) {
		name, err := m.begins(at)
		if err != nil {
			return "", err
		}
		if name != "" {
			below, err := filepath.Rel(at, dir)
			return path.Join(name, filepath.ToSlash(below)), err
		}
		if at == "." {
			return "", fmt.Errorf("%s is in no module", dir)
		}
	}
}

func (m *modules) begins(dir string) (string, error) {
	if name, known := m.names[dir]; known {
		return name, nil
	}
	data, err := os.ReadFile(filepath.Join(m.root, filepath.FromSlash(dir), "go.mod"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if match := modulePattern.FindSubmatch(data); match != nil {
		m.names[dir] = string(match[1])
	} else {
		m.names[dir] = ""
	}
	return m.names[dir], nil
}
