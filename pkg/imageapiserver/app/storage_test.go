package app

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStorageCommandLine(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	const etcd = "--etcd-servers=http://127.0.0.1:1"
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"help names the commands", []string{"--help"}, 0, "migrate"},
		{"help of migrate says what has to be done first", []string{"migrate", "--help"}, 0, "Removed"},
		{"unknown storage", []string{"export", "--image-storage=files"}, 2, "neither crd nor etcd"},
		{"etcd without servers", []string{"verify", "--image-storage=etcd"}, 2, "--etcd-servers"},
		{"etcd servers without etcd", []string{"verify", etcd}, 2, "without the storage etcd"},
		{"migrate without direction", []string{"migrate"}, 2, "--from and --to"},
		{"migrate in a circle", []string{"migrate", "--from=crd", "--to=crd"}, 2, "--from and --to"},
		{"migrate to nothing", []string{"migrate", "--from=crd", "--to=files"}, 2, "neither crd nor etcd"},
		{"stray argument", []string{"import", "backup.json"}, 2, "backup.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), append([]string{"storage"}, c.args...), &stdout, &stderr)
			if out := stdout.String() + stderr.String(); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want %d; output %s, want %q in it", code, c.code, out, c.want)
			}
		})
	}
}

func TestAFileAppearsOnlyWhenItIsComplete(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "backup.json")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(content string, err error) error {
		return writeFile(name, func(out io.Writer) error {
			_, _ = io.WriteString(out, content)
			return err
		})
	}
	content := func() string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if err := write("half", io.ErrUnexpectedEOF); err == nil || content() != "old" {
		t.Errorf("after a failure: error %v, content %q, want the old one", err, content())
	}
	if err := write("new", nil); err != nil || content() != "new" {
		t.Errorf("error %v, content %q, want the new one", err, content())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files %v, error %v: want no other file", left, err)
	}
}
