package server

import (
	"net/http"

	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/tracing"
)

// auditRequest hands a finished request to the audit log.
func (s *Server) auditRequest(r *http.Request, record *handlers.Record, status int, out *response) {
	if s.options.Audit == nil {
		return
	}
	query := r.URL.Query()
	exchange := audit.Exchange{
		ID: record.ID, Route: record.Route, Method: record.Method,
		Caller:      audit.Caller{User: record.Identity.Username, UID: record.Identity.UID, Groups: record.Identity.Groups, Remote: remote(r)},
		Credentials: r.Header.Get("Authorization") != "" || record.Route.Kind == route.Token && r.Method == http.MethodPost,
		Upload:      audit.Upload{Digest: short(query.Get("digest")), Mount: short(query.Get("mount")), From: short(query.Get("from"))},
		Outcome:     audit.Outcome{Status: status, Digest: out.Header().Get("Docker-Content-Digest"), CreatedStream: record.CreatedStream},
	}
	if record.Refusal != nil {
		exchange.Outcome.Code, exchange.Outcome.Message = string(record.Refusal.Entries[0].Code), record.Refusal.Entries[0].Message
	}
	s.options.Audit.Log(exchange)
}

func traced(record *handlers.Record, status int, in *body, out *response) tracing.Result {
	return tracing.Result{
		ID: record.ID, Route: string(record.Route.Kind), Repository: record.Route.Name.String(), Reference: record.Route.Reference(),
		Upstream: record.Upstream, Status: status, Received: in.bytes, Written: out.bytes,
	}
}
