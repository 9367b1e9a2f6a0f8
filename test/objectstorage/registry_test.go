//go:build component

package objectstorage

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/pulled"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
)

const (
	serverAddr = "registry.test:5000"
	token      = "dev-token"
)

// replica is a registry in the test process. Several share the image API.
type replica struct {
	*httptest.Server
	t        *testing.T
	registry *app.Registry
	api      *imageapitest.API
}

// startReplica runs a registry on the driver's parameters; settings are YAML below storage
// and below alauda.
func startReplica(t *testing.T, api *imageapitest.API, parameters map[string]any, settings ...string) *replica {
	t.Helper()
	values := append(settings, "", "")
	var options strings.Builder
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		fmt.Fprintf(&options, "    %s: %#v\n", key, parameters[key])
	}
	raw := "version: 0.1\nstorage:\n  s3:\n" + options.String() + values[0] +
		"http: {secret: shared}\nalauda:\n  server: {addr: '" + serverAddr + "'}\n" + values[1]
	c, _, err := config.Parse([]byte(raw))
	must(t, err)
	name, drivers, err := c.StorageParameters()
	must(t, err)
	opened, err := store.OpenDriver(t.Context(), name, drivers, nil)
	must(t, err)
	if api == nil {
		api = imageapitest.New(serverAddr, time.Now)
		api.AddNamespace("team")
	}
	reviewer := &authtest.Reviewer{}
	reviewer.AddToken(token, auth.Identity{Username: "dev"})
	reviewer.AllowRepository("dev", "team", "", "get", "update", "delete")
	r := &replica{t: t, api: api}
	r.registry, err = app.Build(t.Context(), c, app.Dependencies{
		API: api, Reviewer: reviewer, Driver: opened, Log: zap.NewNop(), Now: time.Now,
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	must(t, err)
	r.Server = httptest.NewServer(r.registry.Server)
	t.Cleanup(func() {
		r.Close()
		r.registry.PullThrough.Stop()
	})
	return r
}

// do sends a request and returns the answer with its body.
func (r *replica) do(method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	r.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = r.URL + path
	}
	request, err := http.NewRequestWithContext(r.t.Context(), method, path, body)
	must(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := client().Do(request)
	must(r.t, err)
	defer answer.Body.Close() //nolint:errcheck // everything was read
	raw, err := io.ReadAll(answer.Body)
	must(r.t, err)
	return answer, raw
}

func (r *replica) want(status int, method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	r.t.Helper()
	answer, raw := r.do(method, path, body, header...)
	if answer.StatusCode != status {
		r.t.Fatalf("%s %s: status %d, want %d: %.500s", method, path, answer.StatusCode, status, raw)
	}
	return answer, raw
}

func (r *replica) reference(text string) name.Reference {
	r.t.Helper()
	reference, err := name.ParseReference(strings.TrimPrefix(r.URL, "http://")+"/"+text, name.Insecure)
	must(r.t, err)
	return reference
}

func credentials() remote.Option {
	return remote.WithAuth(authn.FromConfig(authn.AuthConfig{RegistryToken: token}))
}

// pushAndPull sends an image through a real client and compares what comes back.
func (r *replica) pushAndPull(repository string, size int64) v1.Image {
	r.t.Helper()
	image, err := random.Image(size, 3)
	must(r.t, err)
	must(r.t, remote.Write(r.reference(repository+":v1"), image, credentials()))
	r.pull(repository+":v1", image)
	d, err := image.Digest()
	must(r.t, err)
	r.pull(repository+"@"+d.String(), image)
	return image
}

func (r *replica) pull(reference string, want v1.Image) {
	r.t.Helper()
	got, err := remote.Image(r.reference(reference), credentials())
	must(r.t, err)
	wantDigest, err := want.Digest()
	must(r.t, err)
	if d, err := got.Digest(); err != nil || d != wantDigest {
		r.t.Fatalf("%s has digest %v, %v; want %s", reference, d, err, wantDigest)
	}
	if err := pulled.Verify(got); err != nil {
		r.t.Errorf("%s: %v", reference, err)
	}
}

// upload sends content in one request and returns its digest.
func (r *replica) upload(repository string, content []byte) digest.Digest {
	r.t.Helper()
	d := digest.FromBytes(content)
	r.want(http.StatusCreated, "POST", "/v2/"+repository+"/blobs/uploads/?digest="+d.String(), bytes.NewReader(content))
	return d
}

// leftovers lists what an upload left in the bucket.
func (s *s3Server) leftovers(t *testing.T) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(s.directory, bucket), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains(path, "/_uploads/") {
			found = append(found, path)
		}
		return err
	}))
	return found
}

// Behaviour registry 80: with a real S3 server, whose addresses a client follows.
func TestPushAndPullWithAndWithoutRedirects(t *testing.T) {
	s3 := startS3(t)
	front := startProxy(t, s3)
	for name, c := range map[string]struct {
		parameters map[string]any
		settings   string
		redirects  bool
	}{
		"streamed":            {s3.parameters(), "  redirect: {disable: true}\n", false},
		"redirected":          {s3.parameters(), "", true},
		"redirected in front": {s3.parameters("redirectendpoint", front.url), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := startReplica(t, nil, c.parameters, c.settings)
			image := r.pushAndPull("team/app", 3<<20)
			layers, err := image.Layers()
			must(t, err)
			d, err := layers[0].Digest()
			must(t, err)
			path := "/v2/team/app/blobs/" + d.String()
			for round := range 2 { // the second one by the digest cache
				answer, raw := r.do("GET", path, nil)
				size, err := layers[0].Size()
				must(t, err)
				if !c.redirects {
					if answer.StatusCode != http.StatusOK || int64(len(raw)) != size {
						t.Fatalf("round %d: status %d with %d bytes", round, answer.StatusCode, len(raw))
					}
					continue
				}
				location := answer.Header.Get("Location")
				if answer.StatusCode != http.StatusTemporaryRedirect || len(raw) != 0 || answer.Header.Get("Docker-Content-Digest") != d.String() || answer.Header.Get("Cache-Control") != "no-store" {
					t.Fatalf("round %d: status %d, %d bytes, headers %v", round, answer.StatusCode, len(raw), answer.Header)
				}
				host := s3.url
				if strings.Contains(name, "front") {
					host = front.url
				}
				if !strings.HasPrefix(location, host+"/"+bucket+"/") {
					t.Fatalf("redirect to %s, want %s", location, host)
				}
				part, raw := r.do("GET", path, nil, "Range", "bytes=10-19")
				if part.StatusCode != http.StatusTemporaryRedirect || len(raw) > 0 {
					t.Errorf("a range has status %d", part.StatusCode)
				}
			}
			answer, _ := r.want(http.StatusOK, "HEAD", path, nil)
			if answer.Header.Get("Content-Length") == "" || answer.Header.Get("Location") != "" {
				t.Errorf("HEAD has headers %v", answer.Header)
			}
		})
	}
	if front.count("GET") == 0 {
		t.Error("the redirect endpoint got no request")
	}
	if left := s3.leftovers(t); len(left) > 0 {
		t.Errorf("uploads left %v", left)
	}
}

// Behaviour registry 79: bytes that are gone end what is known about them, also when the
// client would only be sent to the storage.
func TestBytesThatAreGoneAreNotRedirectedTo(t *testing.T) {
	s3 := startS3(t)
	r := startReplica(t, nil, s3.parameters())
	d := r.upload("team/app", []byte("soon gone"))
	path := "/v2/team/app/blobs/" + d.String()
	r.want(http.StatusTemporaryRedirect, "GET", path, nil)
	must(t, os.RemoveAll(filepath.Join(s3.directory, bucket, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded())))
	r.want(http.StatusNotFound, "GET", path, nil)
}
