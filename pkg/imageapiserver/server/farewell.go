package server

import (
	"net/http"
	"sync/atomic"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/utils/clock"
)

// sayFarewell lets every answer ask for a new connection once half of the delay between the termination
// signal and the end of serving is over. By then other replicas get the new connections. All clients arrive
// through a few connections of kube-apiserver that would otherwise stay here until the delay is over, and the
// requests that came then would be refused with 429, which clients would have to try again.
func sayFarewell(config *genericapiserver.Config, clock clock.WithTicker) {
	var leaving atomic.Bool
	go func() {
		<-config.ShutdownInitiatedNotify()
		<-clock.After(config.ShutdownDelayDuration / 2)
		leaving.Store(true)
	}()
	build := config.BuildHandlerChainFunc
	config.BuildHandlerChainFunc = func(handler http.Handler, config *genericapiserver.Config) http.Handler {
		return withFarewell(build(handler, config), leaving.Load)
	}
}

// withFarewell closes connections after the answer: in HTTP/2 the header becomes a GOAWAY, which lets all
// requests in flight finish.
func withFarewell(handler http.Handler, leaving func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if leaving() {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, request)
	})
}
