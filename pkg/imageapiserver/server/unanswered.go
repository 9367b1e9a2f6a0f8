package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/klog/v2"
)

// reviewRetrySeconds is when a request makes sense again whose caller's rights could not be found out.
const reviewRetrySeconds = 2

// reviewFailed is the key of a note in a request's context: nobody said what its caller may do.
type reviewFailed struct{}

// answerUnreviewed lets requests whose review got no answer from kube-apiserver end with 503 and Retry-After. The
// library answers 500 with the address of kube-apiserver in it, which clients take for a bug of this server and
// do not try again.
func answerUnreviewed(config *genericapiserver.Config) {
	config.Authorization.Authorizer = noting{config.Authorization.Authorizer}
	build := config.BuildHandlerChainFunc
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return withUnreviewed(build(handler, config))
	}
}

// noting is an authorizer that leaves a note when it cannot decide. Its decisions are those of the other.
type noting struct{ authorizer.Authorizer }

// Authorize implements authorizer.Authorizer.
func (n noting) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	decision, reason, err := n.Authorizer.Authorize(ctx, attributes)
	if err != nil && decision != authorizer.DecisionAllow {
		if note, ok := ctx.Value(reviewFailed{}).(*atomic.Bool); ok {
			note.Store(true)
		}
	}
	return decision, reason, err
}

func withUnreviewed(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		answer := &unreviewed{ResponseWriter: w}
		ctx := context.WithValue(request.Context(), reviewFailed{}, &answer.note)
		handler.ServeHTTP(responsewriter.WrapForHTTP1Or2(answer), request.WithContext(ctx))
	})
}

// unreviewed replaces the answer to a request that could not be reviewed.
type unreviewed struct {
	http.ResponseWriter
	note     atomic.Bool
	replaced bool
}

// Unwrap implements responsewriter.UserProvidedDecorator.
func (u *unreviewed) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (u *unreviewed) WriteHeader(code int) {
	if code != http.StatusInternalServerError || !u.note.Load() {
		u.ResponseWriter.WriteHeader(code)
		return
	}
	u.replaced = true
	refusal := apierrors.NewServiceUnavailable("kube-apiserver does not say whether the request is allowed, try again")
	refusal.ErrStatus.Kind, refusal.ErrStatus.APIVersion = "Status", "v1"
	body, err := json.Marshal(refusal.ErrStatus)
	if err != nil {
		klog.ErrorS(err, "Answer to a request that could not be reviewed")
	}
	u.Header().Set("Content-Type", "application/json")
	u.Header().Set("Retry-After", strconv.Itoa(reviewRetrySeconds))
	u.ResponseWriter.WriteHeader(http.StatusServiceUnavailable)
	_, _ = u.ResponseWriter.Write(body) // who cannot be written to has left
}

// Write implements http.ResponseWriter; what was to follow a replaced header is dropped.
func (u *unreviewed) Write(text []byte) (int, error) {
	if u.replaced {
		return len(text), nil
	}
	return u.ResponseWriter.Write(text)
}
