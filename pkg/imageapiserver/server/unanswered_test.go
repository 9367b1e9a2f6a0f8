package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericapiserver "k8s.io/apiserver/pkg/server"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
)

func TestRequestsWithoutReviewAreAnsweredWith503(t *testing.T) {
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	silence := errors.New(`Post "https://198.18.0.1/apis/authorization.k8s.io/v1/subjectaccessreviews": context deadline exceeded`)
	for name, tc := range map[string]struct {
		decision authorizer.Decision
		err      error
		serves   int
		want     int
	}{
		"no answer":                   {authorizer.DecisionNoOpinion, silence, http.StatusOK, http.StatusServiceUnavailable},
		"no answer, denied":           {authorizer.DecisionDeny, silence, http.StatusOK, http.StatusServiceUnavailable},
		"allowed":                     {authorizer.DecisionAllow, nil, http.StatusOK, http.StatusOK},
		"allowed, and then a failure": {authorizer.DecisionAllow, nil, http.StatusInternalServerError, http.StatusInternalServerError},
		"allowed with an error":       {authorizer.DecisionAllow, silence, http.StatusInternalServerError, http.StatusInternalServerError},
		"denied":                      {authorizer.DecisionNoOpinion, nil, http.StatusOK, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			config := &genericapiserver.Config{BuildHandlerChainFunc: func(handler http.Handler, config *genericapiserver.Config) http.Handler {
				return filters.WithAuthorization(handler, config.Authorization.Authorizer, codecs.Factory)
			}}
			config.Authorization.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
				return tc.decision, "", tc.err
			})
			answerUnreviewed(config)
			chain := config.BuildHandlerChainFunc(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.serves)
				_, _ = w.Write([]byte("served"))
			}), config)
			asked := httptest.NewRequestWithContext(request.WithRequestInfo(t.Context(), &request.RequestInfo{Path: "/apis"}), http.MethodGet, "/apis", http.NoBody)
			answer := httptest.NewRecorder()
			chain.ServeHTTP(answer, asked)

			if answer.Code != tc.want {
				t.Fatalf("status %d, want %d: %s", answer.Code, tc.want, answer.Body)
			}
			if tc.want != http.StatusServiceUnavailable {
				if (answer.Body.String() == "served") != (tc.decision == authorizer.DecisionAllow) {
					t.Errorf("the answer is %q", answer.Body)
				}
				return
			}
			var status metav1.Status
			if err := json.Unmarshal(answer.Body.Bytes(), &status); err != nil || status.Kind != "Status" || status.Reason != metav1.StatusReasonServiceUnavailable {
				t.Errorf("%s is no Status: %v", answer.Body, err)
			}
			if got := answer.Header().Get("Retry-After"); got != "2" {
				t.Errorf("Retry-After is %q", got)
			}
		})
	}
}
