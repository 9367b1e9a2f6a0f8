//go:build component

package commands

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The flags of all kubectl commands in the pages, also of those that no test runs, are flags of the real kubectl.
func TestFlagsOfKubectlExist(t *testing.T) {
	bin := os.Getenv("DEVCLUSTER_BIN")
	if bin == "" {
		bin = filepath.Join(root, "_output", "devcluster", "bin")
	}
	kubectl := func(arguments ...string) string {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("kubectl %q: %v\n%s", arguments, err, out)
		}
		return string(out)
	}
	listed := regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z0-9-]+)[=:]`)
	flags := func(page string) []string {
		var out []string
		for _, match := range listed.FindAllStringSubmatch(page, -1) {
			out = append(out, match[1], match[2])
		}
		return out
	}
	global := flags(kubectl("options"))
	known, checked := map[string][]string{}, 0
	for _, c := range everyCommand(t) {
		if c.words[0] != "kubectl" {
			continue
		}
		q := ask(c.words)
		if q.verb == "" || len(q.flags) == 0 {
			continue
		}
		where := []string{q.verb}
		// these have subcommands with flags of their own
		deeper := map[string]int{"create": 1, "set": 1, "rollout": 1, "auth": 1, "config": 1}[q.verb]
		if deeper > 0 && len(q.arguments) > 0 {
			where = append(where, q.arguments[0])
			if q.verb == "create" && q.arguments[0] == "secret" {
				where = append(where, q.arguments[1])
			}
		}
		key := strings.Join(where, " ")
		if known[key] == nil {
			known[key] = append(flags(kubectl(append(where, "--help")...)), global...)
		}
		for name := range q.flags {
			checked++
			if !slices.Contains(known[key], name) {
				t.Errorf("%s: kubectl %s has no flag %s: %s", c.page, key, name, c.text)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d flags were compared", checked)
	}
}
