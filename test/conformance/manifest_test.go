package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/route"
	"image.alauda.io/registry/test/secondregistry"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var appName = route.Name{Namespace: "team", Stream: "app"}

// Behaviours 21, 31 and 32.
func TestPushAndPull(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "one")
	digest := digestOf(raw)
	e.putManifest(repo, "v1", raw, ociManifest).want(201).header("Docker-Content-Digest", digest).header("Location", "/v2/team/app/manifests/"+digest)
	for _, reference := range []string{"v1", digest} {
		answer := e.get("/v2/team/app/manifests/" + reference).want(200)
		answer.header("Content-Type", ociManifest).header("Docker-Content-Digest", digest).header("ETag", `"`+digest+`"`)
		if !bytes.Equal(answer.body, raw) {
			t.Errorf("%s: other bytes", reference)
		}
		head := e.head("/v2/team/app/manifests/" + reference).want(200)
		head.header("Content-Length", fmt.Sprint(len(raw))).header("Docker-Content-Digest", digest)
	}
	for _, etag := range []string{`"` + digest + `"`, `W/"` + digest + `"`, digest} {
		e.get("/v2/team/app/manifests/v1", "If-None-Match", etag).want(304)
	}
	e.get("/v2/team/none/manifests/v1").want(404, "NAME_UNKNOWN")
	e.get("/v2/team/app/manifests/none").want(404, "MANIFEST_UNKNOWN")
	e.get("/v2/team/app/manifests/"+digestOf(nil)).want(404, "MANIFEST_UNKNOWN")
	stream, err := e.api.Stream(t.Context(), appName)
	if err != nil || stream.Annotations[imagev1.ImageStreamCreatedByAnnotation] != "dev" {
		t.Errorf("stream %+v, %v", stream, err)
	}
}

// Behaviour 21: a push by digest is pullable at once. Behaviour 77: without the API.
func TestPushByDigest(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "digest only")
	digest := digestOf(raw)
	e.putManifest(repo, digest, raw, ociManifest).want(201)
	e.api.Fail(func(string) error { return errors.New("connection refused") })
	e.get("/v2/team/app/manifests/" + digest).want(200)
	e.get("/v2/team/app/manifests/v1").want(503, "UNAVAILABLE").header("Retry-After", "5")
	e.get("/v2/team/app/manifests/"+digestOf(nil)).want(503, "UNAVAILABLE")
	e.api.Fail(nil)
	if _, err := e.api.Image(t.Context(), digest); err != nil {
		t.Errorf("no Image: %v", err)
	}
	e.putManifest(repo, digestOf([]byte("x")), raw, ociManifest).want(400, "DIGEST_INVALID")
}

// Behaviour 22. CVE-2017-11468.
func TestManifestSizes(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "big")
	pad := func(size int) []byte {
		prefix := strings.TrimSuffix(string(raw), "}") + `,"annotations":{"a":"`
		return []byte(prefix + strings.Repeat("x", size-len(prefix)-3) + `"}}`)
	}
	exact := pad(4 << 20)
	e.putManifest(repo, "big", exact, ociManifest).want(201)
	image, err := e.api.Image(t.Context(), digestOf(exact))
	if err != nil {
		t.Fatal(err)
	}
	if encoded, _ := json.Marshal(image); len(encoded) > 512<<10 {
		t.Errorf("the Image has %d bytes", len(encoded))
	}
	e.putManifest(repo, "big", pad(4<<20+1), ociManifest).want(413, "MANIFEST_INVALID")
	e.do(call{method: "PUT", path: "/v2/team/app/manifests/big", body: pad(4<<20 + 1), stream: true, header: map[string]string{"Content-Type": ociManifest}}).want(413, "MANIFEST_INVALID")
}

// Behaviours 23 and 24.
func TestMissingReferences(t *testing.T) {
	e := start(t)
	raw := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%s]}`, descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, []byte("a")), descriptor(ociLayer, []byte("b"))))
	e.pushBlob(repo, []byte("a"))
	answer := e.putManifest(repo, "v1", raw, ociManifest).want(400, "MANIFEST_BLOB_UNKNOWN")
	details := map[any]bool{}
	for _, entry := range answer.parsed().Errors {
		details[entry.Detail] = true
	}
	if len(details) != 2 || !details[digestOf([]byte("{}"))] || !details[digestOf([]byte("b"))] {
		t.Errorf("details %v, want the config and the second layer", details)
	}
	if e.waited < 3*time.Second || e.waited > 4*time.Second {
		t.Errorf("waited %s for late blobs, want about 3.1s", e.waited)
	}
	wrongSize := bytes.Replace(e.image(repo, "size"), []byte(`"size":13`), []byte(`"size":14`), 1)
	e.putManifest(repo, "v1", wrongSize, ociManifest).want(400, "MANIFEST_INVALID")
	e.get("/v2/team/app/tags/list").want(404, "NAME_UNKNOWN")
}

// Behaviour 25.
func TestIndexes(t *testing.T) {
	e := start(t)
	one := e.image(repo, "one")
	e.putManifest(repo, digestOf(one), one, ociManifest).want(201)
	sparse := []byte(`{"schemaVersion":2,"manifests":[]}`)
	index := indexOf(one, sparse)
	e.putManifest(repo, "multi", index, ociIndex).want(201)
	e.get("/v2/team/app/manifests/multi").want(200).header("Content-Type", ociIndex)
	image, err := e.api.Image(t.Context(), digestOf(index))
	if err != nil || len(image.DockerImageManifests) != 2 || image.DockerImageManifests[0].Architecture != "unknown" {
		t.Errorf("image %+v, %v", image, err)
	}
	e.putManifest(repo, "nested", indexOf(index), ociIndex).want(201)
	e.putManifest(repo, "empty", sparse, ociIndex).want(201)

	foreign := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, descriptor(ociConfig, []byte("{}"))))
	e.pushBlob("elsewhere/app", []byte("{}"), otherToken)
	e.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: foreign, token: otherToken, header: map[string]string{"Content-Type": ociManifest}}).want(201)
	e.putManifest(repo, "thief", indexOf(foreign), ociIndex).want(400, "MANIFEST_BLOB_UNKNOWN")

	e.api.DeleteImage(digestOf(one))
	e.putManifest(repo, "again", index, ociIndex).want(201)
	if _, err := e.api.Image(t.Context(), digestOf(one)); err != nil {
		t.Errorf("the child's Image was not created again: %v", err)
	}
	strict := start(t, "ALAUDA=}\nvalidation: {manifests: {indexes: {platforms: all}}")
	strict.putManifest(repo, "multi", indexOf(sparse), ociIndex).want(400, "MANIFEST_BLOB_UNKNOWN")
}

// Behaviour 25: an index never opens what another tenant pushes later.
func TestChildPushedLaterByAnotherTenantStaysUnreadable(t *testing.T) {
	e := start(t)
	future := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, descriptor(ociConfig, []byte("{}"))))
	e.putManifest(repo, "waiting", indexOf(future), ociIndex).want(201)
	e.clock.Step(2 * time.Minute)
	e.pushBlob("elsewhere/app", []byte("{}"), otherToken)
	e.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: future, token: otherToken, header: map[string]string{"Content-Type": ociManifest}}).want(201)
	e.get("/v2/team/app/manifests/"+digestOf(future)).want(404, "MANIFEST_UNKNOWN")
	e.get("/v2/team/app/blobs/"+digestOf([]byte("{}"))).want(404, "BLOB_UNKNOWN")
}

// Behaviours 26 and 28.
func TestRefusedManifests(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "x")
	for name, test := range map[string][2]string{
		"schema 1":            {`{"schemaVersion":1}`, "application/vnd.docker.distribution.manifest.v1+prettyjws"},
		"schema 1 in new":     {`{"schemaVersion":1}`, dockerType},
		"artifact":            {string(raw), "application/vnd.oci.artifact.manifest.v1+json"},
		"mismatch":            {string(raw), dockerType},
		"both":                {`{"schemaVersion":2,"manifests":[],"layers":[]}`, ociIndex},
		"not JSON":            {`{`, ociManifest},
		"foreign without url": {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, descriptor(ociConfig, []byte("{}")), descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("f"))), dockerType},
	} {
		answer := e.putManifest(repo, "v1", []byte(test[0]), test[1])
		if answer.StatusCode != 400 || answer.codes()[0] != "MANIFEST_INVALID" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.body)
		}
	}
	e.pushBlob(repo, []byte("{}"))
	foreign := strings.Replace(descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("f")), "}", `,"urls":["https://files.test/f"]}`, 1)
	e.putManifest(repo, "foreign", []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s]}`, descriptor(ociConfig, []byte("{}")), foreign)), dockerType).want(201)
}

// Behaviour 29.
func TestTagParameters(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "tags")
	put := func(query string) *reply {
		return e.do(call{method: "PUT", path: "/v2/team/app/manifests/" + digestOf(raw) + "?" + query, body: raw, header: map[string]string{"Content-Type": ociManifest}})
	}
	answer := put("tag=a&tag=b").want(201)
	if got := answer.Header.Values("OCI-Tag"); len(got) != 2 {
		t.Errorf("OCI-Tag %v", got)
	}
	e.get("/v2/team/app/manifests/a").want(200)
	put(strings.Repeat("tag=x&", 33)).want(414, "TAG_INVALID")
	put("tag=.x").want(400, "TAG_INVALID")
	e.putManifest(repo, "v1?tag=a", raw, ociManifest).want(400, "TAG_INVALID")
}

// Behaviour 30.
func TestAccept(t *testing.T) {
	e := start(t)
	child := e.image(repo, "amd64")
	e.putManifest(repo, digestOf(child), child, ociManifest).want(201)
	index := []byte(strings.Replace(string(indexOf(child)), `"size"`, `"platform":{"architecture":"amd64","os":"linux"},"size"`, 1))
	e.putManifest(repo, "multi", index, ociIndex).want(201)
	for accept, want := range map[string]string{"": ociIndex, "*/*": ociIndex, "application/json": ociIndex, ociIndex: ociIndex, dockerType: ociManifest, ociManifest: ociManifest, "text/html": ociIndex, ociIndex + ";q=0, " + ociManifest: ociManifest} {
		e.get("/v2/team/app/manifests/multi", "Accept", accept).want(200).header("Content-Type", want)
		e.get("/v2/team/app/manifests/"+digestOf(index), "Accept", accept).want(200).header("Content-Type", ociIndex)
	}
}

// Behaviours 32 and 33.
func TestFirstPush(t *testing.T) {
	e := start(t)
	var wait sync.WaitGroup
	for i := range 5 {
		raw := e.image(repo, fmt.Sprint(i))
		wait.Go(func() { e.putManifest(repo, fmt.Sprintf("v%d", i), raw, ociManifest).want(201) })
	}
	wait.Wait()
	e.reviewer.AllowRepository("dev", "gone", "", "get", "update")
	raw := e.image("gone/app", "x")
	answer := e.putManifest("gone/app", "v1", raw, ociManifest).want(404, "NAME_UNKNOWN")
	if answer.message() != `namespace "gone" not found` {
		t.Errorf("message %q", answer.message())
	}
	strict := start(t, "ALAUDA=, auth: {requirecreate: true}")
	answer = strict.putManifest(repo, "v1", strict.image(repo, "x"), ociManifest).want(403, "DENIED")
	if !strings.Contains(answer.message(), `"team/app" does not exist`) {
		t.Errorf("message %q", answer.message())
	}
}

// Behaviours 34, 35 and 36.
func TestAPIRefusals(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "x")
	resource := schema.GroupResource{Group: "image.alauda.io", Resource: "imagestreammappings"}
	for _, test := range []struct {
		err    error
		status int
		code   string
		text   string
	}{
		{apierrors.NewForbidden(resource, "app", errors.New("exceeded quota: small")), 403, "DENIED", "exceeded quota: small"},
		{apierrors.NewInternalError(errors.New("boom")), 503, "UNAVAILABLE", ""},
		{apierrors.NewConflict(resource, "app", errors.New("again")), 503, "UNAVAILABLE", ""},
	} {
		e.api.Fail(func(method string) error {
			if method == "CreateMapping" {
				return test.err
			}
			return nil
		})
		answer := e.putManifest(repo, "v1", raw, ociManifest).want(test.status, test.code)
		if !strings.Contains(answer.message(), test.text) {
			t.Errorf("message %q, want %q", answer.message(), test.text)
		}
		e.api.Fail(nil)
		e.get("/v2/team/app/manifests/"+digestOf(raw)).want(404, "MANIFEST_UNKNOWN")
	}
	one, two := e.image(repo, "1"), e.image(repo, "2")
	var wait sync.WaitGroup
	for _, pushed := range [][]byte{one, two} {
		wait.Go(func() { e.putManifest(repo, "same", pushed, ociManifest).want(201) })
	}
	wait.Wait()
	stream, err := e.api.Stream(t.Context(), appName)
	if err != nil || len(stream.Status.Tags[0].Items) != 2 {
		t.Errorf("history %+v, %v; want both", stream, err)
	}
}

// Behaviours 40 to 44.
func TestReferrers(t *testing.T) {
	e := start(t)
	subject := e.pushImage(repo, "v1", "subject")
	path := "/v2/team/app/referrers/" + digestOf(subject)
	list := func(query string) (entries []struct{ Digest, ArtifactType, MediaType string }, answer *reply) {
		answer = e.get(path + query).want(200)
		answer.header("Content-Type", ociIndex)
		var index struct {
			SchemaVersion int
			Manifests     []struct{ Digest, ArtifactType, MediaType string }
		}
		if err := json.Unmarshal(answer.body, &index); err != nil || index.SchemaVersion != 2 || index.Manifests == nil {
			t.Fatalf("referrers %s: %v", answer.body, err)
		}
		return index.Manifests, answer
	}
	if entries, _ := list(""); len(entries) != 0 {
		t.Errorf("entries %v", entries)
	}
	signature := e.image(repo, "signature", `"artifactType":"application/sig","annotations":{"k":"v"},"subject":`+descriptor(ociManifest, subject)+`,`)
	plain := e.image(repo, "plain", `"subject":`+descriptor(ociManifest, subject)+`,`)
	for _, raw := range [][]byte{signature, plain} {
		e.putManifest(repo, digestOf(raw), raw, ociManifest).want(201).header("OCI-Subject", digestOf(subject))
	}
	entries, _ := list("")
	types := map[string]string{}
	for _, entry := range entries {
		types[entry.Digest] = entry.ArtifactType
	}
	if len(types) != 2 || types[digestOf(signature)] != "application/sig" || types[digestOf(plain)] != ociConfig {
		t.Errorf("referrers %v", types)
	}
	filtered, answer := list("?artifactType=" + url.QueryEscape("application/sig"))
	answer.header("OCI-Filters-Applied", "artifactType")
	if len(filtered) != 1 || filtered[0].Digest != digestOf(signature) {
		t.Errorf("filtered %v", filtered)
	}
	e.remove("/v2/team/app/manifests/" + digestOf(signature)).want(202)
	if entries, _ := list(""); len(entries) != 1 {
		t.Errorf("after the delete: %v", entries)
	}
	fallback := e.image(repo, "fallback", `"subject":`+descriptor(ociManifest, subject)+`,`)
	e.putManifest(repo, digestOf(fallback), fallback, ociManifest).want(201)
	e.putManifest(repo, strings.Replace(digestOf(subject), ":", "-", 1), indexOf(fallback, plain), ociIndex).want(201)
	if entries, _ := list(""); len(entries) != 2 {
		t.Errorf("with the fallback tag: %v", entries)
	}
	e.get("/v2/team/none/referrers/" + digestOf(nil)).want(200)
	e.get("/v2/team/app/referrers/sha256:x").want(400, "DIGEST_INVALID")
}

// Behaviour 45.
func TestTagPages(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "x")
	for _, tag := range []string{"c", "a", "B", "b", "z1"} {
		e.putManifest(repo, tag, raw, ociManifest).want(201)
	}
	for query, want := range map[string]string{
		"": `["B","a","b","c","z1"]`, "?n=2": `["B","a"]`, "?n=2&last=a": `["b","c"]`, "?n=2&last=c": `["z1"]`,
		"?n=0": `[]`, "?n=99999999999999999999": `["B","a","b","c","z1"]`, "?last=zz": `[]`, "?n=5": `["B","a","b","c","z1"]`,
	} {
		answer := e.get("/v2/team/app/tags/list" + query).want(200)
		if !strings.Contains(string(answer.body), `"tags":`+want) {
			t.Errorf("%s: %s, want %s", query, answer.body, want)
		}
		hasLink := answer.Header.Get("Link") != ""
		if wantLink := query == "?n=2" || query == "?n=2&last=a"; hasLink != wantLink {
			t.Errorf("%s: Link %q", query, answer.Header.Get("Link"))
		}
	}
	e.get("/v2/team/app/tags/list?n=2").header("Link", `</v2/team/app/tags/list?last=a&n=2>; rel="next"`)
	e.get("/v2/team/app/tags/list?n=-1").want(400, "PAGINATION_NUMBER_INVALID")
	e.get("/v2/team/app/tags/list?n=x").want(400, "PAGINATION_NUMBER_INVALID")
	e.get("/v2/team/none/tags/list").want(404, "NAME_UNKNOWN")
}

// Behaviour 46. CVE-2023-2253.
func TestCatalog(t *testing.T) {
	e := start(t)
	e.pushImage("team/b", "v1", "x")
	e.pushImage("team/a", "v1", "x")
	e.api.AddStream(&imagev1.ImageStream{ObjectMeta: objectMeta("elsewhere", "secret")})
	for _, test := range []struct{ token, query, want string }{
		{"", "", `["team/a","team/b"]`}, {otherToken, "", `["elsewhere/secret"]`}, {"anonymous", "", `[]`},
		{"", "?n=1", `["team/a"]`}, {"", "?n=1&last=team/a", `["team/b"]`}, {"", "?n=0", `[]`}, {"", "?n=2000000000", `["team/a","team/b"]`},
	} {
		answer := e.do(call{method: "GET", path: "/v2/_catalog" + test.query, token: test.token}).want(200)
		if got := string(answer.body); got != `{"repositories":`+test.want+`}` {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// Behaviours 47, 48 and 49.
func TestUserDeletes(t *testing.T) {
	e := start(t)
	one := e.pushImage(repo, "v1", "one")
	e.pushImage(repo, "v2", "two")
	e.putManifest(repo, "v2", one, ociManifest).want(201)
	e.pushImage(repo, "v2", "three")
	digest := digestOf(one)
	e.remove("/v2/team/app/manifests/v1").want(202)
	e.remove("/v2/team/app/manifests/v1").want(404, "MANIFEST_UNKNOWN")
	e.get("/v2/team/app/manifests/" + digest).want(200)
	e.remove("/v2/team/app/manifests/" + digest).want(202)
	e.head("/v2/team/app/manifests/" + digest).want(404)
	e.remove("/v2/team/app/manifests/"+digest).want(404, "MANIFEST_UNKNOWN")
	stream, _ := e.api.Stream(t.Context(), appName)
	for _, item := range stream.Status.Tags[0].Items {
		if item.Image == digest {
			t.Error("the history still has the digest")
		}
	}
	child := e.image(repo, "child")
	e.putManifest(repo, digestOf(child), child, ociManifest).want(201)
	e.putManifest(repo, "multi", indexOf(child), ociIndex).want(201)
	e.remove("/v2/team/app/manifests/"+digestOf(child)).want(405, "UNSUPPORTED")
	e.remove("/v2/team/app/manifests/multi").want(202)
	e.remove("/v2/team/app/manifests/" + digestOf(child)).want(202)
}

// Behaviours 50 and 51.
func TestPrunerDeletes(t *testing.T) {
	storage := newAging()
	e := startOn(t, storage)
	tagged := e.pushImage(repo, "v1", "tagged")
	loose := e.image(repo, "loose")
	e.putManifest(repo, digestOf(loose), loose, ociManifest).want(201)
	prune := func(path string) *reply { return e.do(call{method: "DELETE", path: path, token: prunerToken}) }
	base := "/v2/team/app/manifests/"
	prune(base+digestOf(tagged)).want(405, "UNSUPPORTED")
	e.remove(base+digestOf(tagged)+"?onlyunreferenced=true").want(405, "UNSUPPORTED")
	prune(base+digestOf(loose)).want(405, "UNSUPPORTED")
	prune(base+digestOf(nil)).want(404, "MANIFEST_UNKNOWN")
	prune(base+"v1").want(403, "DENIED")
	stray := e.pushBlob(repo, []byte("stray"))
	prune("/v2/team/app/blobs/"+stray).want(405, "UNSUPPORTED")
	storage.by.Store(int64(11 * time.Minute))
	prune(base + digestOf(loose)).want(202)
	e.get(base+digestOf(loose)).want(404, "MANIFEST_UNKNOWN")
	prune("/v2/team/app/blobs/" + stray).want(202)
	e.head("/v2/team/app/blobs/" + stray).want(404)
	prune("/v2/team/app/blobs/"+stray).want(404, "BLOB_UNKNOWN")
	e.remove("/v2/team/app/blobs/"+digestOf([]byte("layer of tagged"))).want(405, "UNSUPPORTED")
	e.do(call{method: "DELETE", path: "/v2/team/app/blobs/" + stray, token: otherToken}).want(403, "DENIED")
}

// Behaviour 76 and 76a: only local entries of the stream open stored content.
func TestLocalEntriesOpenContent(t *testing.T) {
	e := start(t, reachable)
	evil := secondregistry.Start(t, secondregistry.Options{})
	raw := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, descriptor(ociConfig, []byte("{}"))))
	e.pushBlob("elsewhere/app", []byte("{}"), otherToken)
	e.do(call{method: "PUT", path: "/v2/elsewhere/app/manifests/v1", body: raw, token: otherToken, header: map[string]string{"Content-Type": ociManifest}}).want(201)
	stream := func(reference string) *imagev1.ImageStream {
		return &imagev1.ImageStream{ObjectMeta: objectMeta("team", "copy"), Status: imagev1.ImageStreamStatus{Tags: []imagev1.NamedTagEventList{{
			Tag: "v1", Items: []imagev1.TagEvent{{Image: digestOf(raw), DockerImageReference: reference}},
		}}}}
	}
	foreign := stream(evil.Host + "/evil/app@" + digestOf(raw))
	foreign.Annotations = map[string]string{imagev1.InsecureRepositoryAnnotation: "true"}
	e.api.AddStream(foreign)
	e.get("/v2/team/copy/blobs/"+digestOf([]byte("{}"))).want(404, "BLOB_UNKNOWN")
	e.api.AddStream(stream(serverAddr + "/team/copy@" + digestOf(raw)))
	e.get("/v2/team/copy/manifests/v1").want(200)
	e.get("/v2/team/copy/blobs/" + digestOf([]byte("{}"))).want(200)
}

// Behaviour 85: a client that hears of a manifest skips its push, so one that is being deleted is not there for HEAD.
func TestHeadOfAManifestThatIsBeingDeleted(t *testing.T) {
	e := start(t)
	raw := e.image(repo, "x")
	path := "/v2/team/app/manifests/" + digestOf(raw)
	e.putManifest(repo, digestOf(raw), raw, ociManifest).want(201)
	e.head(path).want(200)
	marker := "/docker/registry/v2/_gc/deleting/sha256/" + strings.TrimPrefix(digestOf(raw), "sha256:")
	if err := e.driver.PutContent(t.Context(), marker, nil); err != nil {
		t.Fatal(err)
	}
	e.head(path).want(404)
	e.get(path).want(200)
}
