package app

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := values[name]; return value, ok }
}

func noFile(string) ([]byte, error) { return nil, os.ErrNotExist }

func images() map[string]string {
	return map[string]string{
		"OPERATOR_IMAGE": "o", "RELATED_IMAGE_REGISTRY": "r", "RELATED_IMAGE_API_SERVER": "a",
		"RELATED_IMAGE_NODE_CA": "n", "RELATED_IMAGE_PRUNER": "p",
	}
}

func TestMissingImageIsNamed(t *testing.T) {
	for name := range images() {
		values := images()
		delete(values, name)
		o := DefaultOptions()
		if err := o.ReadEnvironment(environment(values), noFile); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestEmptyPriorityClassMeansNone(t *testing.T) {
	values := images()
	values["OPERAND_PRIORITY_CLASS"] = ""
	o := DefaultOptions()
	if err := o.ReadEnvironment(environment(values), noFile); err != nil || o.Settings.PriorityClass != "" {
		t.Errorf("priority class %q, %v", o.Settings.PriorityClass, err)
	}
	if err := o.ReadEnvironment(environment(images()), noFile); err != nil || o.Settings.PriorityClass != "system-cluster-critical" {
		t.Errorf("default priority class %q, %v", o.Settings.PriorityClass, err)
	}
}

func TestClusterDomain(t *testing.T) {
	for _, test := range []struct{ name, given, resolver, want string }{
		{"given", "a.b", "search x.svc.c svc.c c\n", "a.b"},
		{"from the resolver", "", "nameserver 198.18.0.1\nsearch x.svc.c.d svc.c.d c.d\n", "c.d"},
		{"default", "", "search example.com\n", "cluster.local"},
	} {
		read := func(string) ([]byte, error) { return []byte(test.resolver), nil }
		if got := clusterDomain(test.given, read); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	if got := clusterDomain("", noFile); got != "cluster.local" {
		t.Errorf("without a resolver file: %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, exitOK},
		{[]string{"--no-such-flag"}, exitUsage},
		{[]string{"extra"}, exitUsage},
		{[]string{"--metrics-bind-address=nonsense"}, exitUsage},
	} {
		var out, errOut bytes.Buffer
		if got := Run(t.Context(), test.args, &out, &errOut); got != test.want {
			t.Errorf("%v: exit %d, want %d (%s)", test.args, got, test.want, errOut.String())
		}
	}
}
