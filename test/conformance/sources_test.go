package conformance

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"image.alauda.io/registry/test/secondregistry"
)

// trustOf writes the certificate of a registry as the operator does and returns the directory.
func trustOf(t testing.TB, registries ...*secondregistry.Registry) string {
	t.Helper()
	directory := t.TempDir()
	for _, registry := range registries {
		name := strings.ReplaceAll(registry.Host, ":", "..")
		if err := os.WriteFile(filepath.Join(directory, name), registry.CA, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// open starts a request of the user dev and leaves the body to the caller.
func (e *env) open(path string, header ...string) *http.Response {
	e.t.Helper()
	answer, err := e.tryOpen(path, header...)
	if err != nil {
		e.t.Error(err)
		return &http.Response{Body: http.NoBody}
	}
	return answer
}

func (e *env) tryOpen(path string, header ...string) (*http.Response, error) {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.URL+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	for key, value := range pairs(header) {
		r.Header.Set(key, value)
	}
	return (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
}

// readBlob reads a blob of dev; complete says that it came as if it were everything.
func (e *env) readBlob(path string) (content []byte, complete bool) {
	e.t.Helper()
	answer, err := e.tryOpen(path)
	if err != nil {
		return nil, false
	}
	defer answer.Body.Close()
	content, err = io.ReadAll(answer.Body)
	return content, err == nil && answer.StatusCode == http.StatusOK
}

func copyAll(to io.Writer, from io.Reader) (int64, error) { return io.Copy(to, from) }
