package app

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	imagev1 "image.alauda.io/api/image/v1"
)

// A list that lacks streams makes their images look unused.
func TestIncompleteListsAreExit3(t *testing.T) {
	var changes []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			fmt.Fprint(w, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","status":{"allowed":true}}`)
		case r.Method != http.MethodGet:
			changes = append(changes, r.Method+" "+r.URL.Path)
		case strings.HasSuffix(r.URL.Path, "/imagestreams"):
			w.Header().Set("Warning", fmt.Sprintf("299 - %q", imagev1.WarningIncompleteList))
			fmt.Fprint(w, `{"apiVersion":"image.alauda.io/v1","kind":"ImageStreamList","metadata":{"resourceVersion":"1"},"items":[]}`)
		case strings.HasSuffix(r.URL.Path, "/images"):
			fmt.Fprint(w, `{"apiVersion":"image.alauda.io/v1","kind":"ImageList","metadata":{"resourceVersion":"1"},"items":[]}`)
		case strings.Contains(r.URL.Path, "/configmaps/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`)
		default: // workloads: there are none
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"1"},"items":[]}`)
		}
	}))
	defer server.Close()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte("apiVersion: v1\nkind: Config\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := Run(t.Context(), []string{"images", "--confirm", "--kubeconfig=" + kubeconfig, "--server=" + server.URL}, &out, &errs)
	if code != 3 || len(changes) > 0 || !strings.Contains(errs.String(), "left damaged objects out") {
		t.Errorf("exit %d, changes %v, want 3 and none: %s", code, changes, errs.String())
	}
}
