package server

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"image.alauda.io/registry/pkg/registry/handlers"
	"image.alauda.io/registry/pkg/registry/route"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// debugLevel is where the process-wide logger puts debug output.
const debugLevel = zapcore.Level(-4)

// logRequest writes the line of a finished request. Authorization, upload states and
// bodies never appear.
func (s *Server) logRequest(r *http.Request, record *handlers.Record, status int, start time.Time, in *body, out *response) {
	if !s.options.AccessLog {
		return
	}
	level := zapcore.InfoLevel
	switch kind := record.Route.Kind; {
	case status >= http.StatusInternalServerError && kind != route.Ready:
		level = zapcore.ErrorLevel
	case kind == route.Live || kind == route.Ready || kind == route.Root || kind == route.Metrics:
		level = debugLevel
	}
	entry := s.log.Check(level, "request")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("request_id", record.ID), zap.String("remote", remote(r)),
		zap.String("method", short(r.Method)), zap.String("path", shortPath(r.URL.Path)), zap.String("query", maskedQuery(r.URL)),
		zap.String("proto", r.Proto), zap.Int("status", status),
		zap.Int64("bytes_in", in.bytes), zap.Int64("bytes_out", out.bytes),
		zap.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000),
		zap.String("user", short(record.Identity.Username)), zap.String("user_agent", short(r.UserAgent())), zap.String("host", short(r.Host)),
	}
	if name := record.Route.Name.String(); name != "" {
		fields = append(fields, zap.String("repo", name))
	}
	if tag := record.Route.Tag; tag != "" {
		fields = append(fields, zap.String("reference", tag))
	}
	if d := record.Route.Digest; d != "" {
		fields = append(fields, zap.Stringer("digest", d))
	}
	if record.Upstream != "" {
		fields = append(fields, zap.String("upstream", record.Upstream))
	}
	entry.Write(fields...)
}

// remote names the first hop that proxies report, and the peer.
func remote(r *http.Request) string {
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
	if first = short(strings.TrimSpace(first)); first != "" {
		return first + ", " + peer
	}
	return peer
}

// plainParameters may stand in a log; the values of all others are masked.
var plainParameters = map[string]bool{
	"n": true, "last": true, "digest": true, "mount": true, "from": true, "tag": true, "artifactType": true,
	"scope": true, "service": true, "onlyunreferenced": true, "digest-algorithm": true, "ns": true,
}

// knownSecrets are parameters whose names may stand in a log, but not their values.
var knownSecrets = map[string]bool{"_state": true, "account": true, "client_id": true, "offline_token": true, "token": true, "password": true}

// maskedQuery is the query with everything masked that is not known to be harmless: also the
// names of parameters that nobody knows, because a token may stand in their place.
func maskedQuery(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	shown := url.Values{}
	for key, values := range u.Query() {
		switch {
		case plainParameters[key]:
			for _, value := range values {
				shown.Add(key, short(value))
			}
		case knownSecrets[key]:
			shown.Set(key, mask)
		default:
			shown.Set(mask, mask)
		}
	}
	return strings.ReplaceAll(shown.Encode(), url.QueryEscape(mask), mask)
}

const (
	mask      = "***"
	shortText = 256
	// longestPath is longer than any path that means something.
	longestPath = 1024
)

// short bounds what a client may write into a log line.
func short(text string) string { return cut(text, shortText) }

func shortPath(path string) string { return cut(path, longestPath) }

func cut(text string, most int) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
