package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/pruner/options"
)

// asProgram makes the test binary behave like the pruner: what libraries log goes to the stderr of a
// process, and each process has one logger.
const asProgram = "PRUNER_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// secrets are given in different ways, and none may come out.
const (
	tokenInConfig  = "kubeconfig-token-3f9a1c"
	tokenInFile    = "file-token-77be20"
	tokenOnLine    = "line-token-c0ffee"
	tokenRequested = "requested-token-51d3e8"
	passwordInURL  = "password-9d2b44"
)

// anyServer is API server and registry at once: it answers like servers that have nothing, or refuses,
// with words that repeat what it was told.
func anyServer(t *testing.T, refuse bool) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","status":{"token":%q,"expirationTimestamp":"2099-01-01T00:00:00Z"}}`, tokenRequested)
		case refuse:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"no"}`)
		case r.URL.Path == "/api" || r.URL.Path == "/apis":
			fmt.Fprint(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[],"versions":[]}`)
		case strings.HasSuffix(r.URL.Path, "accessreviews"):
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{},"status":{"allowed":true}}`)
		case strings.Contains(r.URL.Path, "/configmaps/") || strings.Contains(r.URL.Path, "/images/") || strings.Contains(r.URL.Path, "/configs/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","code":404,"reason":"NotFound","message":"none"}`)
		default:
			fmt.Fprint(w, `{"metadata":{},"items":[]}`)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// Behaviour 68.
func TestSecretsComeOutNowhere(t *testing.T) {
	directory := t.TempDir()
	kubeconfig := filepath.Join(directory, "a-directory-of-mine", "config")
	tokenFile := filepath.Join(directory, "token")
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokenFile, []byte(tokenInFile), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := newSigned(t).PublicKey
	for _, refuse := range []bool{false, true} {
		server := anyServer(t, refuse)
		config, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "Config", "current-context": "c",
			"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": server.URL}}},
			"contexts": []any{map[string]any{"name": "c", "context": map[string]any{"cluster": "c", "user": "u"}}},
			"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": tokenInConfig}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kubeconfig, config, 0o600); err != nil {
			t.Fatal(err)
		}
		for verbosity := range 11 {
			for _, line := range []string{
				"images --confirm --prune-registry --registry-token-file=" + tokenFile + " --registry-url=" + server.URL,
				"images -o json",
				"gc --confirm --allow-empty-metadata --as-service-account=a/b --registry-url=" + server.URL,
				"gc --registry-token-file=" + tokenFile + " --registry-url=http://user:" + passwordInURL + "@h",
				"top images",
				"top imagestreams -o wide --token=" + tokenOnLine,
				"explain ns/app:v1 --image-pruner",
				"roots",
				"verify-image-signature " + id("a") + " --expected-identity=a/b:c --public-key=" + keys + " --registry-token-file=" + tokenFile,
				"version",
				"images --kubeconfig=" + kubeconfig + "-that-is-missing",
			} {
				if verbosity%5 != 0 && verbosity != 6 && strings.HasPrefix(line, "top") {
					continue // the levels at which libraries begin to talk are enough for reports
				}
				saysNothing(t, kubeconfig, fmt.Sprintf("%s -v=%d", line, verbosity))
			}
		}
	}
}

// saysNothing runs a program that finds its kubeconfig by the environment.
func saysNothing(t *testing.T, kubeconfig, line string) {
	t.Helper()
	if strings.HasPrefix(line, "version") {
		line = "version"
	}
	command := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)...)
	command.Env = []string{asProgram + "=yes", "KUBECONFIG=" + kubeconfig, "HOME=" + filepath.Dir(kubeconfig)}
	out, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !asExit(err, &exit) {
		t.Fatal(err)
	}
	for _, secret := range []string{tokenInConfig, tokenInFile, tokenOnLine, tokenRequested, passwordInURL} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(string(out), form) {
				t.Errorf("pruner %s: %q comes out:\n%s", line, secret, out)
			}
		}
	}
	if strings.Contains(string(out), filepath.Dir(kubeconfig)) {
		t.Errorf("pruner %s: the path of the kubeconfig comes out:\n%s", line, out)
	}
}

func asExit(err error, exit **exec.ExitError) bool {
	found, ok := err.(*exec.ExitError)
	*exit = found
	return ok
}

// Behaviour 68.
func TestTerminationMessagesHoldNoSecret(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		server := anyServer(t, refuse)
		kubeconfig := filepath.Join(t.TempDir(), "config")
		config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],
			"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"users":[{"name":"u","user":{"token":%q}}]}`, server.URL, tokenInConfig)
		if err := os.WriteFile(kubeconfig, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		tokenFile := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(tokenFile, []byte(tokenInFile), 0o600); err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, func(o *options.Options) {
			o.Confirm, o.PruneRegistry, o.RegistryURL, o.Registry.TokenFile = true, true, server.URL, tokenFile
		})
		conn := connection{kubeconfig: kubeconfig, timeout: time.Minute}
		var err error
		if f.clients, err = conn.clients(100, 200); err != nil {
			t.Fatal(err)
		}
		_ = f.attempts(t.Context()) // it fails in one way or another
		if len(f.last) == 0 || strings.Contains(string(f.last), tokenInConfig) || strings.Contains(string(f.last), tokenInFile) || strings.Contains(string(f.last), filepath.Dir(kubeconfig)) {
			t.Errorf("refused %t: termination message %q", refuse, f.last)
		}
	}
}
