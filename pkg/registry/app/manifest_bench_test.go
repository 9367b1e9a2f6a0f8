package app

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const benchDocument = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
	`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

// benchRegistry is a registry on a disk, with one image and everything warm.
func benchRegistry(b *testing.B) (*Registry, string) {
	b.Helper()
	disk, err := store.OpenDriver(b.Context(), "filesystem", configuration.Parameters{"rootdirectory": b.TempDir()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, _, err := config.Parse([]byte("version: 0.1\nstorage: {inmemory: {}}\nlog: {accesslog: {disabled: true}}\nalauda: {server: {addr: 'registry.test:5000'}}\n"))
	if err != nil {
		b.Fatal(err)
	}
	api, reviewer := imageapitest.New("registry.test:5000", time.Now), &authtest.Reviewer{}
	registry, err := Build(b.Context(), c, Dependencies{
		API: api, Streams: api, Reviewer: reviewer, Driver: disk, Log: zap.NewNop(), Now: time.Now, Wait: wait,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(registry.PullThrough.Stop)
	registry.Health.Report(nil)
	name := route.Name{Namespace: "team", Stream: "app"}
	digest := manifest.Canonical([]byte(benchDocument))
	if err := registry.Store.PutManifest(b.Context(), []byte(benchDocument), digest); err != nil {
		b.Fatal(err)
	}
	if err := registry.Store.PutLink(b.Context(), name, store.Revisions, digest, digest); err != nil {
		b.Fatal(err)
	}
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}}
	stream.Status.Tags = []imagev1.NamedTagEventList{{Tag: "v1", Items: []imagev1.TagEvent{{Image: digest.String(), DockerImageReference: "registry.test:5000/team/app@" + digest.String()}}}}
	api.AddStream(stream)
	reviewer.AddToken("token", auth.Identity{Username: "system:serviceaccount:team:default", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:team", "system:authenticated"}})
	reviewer.AllowRepository("system:serviceaccount:team:default", "team", "", "get")
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(cancel)
	go registry.Streams.Run(ctx)
	for deadline := time.Now().Add(10 * time.Second); !registry.Streams.Healthy() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return registry, digest.String()
}

// sink is an answer that nobody reads.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// BenchmarkManifest measures warm reads of manifests without the network: everything from
// the request's header to the bytes of the answer.
func BenchmarkManifest(b *testing.B) {
	registry, digest := benchRegistry(b)
	for _, c := range []struct{ name, method, reference string }{
		{"GETByTag", http.MethodGet, "v1"}, {"HEADByTag", http.MethodHead, "v1"},
		{"GETByDigest", http.MethodGet, digest}, {"HEADByDigest", http.MethodHead, digest},
	} {
		b.Run(c.name, func(b *testing.B) {
			request := httptest.NewRequest(c.method, "/v2/team/app/manifests/"+c.reference, bytes.NewReader(nil))
			request.Header.Set("Authorization", "Bearer token")
			request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				w := &sink{header: http.Header{}}
				registry.Server.ServeHTTP(w, request)
				if w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
