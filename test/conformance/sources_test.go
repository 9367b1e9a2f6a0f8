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
	r, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.URL+path, nil)
	if err != nil {
		e.t.Error(err)
		return nil
	}
	r.Header.Set("Authorization", "Bearer "+devToken)
	for key, value := range pairs(header) {
		r.Header.Set(key, value)
	}
	answer, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		e.t.Error(err)
		return &http.Response{Body: http.NoBody}
	}
	return answer
}

func copyAll(to io.Writer, from io.Reader) (int64, error) { return io.Copy(to, from) }
