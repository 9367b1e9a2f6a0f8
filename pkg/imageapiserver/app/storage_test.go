package app

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
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
		{"no command", nil, 0, "migrate"},
		{"unknown command", []string{"exprot"}, 2, "exprot"},
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

// oneImage plays a kube-apiserver that stores one image, and returns a kubeconfig for it.
func oneImage(t *testing.T) string {
	t.Helper()
	const image = `{"kind":"Image","apiVersion":"image.alauda.io/v1","metadata":{"name":"app","uid":"u"}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch path.Base(r.URL.Path) {
		case "storedimages":
			fmt.Fprintf(w, `{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"app","resourceVersion":"5",`+
				`"annotations":{"storage.image.alauda.io/name":"app"}},"spec":{"format":"json","size":%d,"data":%q}}]}`,
				len(image), base64.StdEncoding.EncodeToString([]byte(image)))
		case "storedimagestreams":
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"9"},"items":[]}`)
		default: // the readiness of the storage
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"x","kind":"storedimages"}}`)
		}
	}))
	t.Cleanup(server.Close)
	name := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{"kind":"Config","apiVersion":"v1","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}]}`
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Behaviour 61: an export goes to one place.
func TestExportWritesTheFileOrStandardOutput(t *testing.T) {
	kubeconfig := oneImage(t)
	file := filepath.Join(t.TempDir(), "backup.json")
	for name, test := range map[string]struct {
		args           []string
		stdout, inFile int
	}{
		"standard output": {nil, 1, 0},
		"file":            {[]string{"--file=" + file}, 0, 1},
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(t.Context(), append([]string{"storage", "export", "--kubeconfig=" + kubeconfig}, test.args...), &stdout, &stderr); code != 0 {
			t.Fatalf("%s: exit code %d: %s", name, code, &stderr)
		}
		if got := strings.Count(stdout.String(), "\n"); got != test.stdout || !strings.Contains(stderr.String(), "images: 1 exported") {
			t.Errorf("%s: %d lines on standard output, want %d; standard error: %s", name, got, test.stdout, &stderr)
		}
		if test.inFile > 0 {
			data, err := os.ReadFile(file)
			if err != nil || bytes.Count(data, []byte("\n")) != test.inFile {
				t.Errorf("%s: the file holds %q, error %v, want %d lines", name, data, err, test.inFile)
			}
		}
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
