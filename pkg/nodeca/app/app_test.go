package app

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/nodeca/agent"
)

func environment(values map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

func execute(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = run(context.Background(), args, environment(env), &out, &problems)
	return code, out.String(), problems.String()
}

func TestWrongUsageIsExitCode2(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		says string
	}{
		"unknown command": {nil, []string{"jump"}, "jump"},
		"unknown flag":    {nil, []string{"once", "--fast"}, "--fast"},
		"argument":        {nil, []string{"run", "now"}, "now"},
		"unknown probe":   {nil, []string{"check", "startup"}, "startup"},
		"no probe":        {nil, []string{"check"}, "arg"},
		"output":          {nil, []string{"status", "-o", "yaml"}, "yaml"},
		"mode":            {map[string]string{"NODE_CA_MODE": "both"}, []string{"run"}, `"both"`},
		"duration":        {map[string]string{"NODE_CA_RESYNC": "soon"}, []string{"once"}, "NODE_CA_RESYNC"},
		"too often":       {map[string]string{"NODE_CA_RESYNC": "1s"}, []string{"once"}, "10s"},
		"flag":            {map[string]string{"NODE_CA_HOSTS": "maybe"}, []string{"once"}, "NODE_CA_HOSTS"},
		"root":            {map[string]string{"NODE_CA_ROOTS": "/var/x"}, []string{"once"}, "/var/x"},
	} {
		code, _, stderr := execute(t, test.env, test.args...)
		if code != exitUsage || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit code %d, says %q", name, code, stderr)
		}
	}
}

func TestEnvironmentSetsEveryOption(t *testing.T) {
	options, err := fromEnvironment(environment(map[string]string{
		"NODE_CA_MODE": "cleanup", "NODE_NAME": "n1", "NODE_IPS": "192.0.2.1", "NODE_CA_HOST_ETC": "/e", "NODE_CA_ROOTS": "/etc/a, /etc/b",
		"NODE_CA_HOSTS": "false", "NODE_CA_RESYNC": "30s", "NODE_CA_STRICT": "true", "NODE_CA_METRICS_ADDR": "", "NODE_CA_LOG_LEVEL": "debug",
		"NODE_CA_CERTIFICATES_DIR": "/c", "NODE_CA_CONFIG_DIR": "/f", "NODE_CA_STATE_DIR": "/s",
	}))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(options)
	want, _ := json.Marshal(agent.Options{Mode: agent.ModeCleanup, NodeName: "n1", NodeIPs: "192.0.2.1", HostEtc: "/e", Roots: []string{"/etc/a", "/etc/b"},
		Resync: 30 * time.Second, Strict: true, LogLevel: "debug", CertificatesDir: "/c", ConfigDir: "/f", StateDir: "/s"})
	if !bytes.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	defaults, err := fromEnvironment(environment(map[string]string{"NODE_CA_ROOTS": "auto"}))
	if err != nil || defaults.Validate() != nil || len(defaults.Roots) != 0 || !defaults.ManageHosts {
		t.Errorf("defaults %+v, %v", defaults, err)
	}
}

func TestStatusAndProbesReadWhatTheAgentWrote(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"NODE_CA_STATE_DIR": dir}
	if code, _, stderr := execute(t, env, "check", "readiness"); code != exitError || !strings.Contains(stderr, "first pass") {
		t.Errorf("before the first pass: %d, %s", code, stderr)
	}
	status := agent.Status{Time: time.Now(), Mode: agent.ModeSync, Ready: true, Roots: []agent.RootStatus{{Path: "/etc/containerd/certs.d", Kind: "containerd", Effective: "true"}}}
	if err := agent.WriteStatus(dir, status); err != nil {
		t.Fatal(err)
	}
	for _, probe := range []string{"liveness", "readiness"} {
		if code, _, stderr := execute(t, env, "check", probe); code != exitOK {
			t.Errorf("%s: %d, %s", probe, code, stderr)
		}
	}
	if code, stdout, _ := execute(t, env, "status"); code != exitOK || !strings.Contains(stdout, "/etc/containerd/certs.d") {
		t.Errorf("status: %d, %s", code, stdout)
	}
	code, stdout, _ := execute(t, env, "status", "-o", "json")
	var back agent.Status
	if err := json.Unmarshal([]byte(stdout), &back); code != exitOK || err != nil || !back.Ready {
		t.Errorf("status -o json: %d, %v, %s", code, err, stdout)
	}
}

func TestASinglePassPrintsItsStatus(t *testing.T) {
	top := t.TempDir()
	env := map[string]string{
		"NODE_CA_HOST_ETC": filepath.Join(top, "etc"), "NODE_CA_CERTIFICATES_DIR": filepath.Join(top, "c"), "NODE_CA_CONFIG_DIR": filepath.Join(top, "f"),
	}
	if err := os.MkdirAll(filepath.Join(top, "etc", "containerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"once"}, exitError, "ConfigurationMissing"},
		{[]string{"once", "--dry-run"}, exitOK, "ConfigurationMissing"},
		{[]string{"cleanup"}, exitOK, `"ready": true`},
		{[]string{"version"}, exitOK, "v"},
		{[]string{"--help"}, exitOK, "NODE_CA_ROOTS"},
	} {
		if code, stdout, stderr := execute(t, env, test.args...); code != test.code || !strings.Contains(stdout, test.says) {
			t.Errorf("%v: exit code %d\n%s%s", test.args, code, stdout, stderr)
		}
	}
}
