package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/imageapi/imageapitest"
	"image.alauda.io/registry/pkg/registry/route"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// startFollowing is a registry that follows the image streams.
func startFollowing(t testing.TB, settings ...string) *env {
	e := startWith(t, inmemory.New(), func(deps *app.Dependencies) { deps.Streams = deps.API.(*imageapitest.API) }, settings...)
	e.follow()
	return e
}

// replica is another registry on the same storage and image API, that follows them, too.
func (e *env) replica() *env {
	other := startWith(e.t, e.driver, func(deps *app.Dependencies) { deps.API, deps.Streams = e.api, e.api })
	other.follow()
	return other
}

func (e *env) follow() {
	e.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { e.registry.Streams.Run(ctx) })
	e.t.Cleanup(ended.Wait)
	e.t.Cleanup(cancel)
	e.eventually("image streams are followed", e.registry.Streams.Healthy)
}

func (e *env) eventually(what string, holds func() bool) {
	e.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			e.t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// warm asks until an answer needs nothing of the image API.
func (e *env) warm(path string) {
	e.t.Helper()
	e.eventually("a view for "+path, func() bool {
		before := e.api.Reads()
		e.get(path)
		return e.api.Reads() == before
	})
}

func (e *env) tagDigest(repo, tag string) string {
	e.t.Helper()
	return e.get("/v2/" + repo + "/manifests/" + tag).want(200).Header.Get("Docker-Content-Digest")
}

// Part of behaviour 46a: warm reads make no request to the image API, by tag, by digest,
// with HEAD and as lists.
func TestWarmReadsAskNobody(t *testing.T) {
	e := startFollowing(t)
	raw := e.pushImage("team/app", "v1", "one")
	e.warm("/v2/team/app/manifests/v1")
	e.get("/v2/_catalog").want(200)
	before := e.api.Reads()
	for range 3 {
		e.get("/v2/team/app/manifests/v1").want(200).header("Docker-Content-Digest", digestOf(raw))
		e.head("/v2/team/app/manifests/v1").want(200).header("Docker-Content-Digest", digestOf(raw))
		e.get("/v2/team/app/manifests/" + digestOf(raw)).want(200)
		e.get("/v2/team/app/tags/list").want(200)
		e.get("/v2/_catalog").want(200)
	}
	if n := e.api.Reads() - before; n != 0 {
		t.Errorf("%d requests to the image API, want none", n)
	}
}

// Part of behaviour 46a: an own push is seen at once although the watch has not told of
// it; a new tag of another replica too; a moved one when the watch tells.
func TestPushesAreSeen(t *testing.T) {
	e := startFollowing(t)
	other := e.replica()
	first := e.pushImage("team/app", "v1", "one")
	e.warm("/v2/team/app/manifests/v1")
	other.warm("/v2/team/app/manifests/v1")

	release := e.api.HoldWatches()
	second := e.pushImage("team/app", "v1", "two")
	if got := e.tagDigest("team/app", "v1"); got != digestOf(second) {
		t.Errorf("after the own push: %s, want %s", got, digestOf(second))
	}
	e.pushImage("team/app", "v2", "one")
	if got := other.tagDigest("team/app", "v2"); got != digestOf(first) {
		t.Errorf("the new tag of another replica: %s, want %s", got, digestOf(first))
	}
	e.putManifest("team/new", "v1", e.image("team/new", "three"), ociManifest).want(201)
	other.get("/v2/team/new/manifests/v1").want(200)
	release()
	e.eventually("the other replica sees the moved tag", func() bool { return other.tagDigest("team/app", "v1") == digestOf(second) })

	release = e.api.HoldWatches()
	defer release()
	e.remove("/v2/team/app/manifests/" + digestOf(second)).want(202)
	e.get("/v2/team/app/manifests/v1").want(404, "MANIFEST_UNKNOWN")
	e.head("/v2/team/app/manifests/" + digestOf(second)).want(404)
}

// A tag that another replica has moved is found although its old content is gone and the
// watch has not told yet.
func TestTagThatMovedAwayFromDeletedContent(t *testing.T) {
	e := startFollowing(t)
	other := e.replica()
	first := e.pushImage("team/app", "v1", "one")
	other.warm("/v2/team/app/manifests/v1")
	release := e.api.HoldWatches()
	defer release()
	second := e.pushImage("team/app", "v1", "two")
	hex := strings.TrimPrefix(digestOf(first), "sha256:")
	if err := e.driver.Delete(t.Context(), "/docker/registry/v2/blobs/sha256/"+hex[:2]+"/"+hex); err != nil {
		t.Fatal(err)
	}
	if got := other.tagDigest("team/app", "v1"); got != digestOf(second) {
		t.Errorf("tag shows %s, want %s", got, digestOf(second))
	}
}

// A digest is deleted by what the stream is now, not by what a view shows: a tag that
// another replica has moved to other content stays.
func TestDeleteByDigestReadsTheStream(t *testing.T) {
	e := startFollowing(t)
	other := e.replica()
	first := e.pushImage("team/app", "v1", "one")
	other.warm("/v2/team/app/manifests/v1")
	release := e.api.HoldWatches()
	defer release()
	second := e.pushImage("team/app", "v1", "two")
	other.remove("/v2/team/app/manifests/" + digestOf(first)).want(202)
	if got := e.tagDigest("team/app", "v1"); got != digestOf(second) {
		t.Errorf("tag shows %s, want %s", got, digestOf(second))
	}
}

// Behaviour 77.
func TestPullsWhileTheImageAPIIsDown(t *testing.T) {
	e := startFollowing(t)
	raw := e.pushImage("team/app", "v1", "one")
	byTag, byDigest := "/v2/team/app/manifests/v1", "/v2/team/app/manifests/"+digestOf(raw)
	e.warm(byTag)
	e.api.Fail(func(string) error { return errors.New("connection refused") })
	e.api.BreakWatches()
	e.get(byTag).want(200)
	e.get(byDigest).want(200)
	e.get("/v2/team/app/blobs/" + digestOf([]byte("layer of one"))).want(200)
	e.get("/v2/team/app/manifests/unknown").want(503, "UNAVAILABLE")
	e.get("/v2/team/nothing/manifests/v1").want(503, "UNAVAILABLE")
	e.get("/v2/team/app/manifests/"+digestOf([]byte("unknown"))).want(503, "UNAVAILABLE")
	// The reviews of this test never end, so only the views get old.
	e.clock.Step(25 * time.Second)
	e.get(byTag).want(200)
	e.clock.Step(66 * time.Second)
	e.get(byTag).want(503, "UNAVAILABLE")
	e.head(byTag).want(503)
	e.get("/v2/team/app/tags/list").want(503, "UNAVAILABLE")
	e.get("/v2/_catalog").want(503, "UNAVAILABLE")
	e.get(byDigest).want(200)
}

// Behaviour 46: the catalog as a reader of the cluster, of two namespaces, of none and as
// nobody, from memory and without a watch.
func TestCatalogByCaller(t *testing.T) {
	for name, start := range map[string]func(testing.TB, ...string) *env{"followed": startFollowing, "not followed": start} {
		t.Run(name, func(t *testing.T) {
			e := start(t)
			for namespace := range 30 {
				for stream := range 4 {
					e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("ns%02d", namespace), Name: fmt.Sprint("app", stream)}})
				}
			}
			list := auth.Attributes{Verb: "list", Group: "image.alauda.io", Resource: "imagestreams"}
			e.reviewer.AddToken("two-token", auth.Identity{Username: "two"})
			for _, namespace := range []string{"ns03", "ns27"} {
				list.Namespace = namespace
				e.reviewer.Allow("two", list)
			}
			e.reviewer.AddToken("none-token", auth.Identity{Username: "none"})
			e.reviewer.AddToken("all-token", auth.Identity{Username: "all"})
			list.Namespace = ""
			e.reviewer.Allow("all", list)
			e.eventually("all streams are known", func() bool { return len(e.catalog("all-token", 1000)) == 120 })
			if got := e.catalog("all-token", 7); len(got) != 120 || !slices.IsSorted(got) {
				t.Errorf("a reader of the cluster sees %d: %v", len(got), got)
			}
			want := []string{"ns03/app0", "ns03/app1", "ns03/app2", "ns03/app3", "ns27/app0", "ns27/app1", "ns27/app2", "ns27/app3"}
			for size := 1; size < 10; size++ {
				if got := e.catalog("two-token", size); !slices.Equal(got, want) {
					t.Errorf("pages of %d: %v, want %v", size, got, want)
				}
			}
			if got := e.catalog("none-token", 5); len(got) != 0 {
				t.Errorf("who may see nothing sees %v", got)
			}
			e.do(call{method: "GET", path: "/v2/_catalog?n=5", token: "none"}).want(401)
			list.Namespace = "ns05"
			e.reviewer.Allow("system:anonymous", list)
			if got := e.catalog("anonymous", 3); len(got) != 4 || got[0] != "ns05/app0" {
				t.Errorf("nobody sees %v, want what is open to all", got)
			}
			if name == "followed" && e.api.Calls("StreamNames") != 0 {
				t.Errorf("the image API was asked %d times for names", e.api.Calls("StreamNames"))
			}
		})
	}
}

// catalog reads all pages.
func (e *env) catalog(token string, size int) (all []string) {
	e.t.Helper()
	for path := fmt.Sprintf("/v2/_catalog?n=%d", size); path != ""; {
		answer := e.do(call{method: "GET", path: path, token: token}).want(200)
		var part struct{ Repositories []string }
		if err := json.Unmarshal(answer.body, &part); err != nil {
			e.t.Fatal(err)
		}
		if len(part.Repositories) > size {
			e.t.Fatalf("a page of %d has %d", size, len(part.Repositories))
		}
		all = append(all, part.Repositories...)
		path, _, _ = strings.Cut(strings.TrimPrefix(answer.Header.Get("Link"), "<"), ">")
	}
	return all
}

// Reviews of namespaces are remembered for a minute, and a page needs none beyond what it
// shows.
func TestCatalogReviews(t *testing.T) {
	e := startFollowing(t)
	for namespace := range 100 {
		e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("ns%03d", namespace), Name: "app"}})
	}
	e.eventually("all streams are known", func() bool {
		names, err := e.registry.Streams.Names(t.Context())
		return err == nil && len(names.After("", 1000)) == 100
	})
	e.reviewer.AddToken("none-token", auth.Identity{Username: "none"})
	reviews := func(path string) int {
		before := len(e.reviewer.AccessReviews())
		e.do(call{method: "GET", path: path, token: "none-token"}).want(200)
		return len(e.reviewer.AccessReviews()) - before
	}
	if n := reviews("/v2/_catalog"); n != 101 {
		t.Errorf("%d reviews for 100 namespaces and the cluster", n)
	}
	e.clock.Step(59 * time.Second)
	e.api.Bookmark()
	if n := reviews("/v2/_catalog"); n != 1 {
		t.Errorf("%d reviews before a minute is over, want that of the cluster", n)
	}
	e.reviewer.Allow("none", auth.Attributes{Verb: "list", Group: "image.alauda.io", Resource: "imagestreams", Namespace: "ns005"})
	e.clock.Step(2 * time.Second)
	e.api.Bookmark()
	if n := reviews("/v2/_catalog?n=0"); n > 1 {
		t.Errorf("%d reviews for an empty page", n)
	}
	if n := reviews("/v2/_catalog"); n > 101 {
		t.Errorf("%d reviews after a minute", n)
	}
	e.reviewer.Fail(errors.New("no answer"))
	e.clock.Step(2 * time.Minute)
	e.do(call{method: "GET", path: "/v2/_catalog", token: "none-token"}).want(503, "UNAVAILABLE")
}

// One request for the catalog causes a bounded number of reviews, however many namespaces
// there are in which the caller may see nothing; what he may see is still found.
func TestCatalogOfManyForeignNamespaces(t *testing.T) {
	const namespaces = 2500
	e := startFollowing(t)
	for namespace := range namespaces {
		e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("ns%04d", namespace), Name: "app"}})
	}
	e.eventually("all streams are known", func() bool {
		names, err := e.registry.Streams.Names(t.Context())
		return err == nil && len(names.After("", 2*namespaces)) == namespaces
	})
	e.reviewer.AddToken("few-token", auth.Identity{Username: "few"})
	for _, namespace := range []string{"ns0003", "ns2499"} {
		e.reviewer.Allow("few", auth.Attributes{Verb: "list", Group: "image.alauda.io", Resource: "imagestreams", Namespace: namespace})
	}
	before := len(e.reviewer.AccessReviews())
	e.do(call{method: "GET", path: "/v2/_catalog", token: "few-token"}).want(200)
	if n := len(e.reviewer.AccessReviews()) - before; n > 1001 {
		t.Errorf("%d reviews for one request", n)
	}
	if got, want := e.catalog("few-token", 100), []string{"ns0003/app", "ns2499/app"}; !slices.Equal(got, want) {
		t.Errorf("the catalog is %v, want %v", got, want)
	}
}

// What a stream had by a copied tag is not readable by what the digest cache remembers of
// it, when the stream was deleted outside of this registry or belongs to somebody else now.
func TestDigestCacheEndsWithTheStream(t *testing.T) {
	for name, again := range map[string]bool{"deleted": false, "made again": true} {
		t.Run(name, func(t *testing.T) {
			e := startFollowing(t)
			raw := e.pushImage("team/source", "v1", "secret")
			copied := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "copy"}}
			copied.Status.Tags = []imagev1.NamedTagEventList{{Tag: "v1", Items: []imagev1.TagEvent{{
				Image: digestOf(raw), DockerImageReference: serverAddr + "/team/copy@" + digestOf(raw),
			}}}}
			e.api.AddStream(copied)
			blob := "/v2/team/copy/blobs/" + digestOf([]byte("layer of secret"))
			e.get(blob).want(200)
			e.warm("/v2/team/copy/tags/list")
			before := e.api.Reads()
			e.get(blob).want(200)
			if e.api.Reads() != before {
				t.Fatal("the blob is not remembered")
			}
			e.api.DeleteStream(route.Name{Namespace: "team", Stream: "copy"})
			if again {
				e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "copy"}})
			}
			e.eventually("the blob is unknown", func() bool { return e.get(blob).StatusCode == http.StatusNotFound })
		})
	}
}

// Behaviour 45, from a view.
func TestTagListsFromViews(t *testing.T) {
	e := startFollowing(t)
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}}
	for _, tag := range []string{"b", "a", "B", "v10", "v9", "_", "failed"} {
		list := imagev1.NamedTagEventList{Tag: tag, Items: []imagev1.TagEvent{{Image: digestOf([]byte(tag))}}}
		if tag == "failed" {
			list.Items = nil
		}
		stream.Status.Tags = append(stream.Status.Tags, list)
	}
	e.api.AddStream(stream)
	e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "empty"}})
	for query, want := range map[string]string{
		"": "B _ a b v10 v9", "?n=2": "B _ >_", "?n=2&last=_": "a b >b", "?n=2&last=b": "v10 v9", "?n=6": "B _ a b v10 v9",
		"?n=0": "", "?n=99999999999999999999": "B _ a b v10 v9", "?last=v9": "", "?last=nothing": "v10 v9",
	} {
		answer := e.get("/v2/team/app/tags/list" + query).want(200)
		var list struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(answer.body, &list); err != nil || list.Tags == nil || list.Name != "team/app" {
			t.Errorf("%q: %s", query, answer.body)
		}
		got := strings.Join(list.Tags, " ")
		if link := answer.Header.Get("Link"); link != "" {
			_, last, _ := strings.Cut(link, "last=")
			last, _, _ = strings.Cut(last, "&")
			got += " >" + last
		}
		if got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?n=-1", "?n=x"} {
		e.get("/v2/team/app/tags/list"+query).want(400, "PAGINATION_NUMBER_INVALID")
	}
	if body := strings.TrimSpace(string(e.get("/v2/team/empty/tags/list").want(200).body)); !strings.Contains(body, `"tags":[]`) {
		t.Errorf("a stream without tags: %s", body)
	}
	e.get("/v2/team/nothing/tags/list").want(404, "NAME_UNKNOWN")
}

// fill adds a stream with 10,000 tags and 20,000 others.
func (e *env) fill() {
	stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "large"}}
	for i := range 10000 {
		d := digestOf([]byte(fmt.Sprint(i)))
		stream.Status.Tags = append(stream.Status.Tags, imagev1.NamedTagEventList{Tag: fmt.Sprintf("v%05d", i), Items: []imagev1.TagEvent{{
			Image: d, DockerImageReference: serverAddr + "/team/large@" + d,
		}}})
	}
	e.api.AddStream(stream)
	for i := range 20000 {
		e.api.AddStream(&imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprintf("ns%04d", i/10), Name: fmt.Sprint("app", i)}})
	}
	e.reviewer.Allow("dev", auth.Attributes{Verb: "list", Group: "image.alauda.io", Resource: "imagestreams"})
	e.eventually("all streams are known", func() bool {
		names, err := e.registry.Streams.Names(e.t.Context())
		return err == nil && len(names.After("", 1<<20)) == 20001
	})
}

// The budget is a p99 of 50 ms, which the log shows and the benchmark holds. What keeps it is that answers
// come from what the registry has in memory: a list that asks the API again takes a second.
func TestLargeListsComeFromMemory(t *testing.T) {
	e := startFollowing(t)
	e.fill()
	for _, path := range []string{"/v2/team/large/tags/list", "/v2/_catalog?n=1000&last=ns1000", "/v2/team/large/manifests/missing"} {
		e.get(path)
		before := e.api.Calls("Stream")
		var times []time.Duration
		for range 50 {
			begin := time.Now()
			if answer := e.get(path); answer.StatusCode != http.StatusOK && !strings.HasSuffix(path, "missing") {
				t.Fatalf("%s: %d", path, answer.StatusCode)
			}
			times = append(times, time.Since(begin))
		}
		slices.Sort(times)
		t.Logf("%s: median %s, slowest %s", path, times[25], times[49])
		if n := e.api.Calls("Stream") - before; n > 0 && !strings.HasSuffix(path, "missing") {
			t.Errorf("%s: the stream was read %d times for %d answers", path, n, len(times))
		}
	}
	if size := e.registry.Streams.Bytes(); size < 1<<20 || size > 16<<20 {
		t.Errorf("10,000 tags are estimated at %d bytes", size)
	}
	if _, _, err := e.registry.Streams.View(t.Context(), route.Name{Namespace: "team", Stream: "large"}); err != nil {
		t.Error(err)
	}
}
