// Package pages reads the pages of the repository as texts: their blocks, what stands as code within sentences, and
// the commands in both. Its tests hold the pages to their rules: links lead somewhere, and every command shown is
// one that a test runs, or says why none does.
//
// In: README.md, the pages below docs, those beside the manifests and the development cluster. Out: texts, for
// these tests, for test/commands, which compares commands with what they are about, and for test/e2e and test/olm, which
// run them. It runs nothing.
package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Block is a part of a page between two fences.
type Block struct {
	Language string // bash: a test runs it; sh: its first line says why none of this page does; yaml; or empty
	Text     string
	Line     int // of the first fence, from 1
}

// Reason is the first line of a block, if it is a comment.
func (b Block) Reason() string {
	first, _, _ := strings.Cut(b.Text, "\n")
	if !strings.HasPrefix(first, "# ") {
		return ""
	}
	return strings.TrimPrefix(first, "# ")
}

// Read returns the pages of a repository by their names.
func Read(root string) (map[string]string, error) {
	names := []string{"README.md", "manifests/README.md", "hack/devcluster/README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md", "docs/*/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			relative, err := filepath.Rel(root, name)
			if err != nil {
				return nil, err
			}
			names = append(names, filepath.ToSlash(relative))
		}
	}
	out := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		out[name] = string(data)
	}
	return out, nil
}

var fence = regexp.MustCompile("^(\\s*)(```+|~~~+)(.*)$")

// Blocks returns the blocks of a page, and its text without them. A fence that could hide a block from a reader of
// fences is an error: one that is indented, of another kind, or without an end.
func Blocks(text string) ([]Block, string, error) {
	var blocks []Block
	var rest strings.Builder
	var open *Block
	number := 0
	for line := range strings.Lines(text) {
		number++
		match := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case match != nil && (match[1] != "" || match[2] != "```"):
			return nil, "", fmt.Errorf("line %d: the fence %q is not three graves at the beginning of the line", number, match[0])
		case match != nil && open == nil:
			open = &Block{Language: match[3], Line: number}
		case match != nil && match[3] != "":
			return nil, "", fmt.Errorf("line %d: a block begins within the block of line %d", number, open.Line)
		case match != nil:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line
		default:
			rest.WriteString(line)
		}
	}
	if open != nil {
		return nil, "", fmt.Errorf("line %d: the block does not end", open.Line)
	}
	return blocks, rest.String(), nil
}

var inline = regexp.MustCompile("`([^`\n]+)`")

// Inline returns what stands as code within the sentences of a page.
func Inline(rest string) []string {
	var out []string
	for _, match := range inline.FindAllStringSubmatch(rest, -1) {
		out = append(out, strings.ReplaceAll(match[1], `\|`, "|"))
	}
	return out
}
