package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/audit"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/tracing"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var imageKind = schema.GroupKind{Group: "image.alauda.io", Kind: "ImageSignature"}

// recorder keeps what is written by several goroutines.
type recorder struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.String()
}

// lines are the JSON lines so far.
func (r *recorder) lines(t *testing.T) (list []map[string]any) {
	t.Helper()
	for text := range strings.Lines(r.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		list = append(list, line)
	}
	return list
}

// signedDriver redirects to addresses with a signature.
type signedDriver struct{ driver.StorageDriver }

func (signedDriver) RedirectURL(r *http.Request, path string) (string, error) {
	if r.Method != http.MethodGet || !strings.HasSuffix(path, "/data") {
		return "", nil
	}
	return "https://bucket.test" + path + "?X-Amz-Signature=presigned-signature", nil
}

// overheard is a registry whose every output is kept.
type overheard struct {
	*env
	log, audit *recorder
	spans      *tracetest.SpanRecorder
}

func startOverheard(t *testing.T, storage driver.StorageDriver, settings ...string) *overheard {
	t.Helper()
	w := &overheard{log: &recorder{}, audit: &recorder{}, spans: tracetest.NewSpanRecorder()}
	w.env = startWith(t, storage, func(d *app.Dependencies) {
		encoder := zap.NewProductionEncoderConfig()
		d.Log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoder), zapcore.AddSync(w.log), zapcore.Level(-10)))
		var err error
		d.Audit, err = audit.Open(audit.Options{Out: w.audit, Now: d.Now, Failed: func(err error) { t.Error(err) }})
		if err != nil {
			t.Fatal(err)
		}
		d.Tracing = tracing.New(sdktrace.WithSpanProcessor(w.spans))
		d.Signatures = d.API.(*imageapitest.API)
	}, append([]string{"ALAUDA=, metrics: {secret: metrics-secret}"}, settings...)...)
	return w
}

// everything is all that left the process by another way than an answer.
func (w *overheard) everything() string {
	text := w.log.String() + w.audit.String()
	for _, span := range w.spans.Ended() {
		text += span.Name() + span.Status().Description
		for _, attribute := range span.Attributes() {
			text += string(attribute.Key) + "=" + attribute.Value.String() + "\n"
		}
		for _, event := range span.Events() {
			text += fmt.Sprint(event)
		}
	}
	return text
}

// Behaviour 95.
func TestSecretsAreInNoOutput(t *testing.T) {
	storage := signedDriver{inmemory.New()}
	w := startOverheard(t, storage)
	jwt := authtest.JWT(map[string]any{"sub": "jwt-secret", "exp": time.Now().Add(time.Hour).Unix()})
	w.reviewer.AddToken(jwt, auth.Identity{Username: "dev"})
	secrets := []string{devToken, otherToken, prunerToken, "typed-password", "metrics-secret", "presigned-signature", "cookie-value", jwt, strings.Split(jwt, ".")[1]}

	raw := w.pushImage("team/app", "v1", "secret")
	digest := digestOf(raw)
	layer := digestOf([]byte("layer of secret"))
	basic := func(password string) map[string]string {
		encoded := base64.StdEncoding.EncodeToString([]byte("user:" + password))
		secrets = append(secrets, encoded)
		return map[string]string{"Authorization": "Basic " + encoded, "Cookie": "session=cookie-value"}
	}
	redirect := w.get("/v2/team/app/blobs/" + layer).want(http.StatusTemporaryRedirect)
	if !strings.Contains(redirect.Header.Get("Location"), "presigned-signature") {
		t.Errorf("redirected to %s", redirect.Header.Get("Location"))
	}
	begin := w.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202)
	location := begin.Header.Get("Location")
	_, state, found := strings.Cut(location, "_state=")
	if !found {
		t.Fatalf("no state in %q", location)
	}
	secrets = append(secrets, state)
	location = w.do(call{method: "PATCH", path: location, body: []byte("abc")}).want(202).Header.Get("Location")
	_, state, _ = strings.Cut(location, "_state=")
	secrets = append(secrets, state)
	w.do(call{method: "PUT", path: location + "&digest=" + digestOf([]byte("wrong"))}).want(400)
	w.do(call{method: "PUT", path: location + "&digest=" + digestOf([]byte("abc"))})
	for _, c := range []call{
		{method: "GET", path: "/alauda/token?account=jane&scope=repository:team/app:pull&password=typed-password", header: basic(devToken), token: "none"},
		{method: "GET", path: "/alauda/token", header: basic("typed-password"), token: "none"},
		{method: "POST", path: "/alauda/token", body: []byte("grant_type=password&username=x&password=" + devToken), token: "none"},
		{method: "POST", path: "/alauda/token", body: []byte("grant_type=password&username=x&password=typed-password"), token: "none"},
		{method: "GET", path: "/v2/?" + devToken, token: "typed-password"},
		{method: "GET", path: "/v2/?" + devToken + "=1&token=" + devToken, token: jwt},
		{method: "GET", path: "/v2/_catalog", token: otherToken},
		{method: "GET", path: "/v2/team/app/tags/list", token: otherToken},
		{method: "GET", path: "/metrics", token: "metrics-secret"},
		{method: "GET", path: "/metrics", token: "typed-password"},
		{method: "PUT", path: "/v2/team/app/manifests/v2", body: []byte("no manifest"), header: map[string]string{"Content-Type": ociManifest}},
		{method: "PUT", path: "/v2/team/app/manifests/v2", body: raw, header: map[string]string{"Content-Type": ociManifest}, token: otherToken},
		{method: "PUT", path: "/extensions/v2/team/app/signatures/" + digest, body: signature(digest+"@x", "t", []byte("x"))},
		{method: "POST", path: "/v2/elsewhere/app/blobs/uploads/?mount=" + layer + "&from=team/app", token: otherToken},
		{method: "DELETE", path: "/v2/team/app/manifests/" + digest, token: prunerToken},
		{method: "DELETE", path: "/v2/team/app/manifests/v1"},
		{method: "GET", path: "/v2/team/app/nothing/here", token: jwt},
	} {
		w.do(c)
	}
	w.reviewer.Fail(fmt.Errorf("the API is away"))
	w.do(call{method: "GET", path: "/v2/", token: jwt + "x"}).want(503)
	w.reviewer.Fail(nil)

	w.Close() // after that nothing is written any more
	everything := w.everything()
	if len(w.spans.Ended()) < 20 || strings.Count(w.log.String(), `"request"`) < 20 {
		t.Fatalf("%d spans and the log %s", len(w.spans.Ended()), w.log.String())
	}
	for _, secret := range secrets {
		if i := strings.Index(everything, secret); i >= 0 {
			t.Errorf("%q is in …%s", secret, everything[max(0, i-300):i+len(secret)])
		}
	}
}

// Behaviour 95.
func TestLoginsForOtherRegistriesAreInNoOutput(t *testing.T) {
	source := secondregistry.Start(t, secondregistry.Options{TLS: true, Tokens: true, Users: map[string]string{"robot": "source-password", "wrong": "x"}})
	w := startOverheard(t, inmemory.New(), through("cadirs: ['"+trustOf(t, source)+"']"))
	w.api.AddSecret("team", login("old", source.Host, "robot", "expired-password"))
	w.api.AddSecret("team", login("pull", source.Host, "robot", "source-password"))
	layer := []byte("the layer of the source")
	image := source.PushImage(t, "library/app", "v1", secondregistry.Image{Layers: [][]byte{layer}})
	w.add(imported{repository: "team/app", tag: "v1", source: source, path: "library/app", image: image})
	// The storage of downloads is elsewhere, and its addresses are signed.
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) { answer.WriteHeader(http.StatusForbidden) }))
	defer elsewhere.Close()
	source.Forget()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	w.get("/v2/team/app/manifests/v1", "traceparent", parent).want(200)
	w.get("/v2/team/app/blobs/"+digestOf(layer), "traceparent", parent).want(200)
	for _, request := range source.Requests() {
		if got := request.Header.Get("traceparent"); strings.Contains(request.Path, "/v2/library") && got == "" {
			t.Errorf("%s %s carries no trace", request.Method, request.Path)
		}
	}
	source.Answer("GET", "/v2/library/app/blobs/*", func(answer http.ResponseWriter, r *http.Request) {
		http.Redirect(answer, r, elsewhere.URL+"/hidden-path?X-Amz-Signature=presigned-signature", http.StatusTemporaryRedirect)
	})
	w.get("/v2/team/app/blobs/" + image.Digest.String())
	config := digestOf(layer)
	for _, digest := range []string{config, image.Digest.String()} {
		w.get("/v2/team/app/blobs/"+digest, "Range", "bytes=0-1")
	}
	w.Close()
	w.registry.PullThrough.Stop()
	upstream := 0
	for _, line := range w.log.lines(t) {
		if line["upstream"] == source.Host {
			upstream++
		}
	}
	if upstream < 2 {
		t.Errorf("%d lines name the source: %s", upstream, w.log.String())
	}
	below := 0
	for _, span := range w.spans.Ended() {
		if strings.HasPrefix(span.Name(), "registry ") && span.SpanContext().TraceID().String() == parent[3:35] {
			below++
		}
	}
	if below == 0 {
		t.Error("no span of a request to the source is in the client's trace")
	}
	everything := w.everything()
	for _, secret := range []string{"source-password", "expired-password", base64.StdEncoding.EncodeToString([]byte("robot:source-password")), "presigned-signature", "hidden-path"} {
		if i := strings.Index(everything, secret); i >= 0 {
			t.Errorf("%q is in …%s", secret, everything[max(0, i-300):i+len(secret)])
		}
	}
}

// Behaviour 95.
func TestFieldsOfTheAccessLog(t *testing.T) {
	w := startOverheard(t, inmemory.New())
	digest := digestOf(w.pushImage("team/app", "v1", "logged"))
	line := func(c call) map[string]any {
		t.Helper()
		answer := w.do(c)
		id := answer.Header.Get("X-Request-Id")
		deadline := time.Now().Add(30 * time.Second)
		for time.Now().Before(deadline) {
			for _, line := range w.log.lines(t) {
				if line["request_id"] == id && line["msg"] == "request" {
					return line
				}
			}
		}
		t.Fatalf("no line for request %q", id)
		return nil
	}
	got := line(call{method: "GET", path: "/v2/team/app/manifests/v1?ns=x&_state=s", header: map[string]string{
		"User-Agent": "client/1", "X-Forwarded-For": "203.0.113.7, 10.0.0.1", "X-Request-Id": "given-by-the-proxy"}})
	for key, want := range map[string]any{
		"level": "info", "msg": "request", "request_id": "given-by-the-proxy", "remote": "203.0.113.7, 127.0.0.1", "method": "GET",
		"path": "/v2/team/app/manifests/v1", "query": "_state=***&ns=x", "proto": "HTTP/1.1", "status": 200.0, "bytes_in": 0.0,
		"user": "dev", "user_agent": "client/1", "host": strings.TrimPrefix(w.URL, "http://"), "repo": "team/app", "reference": "v1",
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	for _, key := range []string{"ts", "bytes_out", "duration_ms"} {
		if value, ok := got[key].(float64); !ok || value <= 0 {
			t.Errorf("%s is %v", key, got[key])
		}
	}
	if _, has := got["digest"]; has {
		t.Error("a digest is logged for a request by tag")
	}
	for what, test := range map[string]struct {
		call  call
		level string
	}{
		"a digest":    {call{method: "GET", path: "/v2/team/app/manifests/" + digest}, "info"},
		"a challenge": {call{method: "GET", path: "/v2/", token: "none"}, "info"},
		"an error":    {call{method: "GET", path: "/v2/team/app/manifests/none"}, "info"},
		"health":      {call{method: "GET", path: "/livez", token: "none"}, "debug"},
		"flooding":    {call{method: "GET", path: "/v2/?last=" + strings.Repeat("x", 9000), header: map[string]string{"User-Agent": strings.Repeat("y", 9000), "X-Forwarded-For": strings.Repeat("z", 9000)}}, "info"},
	} {
		got := line(test.call)
		if level := fmt.Sprint(got["level"]); level != test.level && !(test.level == "debug" && strings.HasPrefix(level, "Level(")) {
			t.Errorf("%s: level %v, want %s", what, got["level"], test.level)
		}
		if what == "a digest" && (got["digest"] != digest || got["reference"] != nil) {
			t.Errorf("%v", got)
		}
		if raw, _ := json.Marshal(got); len(raw) > 2000 {
			t.Errorf("%s: a line of %d bytes", what, len(raw))
		}
	}
}

// Behaviour 95.
func TestAuditOfRequests(t *testing.T) {
	w := startOverheard(t, inmemory.New())
	raw := w.pushImage("team/app", "v1", "audited")
	digest, layer := digestOf(raw), digestOf([]byte("layer of audited"))
	w.get("/v2/team/app/manifests/v1").want(200)
	w.get("/v2/team/app/blobs/" + layer).want(200)
	w.reviewer.AllowRepository("other", "team", "app", "get")
	w.do(call{method: "POST", path: "/v2/elsewhere/copy/blobs/uploads/?mount=" + layer + "&from=team/app", token: otherToken}).want(201)
	w.do(call{method: "PUT", path: "/v2/team/app/manifests/v2", body: raw, header: map[string]string{"Content-Type": ociManifest}, token: otherToken}).want(403)
	w.do(call{method: "GET", path: "/v2/team/app/manifests/v1", token: "nobody"}).want(401)
	w.do(call{method: "GET", path: "/v2/team/app/manifests/v1", token: "none"}).want(401)
	w.do(call{method: "GET", path: "/v2/team/app/manifests/v1", token: "anonymous"}).want(401)
	w.do(call{method: "GET", path: "/alauda/token", header: map[string]string{"Authorization": "Basic eDpu"}, token: "none"}).want(401)
	w.reviewer.Allow("dev", auth.CreateSignature("team", "app"))
	w.do(call{method: "PUT", path: "/extensions/v2/team/app/signatures/" + digest, body: signature(digest+"@x", "t", []byte("x"))}).want(201)
	w.do(call{method: "POST", path: "/admin/gc", body: []byte("{}")}).want(403)
	w.remove("/v2/team/app/manifests/v1").want(202)
	w.remove("/v2/team/app/manifests/" + digest)
	w.Close()
	var got []string
	for _, line := range w.audit.lines(t) {
		if line["audit"] != true || line["request_id"] == "" || line["remote"] != "127.0.0.1" || line["ts"] == nil {
			t.Errorf("line %v", line)
		}
		text := fmt.Sprint(line["user"], " ", line["operation"], " ", line["repo"], " ", line["tag"], " ", line["result"], " ", line["code"])
		if d := fmt.Sprint(line["digest"]); d == digest || d == layer {
			text += " #"
		}
		got = append(got, strings.ReplaceAll(text, "<nil>", "-"))
	}
	want := []string{
		"dev push-blob team/app - success -",
		"dev push-blob team/app - success - #",
		"dev create-imagestream team/app - success -",
		"dev push-manifest team/app v1 success - #",
		"dev pull-manifest team/app v1 success - #",
		"dev pull-blob team/app - success - #",
		"other mount-blob elsewhere/copy - success - #",
		"other push-manifest team/app v2 error DENIED",
		" pull-manifest team/app v1 error UNAUTHORIZED",
		"system:anonymous pull-manifest team/app v1 error UNAUTHORIZED",
		" login - - error UNAUTHORIZED",
		"dev write-signature team/app - success - #",
		"dev admin-collect - - error DENIED",
		"dev delete-tag team/app v1 success -",
		"dev delete-manifest team/app - success - #",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Behaviour 95.
func TestAnInterruptedUploadIs499InTheLogs(t *testing.T) {
	w := startOverheard(t, inmemory.New())
	location := w.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202).Header.Get("Location")
	connection, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	digest := digestOf([]byte("never"))
	if _, err := fmt.Fprintf(connection, "PUT %s&digest=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\nabc", location, digest, devToken); err != nil {
		t.Fatal(err)
	}
	if err := connection.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(w.log.String(), `"status":499`) || !strings.Contains(w.audit.String(), `"operation":"push-blob"`) {
		if time.Now().After(deadline) {
			t.Fatalf("log %s\naudit %s", w.log.String(), w.audit.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, line := range w.audit.lines(t) {
		if line["result"] != "error" || line["digest"] != digest || line["error"] == "" {
			t.Errorf("audit %v", line)
		}
	}
}

// Behaviour 55: hostile headers end in an answer of the registry.
func TestHostileAuthorizationHeaders(t *testing.T) {
	w := startOverheard(t, inmemory.New())
	huge := strings.Repeat("a", 50<<10)
	for what, value := range map[string]string{
		"a huge token": "Bearer " + huge, "a huge password": "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+huge)),
		"a huge claim":   "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"`+huge[:30<<10]+`"}`)) + ".e30",
		"many audiences": "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"aud":[`+strings.Repeat(`"a",`, 9000)+`"a"]}`)) + ".e30",
		"nesting":        "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 30<<10))) + ".e30",
		"only a scheme":  "Bearer", "two schemes": "Bearer Basic x", "no UTF-8": "Bearer \xff\xfe", "quotes": `Bearer "anonymous"`,
		"spaces": "Bearer     ", "a list": "Bearer a, Bearer " + devToken, "anonymous in capitals": "Bearer ANONYMOUS",
		"an impersonation": "Bearer x",
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", w.URL+"/v2/team/app/tags/list", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", value)
		r.Header.Set("Impersonate-User", "dev")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "UNAUTHORIZED") {
			t.Errorf("%s: %d %s", what, answer.StatusCode, body)
		}
		if challenge := answer.Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) || len(challenge) > 500 {
			t.Errorf("%s: challenge %q", what, challenge)
		}
	}
	if strings.Contains(w.log.String(), "aaaaaaaaaa") {
		t.Error("a token is in the log")
	}
}
