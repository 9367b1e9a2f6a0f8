// Package secondregistry is another registry for tests: what images are imported from and pulled
// through. It is the stock server of distribution, in the test process, on a loopback address.
//
// In: Options for how it is reached (plain HTTP, or TLS with its own authority) and who may read
// (everybody, users with a password, users of a token service). Out: its host name, its certificate, a
// log of requests, and what was pushed.
//
// In front of the server stands a thin layer for what real registries do on bad days: it can be slow,
// fail with a status, ask for a pause, or answer single paths differently. Push functions bypass it, so
// that a test arranges content first and trouble later, and are never counted as requests.
//
// It is not for production: content is kept in memory and ends with the test.
package secondregistry

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // for Options.Directory
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"   // the storage otherwise
	"github.com/sirupsen/logrus"
)

// Options of a registry. The zero value serves plain HTTP to everybody.
type Options struct {
	// TLS serves HTTPS with a certificate that no system trusts (Registry.CA) and that is valid for
	// 127.0.0.1, ::1 and example.com. All registries of a process have the same one.
	TLS bool
	// Users are names and passwords; empty lets everybody read.
	Users map[string]string
	// Tokens has users log in at a token service instead of by Basic. The service is at the path /token.
	Tokens bool
	// Realm replaces the address of the token service in challenges: what a hostile registry would do.
	Realm string
	// Anonymous lets everybody have a token, too; only with Tokens.
	Anonymous bool
	// Directory keeps the content in files below it instead of in memory.
	Directory string
	// Address is where to listen, 127.0.0.1:0 when empty.
	Address string
}

// Request is a request that came in.
type Request struct {
	Method, Path, Query string
	// Authorization is the scheme of that header, never its content: "", "Basic" or "Bearer".
	Authorization string
	// User is who logged in with Basic.
	User   string
	Header http.Header
	At     time.Time
}

// Registry is a running registry.
type Registry struct {
	// Host is host:port as references spell it.
	Host string
	// URL is scheme://host:port.
	URL string
	// CA is the certificate that clients have to trust, in PEM; empty without TLS.
	CA []byte

	options Options
	stock   http.Handler
	tokens  tokenService

	mu       sync.Mutex
	requests []Request
	trouble  []rule
}

// Start runs a registry until the test ends.
func Start(t testing.TB, options Options) *Registry {
	t.Helper()
	silence()
	config := &configuration.Configuration{Storage: configuration.Storage{
		"inmemory": configuration.Parameters{},
		"maintenance": configuration.Parameters{
			"uploadpurging": map[any]any{"enabled": false},
		},
		"delete": configuration.Parameters{"enabled": true},
	}}
	if options.Directory != "" {
		delete(config.Storage, "inmemory")
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": options.Directory}
	}
	config.Log.Level, config.Log.AccessLog.Disabled = "fatal", true
	// Sparse indexes can be pushed, too.
	config.Validation.Manifests.Indexes.Platforms = "none"
	ctx, cancel := context.WithCancel(context.Background())
	app := handlers.NewApp(ctx, config)
	r := &Registry{options: options, stock: app}
	server := httptest.NewUnstartedServer(r)
	listen(t, server, options.Address)
	if options.TLS {
		server.StartTLS()
		r.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	} else {
		server.Start()
	}
	r.Host, r.URL = server.Listener.Addr().String(), server.URL
	t.Cleanup(func() {
		r.Recover()
		server.CloseClientConnections()
		server.Close()
		if err := app.Shutdown(); err != nil {
			t.Errorf("second registry: %v", err)
		}
		cancel()
	})
	return r
}

// silence keeps the server's warnings about refused requests out of the output of tests: refusals are
// what the tests ask for.
var silence = sync.OnceFunc(func() { logrus.SetOutput(io.Discard) })

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.record(request)
	if trouble := r.match(request); trouble != nil {
		trouble(w, request)
		return
	}
	if request.URL.Path == tokenPath {
		r.serveToken(w, request)
		return
	}
	if r.admits(request) {
		r.stock.ServeHTTP(w, request)
		return
	}
	r.challenge(w, request)
}

func (r *Registry) record(request *http.Request) {
	user, _, _ := request.BasicAuth()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, Request{
		Method: request.Method, Path: request.URL.Path, Query: request.URL.RawQuery,
		Authorization: authorizationScheme(request), User: user, Header: request.Header.Clone(), At: time.Now(),
	})
}

// Requests returns the requests since the last Forget, in order.
func (r *Registry) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

// Count returns how many requests with the method ("" for any) went to a path that matches the pattern
// as in path.Match, where ** at the end stands for any rest.
func (r *Registry) Count(method, pattern string) int {
	n := 0
	for _, request := range r.Requests() {
		if (method == "" || method == request.Method) && matchPath(pattern, request.Path) {
			n++
		}
	}
	return n
}

// Forget empties the log of requests.
func (r *Registry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}
