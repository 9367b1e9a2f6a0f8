package imageapi

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
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

// An API server that takes a request and never answers ends neither a push nor a pull with
// "unknown", and holds neither for ever.
func TestACallThatNobodyAnswersEnds(t *testing.T) {
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(hung)
	if config := KubeConfig(&rest.Config{Host: server.URL}); config.Timeout != 0 {
		t.Errorf("what is watched ends after %s", config.Timeout)
	}
	client, err := NewKubeClient(&rest.Config{Host: server.URL, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	name := route.Name{Namespace: "team-a", Stream: "app"}
	err = client.CreateMapping(t.Context(), &imagev1.ImageStreamMapping{})
	if err == nil || apierror.From(Refusal(err, name)).Status != http.StatusServiceUnavailable {
		t.Errorf("error %v, want one that is 503", err)
	}
	if limit := CallConfig(&rest.Config{}).Timeout; limit <= 0 || limit > time.Minute {
		t.Errorf("without a configured limit calls end after %s", limit)
	}
}

// A client that finds no transport to cancel its request logs a warning for each call that it gives up.
func TestTheTransportBelowIsFound(t *testing.T) {
	wrapped, ok := KubeConfig(&rest.Config{}).WrapTransport(http.DefaultTransport).(utilnet.RoundTripperWrapper)
	if !ok || wrapped.WrappedRoundTripper() != http.DefaultTransport {
		t.Errorf("%T hides the transport below it", wrapped)
	}
}
