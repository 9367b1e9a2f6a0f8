package commands

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"image.alauda.io/registry/test/pages"
)

var flagName = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z0-9-]+)`)

// flagsOf are the flags that a page of help lists.
func flagsOf(page string) []string {
	var out []string
	for _, match := range flagName.FindAllStringSubmatch(page, -1) {
		out = append(out, match[2])
		if match[1] != "" {
			out = append(out, match[1])
		}
	}
	return out
}

// inContainer takes off what starts a program elsewhere: kubectl exec … --, podman run … <image>.
func inContainer(words []string) []string {
	for i, word := range words[:max(0, len(words)-1)] {
		if _, ours := programs[words[i+1]]; ours && (word == "--" || strings.HasPrefix(words[0], "podman")) {
			return words[i+1:]
		}
	}
	return words
}

// Every call of a program of the product in the pages has subcommands and flags that the program's help has.
func TestFlagsOfProgramsInPagesExist(t *testing.T) {
	help := map[string]map[string]string{}
	for name, p := range programs {
		help[name] = helpOf(t, p)
	}
	checked := 0
	for _, c := range everyCommand(t) {
		words := inContainer(c.words)
		if help[words[0]] == nil || len(words) == 1 {
			continue
		}
		checked++
		where, arguments := "", words[1:]
		for len(arguments) > 0 {
			name := arguments[0]
			if name == "is" {
				name = "imagestreams" // as kubectl calls them for short
			}
			next := strings.TrimSpace(where + " " + name)
			if _, known := help[words[0]][next]; !known {
				break
			}
			where, arguments = next, arguments[1:]
		}
		if words[0] == "pruner" && where == "" && !strings.HasPrefix(arguments[0], "-") {
			t.Errorf("%s: pruner has no command %s: %s", c.page, arguments[0], c.text)
		}
		known := flagsOf(help[words[0]][where])
		for _, argument := range arguments {
			name, _, _ := strings.Cut(argument, "=")
			if !strings.HasPrefix(name, "-") || name == "-" {
				continue
			}
			if words[0] == "image-registry" && !strings.HasPrefix(name, "--") {
				name = "-" + name // it takes one dash or two
			}
			if !slices.Contains(known, strings.TrimSuffix(name, "…")) {
				t.Errorf("%s: %s %s has no flag %s: %s", c.page, words[0], where, name, c.text)
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d calls were found", checked)
	}
}

// foreign are flags that sentences name, of programs of others: kube-apiserver, ingress controllers, kubectl, go.
var foreign = regexp.MustCompile(`^--(requestheader|proxy-client|serversTransport|providers|entryPoints|dry-run|config|as$|nodes|registry-port|no-proxy|enable-aggregator-routing)`)

// Flags that sentences and tables name are flags of some program of the product.
func TestFlagsInSentencesExist(t *testing.T) {
	known := map[string]bool{}
	for _, p := range programs {
		for _, page := range helpOf(t, p) {
			for _, name := range flagsOf(page) {
				known[name] = true
			}
		}
	}
	all, err := pages.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for page, text := range all {
		if strings.HasPrefix(page, "docs/design/") || page == "docs/performance.md" || strings.HasPrefix(page, "hack/") {
			continue // what is said of benchmarks and of the cluster's own program is about other flags
		}
		_, rest, err := pages.Blocks(text)
		if err != nil {
			t.Fatalf("%s: %v", page, err)
		}
		for _, code := range pages.Inline(rest) {
			for word := range strings.FieldsSeq(code) {
				name, _, _ := strings.Cut(word, "=")
				if !strings.HasPrefix(code, "--") || !strings.HasPrefix(name, "--") || foreign.MatchString(name) {
					continue
				}
				checked++
				if !known[strings.TrimSuffix(name, "…")] {
					t.Errorf("%s names the flag %s, which no program has", page, name)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d flags were found", checked)
	}
}
