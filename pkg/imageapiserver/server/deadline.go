package server

import (
	"context"
	"net/http"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
)

// mostMargin is the longest time by which a request's work ends before the request.
const mostMargin = 500 * time.Millisecond

// answerInTime lets the work of a request end a moment before its deadline. The library ends both at the same
// moment: the handler begins to write its answer while the request is cut off, and the client, which waited
// for a store that does not answer, gets a broken stream in place of a status.
func answerInTime(config *genericapiserver.Config) {
	build := config.BuildHandlerChainFunc
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return build(withMargin(handler), config)
	}
}

// withMargin leaves a tenth of the time, at most mostMargin, for the answer. Watches have no deadline.
func withMargin(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if deadline, limited := request.Context().Deadline(); limited {
			margin := min(time.Until(deadline)/10, mostMargin)
			ctx, cancel := context.WithDeadline(request.Context(), deadline.Add(-margin))
			defer cancel()
			request = request.WithContext(ctx)
		}
		handler.ServeHTTP(w, request)
	})
}
