// Package commands tests the command lines of all five programs: that their help is complete, and that a mistake
// is answered with what is wrong and where to read on. And it compares what the pages for users name in commands and
// sentences with what there is: flags with the help of the programs, objects, namespaces, labels and accounts with the
// manifests, fields, patches and examples with the types of the API.
//
// In: the commands as main calls them, and the pages. Out: nothing but test results; no command gets as far as its work.
package commands

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	imageapiserver "image.alauda.io/registry/pkg/imageapiserver/app"
	nodeca "image.alauda.io/registry/pkg/nodeca/app"
	operator "image.alauda.io/registry/pkg/operator/app"
	pruner "image.alauda.io/registry/pkg/pruner/app"
	registry "image.alauda.io/registry/pkg/registry/app"
)

type program struct {
	run func(ctx context.Context, args []string, stdout, stderr *bytes.Buffer) int
	// named are words that the help has to have: exit codes, variables, what people look for.
	named []string
}

var programs = map[string]program{
	"cluster-image-registry-operator": {
		func(ctx context.Context, args []string, out, err *bytes.Buffer) int {
			return operator.Run(ctx, args, out, err)
		},
		[]string{"OPERATOR_IMAGE", "RELATED_IMAGE_REGISTRY", "RELATED_IMAGE_API_SERVER", "RELATED_IMAGE_NODE_CA", "RELATED_IMAGE_PRUNER",
			"POD_NAMESPACE", "POD_NAME", "RELEASE_VERSION", "CLUSTER_DOMAIN", "INGRESS_DOMAIN", "MONITORING_SERVICE_ACCOUNTS",
			"RUNBOOK_URL", "OPERAND_PRIORITY_CLASS", "HTTP_PROXY", "NO_PROXY"},
	},
	"image-registry": {
		func(ctx context.Context, args []string, out, err *bytes.Buffer) int {
			return registry.Run(ctx, args, out, err)
		},
		[]string{"REGISTRY_CONFIGURATION_PATH", "REGISTRY_<SECTION>_<KEY>", "KUBECONFIG"},
	},
	"image-api-server": {
		func(ctx context.Context, args []string, out, err *bytes.Buffer) int {
			return imageapiserver.Run(ctx, args, out, err)
		},
		[]string{"POD_NAMESPACE", "POD_NAME", "--image-storage", "--etcd-servers"},
	},
	"node-ca": {
		func(ctx context.Context, args []string, out, err *bytes.Buffer) int {
			return nodeca.Run(ctx, args, out, err)
		},
		[]string{"NODE_CA_MODE", "NODE_NAME", "NODE_IPS", "NODE_CA_HOST_ETC", "NODE_CA_ROOTS", "NODE_CA_RESYNC", "NODE_CA_METRICS_ADDR"},
	},
	"pruner": {
		func(ctx context.Context, args []string, out, err *bytes.Buffer) int {
			return pruner.Run(ctx, args, out, err)
		},
		[]string{"KUBECONFIG", "--confirm", "130"},
	},
}

// call runs a command that has to end at once.
func call(t *testing.T, p program, args ...string) (int, string, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	code := p.run(ctx, args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

var (
	subcommands = regexp.MustCompile(`(?ms)^Available Commands:\n(.*?)\n\n`)
	flagLine    = regexp.MustCompile(`(?m)^ +(?:-\w, )?--[a-z0-9-]+(?: [^ ]+)?(.*)$`)
)

// helpOf are the pages of a command and of all its subcommands.
func helpOf(t *testing.T, p program, args ...string) map[string]string {
	t.Helper()
	code, out, complaint := call(t, p, append(slices.Clone(args), "--help")...)
	if code != 0 || complaint != "" {
		t.Fatalf("%v --help: exit code %d, %s", args, code, complaint)
	}
	pages := map[string]string{strings.Join(args, " "): out}
	if found := subcommands.FindStringSubmatch(out); found != nil {
		for line := range strings.Lines(found[1]) {
			name := strings.Fields(line)[0]
			if name == "help" || name == "completion" {
				continue
			}
			for where, page := range helpOf(t, p, append(slices.Clone(args), name)...) {
				pages[where] = page
			}
		}
	}
	return pages
}

func TestHelpIsComplete(t *testing.T) {
	for name, p := range programs {
		pages := helpOf(t, p)
		for _, want := range append([]string{"Exit codes: 0 ", "Examples:\n  " + name, "2 wrong usage"}, p.named...) {
			if name == "node-ca" && strings.HasPrefix(want, "Examples:") {
				want = "Examples:\n  node-ca status"
			}
			if !strings.Contains(pages[""], want) {
				t.Errorf("%s --help does not have %q:\n%.2000s", name, want, pages[""])
			}
		}
		if len(pages) < 2 {
			t.Errorf("%s has no subcommands", name)
		}
		for where, page := range pages {
			if strings.TrimSpace(strings.SplitN(page, "Usage:", 2)[0]) == "" {
				t.Errorf("%s %s --help does not say what it does", name, where)
			}
			for _, line := range flagLine.FindAllStringSubmatch(page, -1) {
				if strings.TrimSpace(line[1]) == "" {
					t.Errorf("%s %s --help: a flag without a text: %s", name, where, line[0])
				}
			}
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, p := range programs {
		for where := range helpOf(t, p) {
			code, _, complaint := call(t, p, append(strings.Fields(where), "--no-such-flag")...)
			if code != 2 || !strings.Contains(complaint, "no-such-flag") || !strings.Contains(complaint, "--help") {
				t.Errorf("%s %s --no-such-flag: exit code %d, %s", name, where, code, complaint)
			}
		}
		if name == "image-registry" {
			continue // its argument is the name of a file
		}
		code, _, complaint := call(t, p, "no-such-command")
		if code != 2 || !strings.Contains(complaint, "no-such-command") || !strings.Contains(complaint, "--help") {
			t.Errorf("%s no-such-command: exit code %d, %s", name, code, complaint)
		}
	}
}

func TestVersionIsOneLine(t *testing.T) {
	for name, p := range programs {
		code, out, complaint := call(t, p, "version")
		if code != 0 || complaint != "" || strings.Count(out, "\n") != 1 || !strings.Contains(out, "go1.") {
			t.Errorf("%s version: exit code %d, %q, %q", name, code, out, complaint)
		}
	}
}
