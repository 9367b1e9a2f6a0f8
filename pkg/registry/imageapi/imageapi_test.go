package imageapi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"image.alauda.io/registry/pkg/registry/apierror"
	"image.alauda.io/registry/pkg/registry/route"
)

func TestAnUnregisteredAPIIsNotAMissingStream(t *testing.T) {
	name := route.Name{Namespace: "team-a", Stream: "app"}
	for _, tc := range []struct {
		behaviour, contentType, body string
		missing                      bool
	}{
		{"the stream is missing", "application/json",
			`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"app","kind":"imagestreams"}}`, true},
		{"the API is not registered", "text/plain; charset=utf-8", "404 page not found\n", false},
	} {
		t.Run(tc.behaviour, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				w.WriteHeader(http.StatusNotFound)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer server.Close()
			client, err := NewKubeClient(&rest.Config{Host: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Stream(t.Context(), name)
			if got := apierrors.IsNotFound(err); got != tc.missing {
				t.Fatalf("IsNotFound is %v for %v, want %v", got, err, tc.missing)
			}
			if got := apierror.From(Refusal(err, name)).Status; !tc.missing && got != http.StatusServiceUnavailable {
				t.Errorf("clients see %d, want 503", got)
			}
		})
	}
}
