package importer

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1 "image.alauda.io/api/config/v1"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/oci/manifest"
	"image.alauda.io/registry/pkg/oci/remote"
	"image.alauda.io/registry/pkg/oci/remote/keyring"
	"image.alauda.io/registry/test/secondregistry"
)

// overNetwork returns an Importer whose client may connect to loopback addresses.
func overNetwork(t *testing.T, change ...func(*remote.Settings)) *Importer {
	t.Helper()
	settings := &remote.Settings{RateLimits: configv1.RateLimits{Default: configv1.RateLimit{QPS: 10_000, Burst: 10_000}}}
	for _, c := range change {
		c(settings)
	}
	options := remote.DefaultOptions()
	options.UserAgent = "importer-test/1"
	options.Settings = func() *remote.Settings { return settings }
	options.Retries = []time.Duration{time.Millisecond, time.Millisecond}
	client, err := remote.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return engine(t, FromClient(client))
}

func insecure(from string) Item { return Item{From: from, Policy: Policy{Insecure: true}} }

// Behaviours 35 and 37.
func TestImagesOfAStockRegistryAreImported(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	amd := registry.PushImage(t, "team/app", "single", secondregistry.Image{Docker: true})
	arm := registry.PushImage(t, "team/app", "", secondregistry.Image{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
	gone := registry.PushImage(t, "team/app", "", secondregistry.Image{Platform: v1.Platform{OS: "linux", Architecture: "s390x"}})
	attestation := registry.PushAttestation(t, "team/app", arm)
	inner := registry.PushManifestList(t, "team/app", "inner", amd)
	index := registry.PushIndex(t, "team/app", "multi", arm, attestation, inner, gone)
	registry.Delete(t, "team/app", gone.Digest)
	chart := registry.PushArtifact(t, "team/app", "chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart"), nil)
	name := registry.Host + "/team/app"

	i := overNetwork(t)
	one1 := legacyInsecure(name + ":multi")
	result := i.Import(t.Context(), Request{Items: []Item{
		insecure(name + ":single"), insecure(name + ":multi"), one1, insecure(name + ":chart"), insecure(name + "@" + arm.Digest.String()),
	}})
	for at, want := range []v1.Descriptor{amd, index, arm, chart, arm} {
		if r := imported(t, result.Items[at]); r.Image.Name != want.Digest.String() || r.Reference != name+"@"+want.Digest.String() {
			t.Errorf("item %d: image %s at %s, want %s", at, r.Image.Name, r.Reference, want.Digest)
		}
	}
	multi := result.Items[1]
	if diff := cmp.Diff([]string{arm.Digest.String(), attestation.Digest.String(), amd.Digest.String(), inner.Digest.String()}, childDigests(multi)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if len(multi.Image.DockerImageManifests) != 4 || !strings.Contains(multi.Note, gone.Digest.String()) {
		t.Errorf("manifests %v, note %q", multi.Image.DockerImageManifests, multi.Note)
	}
	if got := result.Items[0].Image.DockerImageManifestMediaType; got != manifest.DockerManifest {
		t.Errorf("media type %q", got)
	}
	if result.Items[2].RemoteDigest != index.Digest.String() {
		t.Errorf("the registry offers %s, want the index", result.Items[2].RemoteDigest)
	}
	for _, request := range registry.Requests() {
		if n := registry.Count(request.Method, request.Path); n > 1 && strings.Contains(request.Path, "sha256:") {
			t.Errorf("%s %s was asked for %d times", request.Method, request.Path, n)
		}
	}

	trusted := one(t, i, Item{From: name + ":single"})
	failed(t, trusted, "InternalError", "not trusted")
	if !trusted.Err.Transient {
		t.Error("a failure of the network is worth another try")
	}
	failed(t, one(t, i, insecure(name+":gone")), "NotFound", "")
}

func legacyInsecure(from string) Item {
	item := insecure(from)
	item.ImportMode = imageapi.ImportModeLegacy
	// The fallback linux/amd64 is inside of the nested index only.
	item.Platform = Platform{Arch: "arm64", OS: "linux"}
	return item
}

// Behaviour 36.
func TestARepositoryOfAStockRegistryIsImported(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true, Tokens: true, Users: map[string]string{"robot": "secret"}})
	for _, tag := range []string{"1.0", "latest", "2.0.0", "other", "1.1"} {
		registry.PushImage(t, "team/app", tag, secondregistry.Image{Seed: tag})
	}
	name := registry.Host + "/team/app"
	credentials, malformed := keyring.FromSecrets([]corev1.Secret{pullSecret(registry.Host, "robot", "secret")})
	if len(malformed) > 0 {
		t.Fatal(malformed)
	}
	i := overNetwork(t)
	ask := func(from string, k *keyring.Keyring) *RepositoryResult {
		return i.Import(t.Context(), Request{Keyring: k, Repository: &RepositoryItem{From: from, Policy: Policy{Insecure: true}, Limit: 3}}).Repository
	}
	r := ask(name, credentials)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if diff := cmp.Diff([]string{"latest", "1.1", "1.0"}, tagsOf(r)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"2.0.0", "other"}, r.AdditionalTags); diff != "" {
		t.Errorf("additional tags (-want +got):\n%s", diff)
	}
	for _, tag := range r.Tags {
		imported(t, tag)
	}
	for name, test := range map[string]struct {
		got  *RepositoryResult
		code int32
	}{
		"without credentials": {ask(name, nil), 401},
		"unknown repository":  {ask(registry.Host+"/team/nothing", credentials), 404},
	} {
		if test.got.Err == nil || test.got.Err.Code != test.code {
			t.Errorf("%s: %+v, want %d", name, test.got.Err, test.code)
		}
	}
}

func pullSecret(host, user, password string) corev1.Secret {
	return corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "pull"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{%q:{"username":%q,"password":%q}}}`, host, user, password)},
	}
}

// Behaviour 41.
func TestSixtySlowTagsEndWithTheBudget(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	var items []Item
	for at := range 60 {
		tag := fmt.Sprintf("fast%02d", at)
		if at >= 3 {
			tag = fmt.Sprintf("slow%02d", at)
		}
		registry.PushImage(t, "team/app", tag, secondregistry.Image{Seed: tag})
		items = append(items, insecure(registry.Host+"/team/app:"+tag))
	}
	registry.Slow("GET", "/v2/team/app/manifests/slow*", time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	begun := time.Now()
	result := overNetwork(t).Import(ctx, Request{Items: items})
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("answered after %s", took)
	}
	for at, r := range result.Items {
		exclusive(t, r)
		if at < 3 {
			imported(t, r)
		} else if failed(t, r, "Timeout", "within the time of the request"); !r.Unfinished {
			t.Errorf("item %d: %+v is not marked as unfinished", at, r.Err)
		}
	}
}

// Behaviour 42.
func TestACoolDownIsSharedByRequests(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	registry.PushImage(t, "team/app", "v1", secondregistry.Image{})
	registry.Throttle("", "/v2/team/app/manifests/**", "120")
	i := overNetwork(t)
	name := registry.Host + "/team/app"
	first := one(t, i, insecure(name+":v1"))
	failed(t, first, "TooManyRequests", "")
	registry.Recover()
	registry.Forget()
	second := one(t, i, insecure(name+":v1"))
	failed(t, second, "TooManyRequests", "")
	if n := len(registry.Requests()); n != 0 {
		t.Errorf("%d requests during the cool-down", n)
	}
	for _, r := range []ItemResult{first, second} {
		if seconds := r.Err.Status().Details.RetryAfterSeconds; seconds < 100 || seconds > 120 || !r.Err.Transient {
			t.Errorf("retry after %d seconds, transient %v", seconds, r.Err.Transient)
		}
	}
	repository := i.Import(t.Context(), Request{Repository: &RepositoryItem{From: name, Policy: Policy{Insecure: true}}}).Repository
	if repository.Err == nil || repository.Err.Code != http.StatusTooManyRequests {
		t.Errorf("listing: %v", repository.Err)
	}
}

// Behaviour 43.
func TestHostileRegistriesAreAnsweredWithTheRightReason(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	pushed := registry.PushImage(t, "team/app", "v1", secondregistry.Image{})
	other := registry.PushImage(t, "team/app", "v2", secondregistry.Image{Seed: "other"})
	name := registry.Host + "/team/app"
	path := func(reference string) string { return "/v2/team/app/manifests/" + reference }
	document := func(reference, mediaType string, header http.Header, body []byte) {
		registry.Document(path(reference), mediaType, header, body)
	}
	document("large", manifest.OCIManifest, nil, bytes.Repeat([]byte(" "), 4<<20+1))
	document("lying", manifest.OCIManifest, http.Header{"Docker-Content-Digest": {other.Digest.String()}}, []byte(`{"schemaVersion":2}`))
	document(pushed.Digest.String(), manifest.OCIManifest, nil, []byte(`{"schemaVersion":2}`))
	document("schema1", "application/vnd.docker.distribution.manifest.v1+prettyjws", nil, []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	document("unknown", "application/vnd.example", nil, []byte(`{"schemaVersion":2}`))
	document("html", "text/html", nil, []byte(`<html>welcome</html>`))
	config := bytes.Repeat([]byte("x"), 1000)
	document("config", manifest.OCIManifest, nil, fmt.Appendf(nil,
		`{"schemaVersion":2,"config":{"mediaType":%q,"digest":"sha256:%064d","size":1000},"layers":[]}`, manifest.OCIConfig, 7))
	registry.Document(fmt.Sprintf("/v2/team/app/blobs/sha256:%064d", 7), "application/octet-stream", nil, config)
	registry.Fail("", path("broken"), http.StatusBadGateway)
	registry.Fail("", path("denied"), http.StatusForbidden)

	i := overNetwork(t)
	for reference, want := range map[string]struct{ reason, text string }{
		":large": {"Invalid", ""}, ":lying": {"InternalError", "content integrity"},
		"@" + pushed.Digest.String(): {"InternalError", "content integrity"},
		":schema1":                   {"UnsupportedManifest", "schema 1"}, ":unknown": {"UnsupportedManifest", "application/vnd.example"},
		":html": {"Invalid", "not a JSON object"}, ":config": {"InternalError", "content integrity"},
		":broken": {"InternalError", ""}, ":denied": {"Forbidden", ""},
	} {
		r := one(t, i, insecure(name+reference))
		if r.Err == nil || string(r.Err.Reason) != want.reason || !strings.Contains(r.Err.Message, want.text) {
			t.Errorf("%s: %+v, want %s with %q", reference, r.Err, want.reason, want.text)
			continue
		}
		if again := one(t, i, insecure(name+reference)); again.Err.Message != r.Err.Message {
			t.Errorf("%s: the same failure reads %q and %q", reference, r.Err.Message, again.Err.Message)
		}
	}
	imported(t, one(t, i, insecure(name+":v2")))
}

func TestABlockedRegistryIsNotAsked(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	registry.PushImage(t, "team/app", "v1", secondregistry.Image{})
	i := overNetwork(t, func(s *remote.Settings) { s.BlockedRegistries = []string{registry.Host} })
	r := one(t, i, insecure(registry.Host+"/team/app:v1"))
	failed(t, r, "Forbidden", registry.Host)
	if n := len(registry.Requests()); n != 0 || !strings.Contains(r.Err.Message, "blocked") {
		t.Errorf("%d requests, message %q", n, r.Err.Message)
	}
}

func TestAMirrorIsAskedAndTheSourceIsRecorded(t *testing.T) {
	mirror := secondregistry.Start(t, secondregistry.Options{TLS: true})
	pushed := mirror.PushImage(t, "copies/app", "v1", secondregistry.Image{})
	i := overNetwork(t, func(s *remote.Settings) {
		s.Mirrors = []configv1.RegistryMirrors{{
			Source: "source.example/team", Mirrors: []string{mirror.Host + "/copies"}, Insecure: true,
			MirrorSourcePolicy: configv1.NeverContactSource, ApplyTo: configv1.MirrorAll,
		}}
	})
	r := imported(t, one(t, i, Item{From: "source.example/team/app:v1"}))
	if want := "source.example/team/app@" + pushed.Digest.String(); r.Reference != want || r.Image.DockerImageReference != want {
		t.Errorf("recorded as %q and %q, want %q", r.Reference, r.Image.DockerImageReference, want)
	}
}

// Behaviour 47.
func TestAScheduledImportAsksForTheDigestAlone(t *testing.T) {
	registry := secondregistry.Start(t, secondregistry.Options{TLS: true})
	pushed := registry.PushImage(t, "team/app", "v1", secondregistry.Image{})
	i := overNetwork(t)
	item := insecure(registry.Host + "/team/app:v1")
	item.LastDigest = pushed.Digest.String()
	if r := one(t, i, item); !r.Unchanged {
		t.Fatalf("result %+v", r)
	}
	if slices.ContainsFunc(registry.Requests(), func(r secondregistry.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.Path, "/manifests/")
	}) {
		t.Error("the manifest was fetched")
	}
	moved := registry.PushImage(t, "team/app", "v1", secondregistry.Image{Seed: "new"})
	if r := imported(t, one(t, i, item)); r.Image.Name != moved.Digest.String() {
		t.Errorf("image %s, want %s", r.Image.Name, moved.Digest)
	}
}
