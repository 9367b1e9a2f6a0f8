package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = Run(t.Context(), args, &out, &problems)
	return code, out.String(), problems.String()
}

func TestCommandLine(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(bad, []byte("version: 0.1\nstorage: {inmemory: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"version", []string{"version"}, exitOK, "v0.0.0-dev", ""},
		{"help", []string{"--help"}, exitOK, "REGISTRY_CONFIGURATION_PATH", ""},
		{"unknown flag", []string{"--wrong"}, exitUsage, "", "unknown flag"},
		{"two files", []string{"a", "b"}, exitUsage, "", "one configuration file at most"},
		{"missing file", []string{"/does/not/exist.yml"}, exitError, "", "/does/not/exist.yml"},
		{"bad configuration", []string{bad}, exitError, "", "alauda.server.addr"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := run(t, test.args...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
				t.Errorf("code %d\nstdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}
