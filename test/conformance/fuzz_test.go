package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzRequests sends whatever is at hand to all routes. Whatever comes in, the registry does not fail, writes at most
// one JSON document for an error, and takes no file out of its tree.
func FuzzRequests(f *testing.F) {
	e := start(f)
	raw := e.pushImage(repo, "v1", "x")
	blob, uploads := digestOf([]byte("layer of x")), "/v2/team/app/blobs/uploads/"
	location := e.startUpload()
	for _, seed := range []struct{ method, target, name, value, body string }{
		{"GET", "/v2/team/app/manifests/v1", "Accept", ociManifest + ";q=0, */*", ""},
		{"GET", "/v2/team/app/manifests/" + digestOf(raw), "If-None-Match", `W/"` + digestOf(raw) + `"`, ""},
		{"HEAD", "/v2/team/app/manifests/v1", "Accept", "text/html", ""},
		{"PUT", "/v2/team/app/manifests/v2", "Content-Type", ociManifest, string(raw)},
		{"PUT", "/v2/team/app/manifests/" + digestOf(raw) + "?tag=a&tag=b", "Content-Type", ociManifest, string(raw)},
		{"PUT", "/v2/team/app/manifests/x", "Content-Type", ociIndex, string(indexOf(raw))},
		{"GET", "/v2/team/app/blobs/" + blob, "Range", "bytes=0-1,3-,-2", ""},
		{"GET", "/v2/team/app/blobs/" + blob, "Range", "bytes=99-1", ""},
		{"GET", "/v2/team/app/blobs/" + blob, "If-Range", `"` + blob + `"`, ""},
		{"POST", uploads, "", "", ""},
		{"POST", uploads + "?digest=" + digestOf([]byte("y")), "", "", "y"},
		{"POST", uploads + "?mount=" + blob + "&from=team/app", "", "", ""},
		{"POST", uploads + "?mount=" + blob + "&from=..%2f..", "", "", ""},
		{"PATCH", location, "Content-Range", "0-0", "y"},
		{"PATCH", location, "Content-Range", "0-9223372036854775807", "y"},
		{"PUT", location + "&digest=" + digestOf([]byte("y")), "Content-Range", "bytes 0-0/*", "y"},
		{"GET", strings.Split(location, "?")[0], "", "", ""},
		{"GET", "/v2/team/app/referrers/" + digestOf(raw) + "?artifactType=a%00b&last=sha256:x&n=-1", "", "", ""},
		{"GET", "/v2/team/app/tags/list?n=99999999999999999999&last=%ff", "", "", ""},
		{"GET", "/v2/_catalog?n=1&last=%2e%2e/x", "", "", ""},
		{"GET", "/alauda/token?scope=repository:a/b:pull&service=x", "Authorization", "Basic eDp5", ""},
		{"POST", "/alauda/token", "Content-Type", "application/x-www-form-urlencoded", "grant_type=password&password=x"},
		{"PUT", "/extensions/v2/team/app/signatures/" + digestOf(raw), "Content-Type", "application/json", `{"schemaVersion":2,"name":"x","type":"atomic","content":"eA=="}`},
		{"DELETE", "/admin/blobs/" + blob + "?force=true", "", "", ""},
		{"DELETE", "/v2/team/app/manifests/none", "", "", ""},
		{"GET", "/v2/", "X-Forwarded-Host", "a\"b", ""},
		{"GET", "/v2/", "Authorization", "Bearer a.b.c", ""},
	} {
		f.Add(seed.method, seed.target, seed.name, seed.value, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, method, target, name, value string, body []byte) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" || !strings.HasPrefix(target, "/") || len(name)+len(value) > 8<<10 {
			return
		}
		r := &http.Request{Method: method, URL: u, RequestURI: target, Host: "registry.test", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			RemoteAddr: "127.0.0.1:1", Header: http.Header{"Authorization": {"Bearer " + devToken}}, ContentLength: int64(len(body)), Body: http.NoBody}
		if len(body) > 0 {
			r.Body = readBody{bytes.NewReader(body)}
		}
		if name != "" {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		defer func() { // the server ends requests so whose client is gone; this one only gave up
			if reason := recover(); reason != nil {
				t.Fatalf("%s %q with %q: %q and %q: no answer: %v", method, target, name, value, body, reason)
			}
		}()
		e.registry.Server.ServeHTTP(w, r.WithContext(ctx))
		if w.Code >= 500 {
			t.Fatalf("%s %q with %q: %q: status %d, %s", method, target, name, value, w.Code, w.Body)
		}
		for header, values := range w.Header() {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Fatalf("%s %q: header %s is %q", method, target, header, values)
			}
		}
		if w.Code < 400 || method == http.MethodHead {
			return
		}
		decoder, document := json.NewDecoder(w.Body), map[string]any{}
		if w.Header().Get("Content-Type") == "application/json" && (decoder.Decode(&document) != nil || decoder.More()) {
			t.Fatalf("%s %q: status %d with %s", method, target, w.Code, w.Body)
		}
	})
}

type readBody struct{ *bytes.Reader }

func (readBody) Close() error { return nil }
