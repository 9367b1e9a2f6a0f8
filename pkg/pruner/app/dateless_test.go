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
)

// A proxy that takes the Date header away leaves the local clock, which may be hours ahead: nothing would be
// young. The plan may still be looked at.
func TestNothingIsPrunedByTheLocalClock(t *testing.T) {
	var changes []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Content-Type", "application/json")
		list := func(kind string) {
			fmt.Fprintf(w, `{"apiVersion":"image.alauda.io/v1","kind":%q,"metadata":{"resourceVersion":"1"},"items":[]}`, kind)
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			fmt.Fprint(w, `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","status":{"allowed":true}}`)
		case r.Method != http.MethodGet:
			changes = append(changes, r.Method+" "+r.URL.Path)
		case strings.HasSuffix(r.URL.Path, "/imagestreams"):
			list("ImageStreamList")
		case strings.HasSuffix(r.URL.Path, "/images"):
			list("ImageList")
		case strings.Contains(r.URL.Path, "/configmaps/"), strings.Contains(r.URL.Path, "/services"):
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
	for confirm, want := range map[string]int{"--confirm=true": 3, "--confirm=false": 0} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), []string{"images", confirm, "--kubeconfig=" + kubeconfig, "--server=" + server.URL}, &out, &errs)
		if code != want || len(changes) > 0 || want != 0 && !strings.Contains(errs.String(), "Date header") {
			t.Errorf("%s: exit %d, changes %v, want %d: %s", confirm, code, changes, want, errs.String())
		}
	}
}
