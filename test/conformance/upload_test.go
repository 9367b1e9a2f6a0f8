package conformance

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

const repo = "team/app"

func (e *env) startUpload() string {
	e.t.Helper()
	answer := e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202)
	answer.header("Range", "0-0").header("Content-Length", "0")
	if answer.Header.Get("Docker-Upload-UUID") == "" {
		e.t.Error("no Docker-Upload-UUID")
	}
	location := answer.Header.Get("Location")
	if !strings.HasPrefix(location, "/v2/team/app/blobs/uploads/") {
		e.t.Errorf("Location %q is not relative", location)
	}
	return location
}

// Behaviours 5, 8, 10 and 18.
func TestEveryFormOfUpload(t *testing.T) {
	e := start(t)
	content := bytes.Repeat([]byte("0123456789"), 1000)
	forms := map[string]func(content []byte, digest string){
		"POST and PUT": func(content []byte, digest string) {
			e.do(call{method: "PUT", path: e.startUpload() + "&digest=" + digest, body: content}).want(201).header("Docker-Content-Digest", digest).header("Location", "/v2/team/app/blobs/"+digest)
		},
		"POST, PATCH and PUT": func(content []byte, digest string) {
			answer := e.do(call{method: "PATCH", path: e.startUpload(), body: content}).want(202)
			answer.header("Range", fmt.Sprintf("0-%d", max(len(content)-1, 0)))
			e.do(call{method: "PUT", path: answer.Header.Get("Location") + "&digest=" + digest}).want(201)
		},
		"streamed PATCH": func(content []byte, digest string) {
			answer := e.do(call{method: "PATCH", path: e.startUpload(), body: content, stream: true}).want(202)
			e.do(call{method: "PUT", path: answer.Header.Get("Location") + "&digest=" + digest}).want(201)
		},
		"chunks with the last one in PUT": func(content []byte, digest string) {
			if len(content) < 3 {
				e.pushBlob(repo, content) // there is nothing to cut
				return
			}
			half := len(content) / 2
			answer := e.do(call{method: "PATCH", path: e.startUpload(), body: content[:half], header: map[string]string{"Content-Range": fmt.Sprintf("0-%d", half-1)}}).want(202)
			e.do(call{method: "PUT", path: answer.Header.Get("Location") + "&digest=" + digest, body: content[half:], header: map[string]string{"Content-Range": fmt.Sprintf("bytes %d-%d", half, len(content)-1)}}).want(201)
		},
		"single POST": func(content []byte, digest string) {
			e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digest, body: content}).want(201)
		},
		"form content type": func(content []byte, digest string) {
			e.do(call{method: "PUT", path: e.startUpload() + "&digest=" + digest, body: content, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}).want(201)
		},
	}
	for name, upload := range forms {
		for _, size := range []int{0, 1, len(content)} {
			t.Run(fmt.Sprintf("%s of %d bytes", name, size), func(t *testing.T) {
				own := append([]byte(nil), content[:size]...)
				if size > 1 {
					own = append(own, name...)
				}
				digest := digestOf(own)
				upload(own, digest)
				answer := e.get("/v2/team/app/blobs/" + digest).want(200)
				if !bytes.Equal(answer.body, own) {
					t.Errorf("got %d bytes, want %d", len(answer.body), len(own))
				}
			})
		}
	}
}

// Behaviour 6.
func TestChunksOutOfOrder(t *testing.T) {
	e := start(t)
	location := e.startUpload()
	first := e.do(call{method: "PATCH", path: location, body: []byte("hello"), header: map[string]string{"Content-Range": "0-4"}}).want(202)
	location = first.Header.Get("Location")
	for _, bad := range []string{"0-4", "3-7", "9-13", "5-3", "x-y", "5"} {
		answer := e.do(call{method: "PATCH", path: location, body: []byte("world"), header: map[string]string{"Content-Range": bad}})
		answer.want(416, "RANGE_INVALID")
		answer.header("Range", "0-4")
		if answer.Header.Get("Location") == "" {
			t.Errorf("%s: 416 without Location", bad)
		}
	}
	e.do(call{method: "PATCH", path: location, body: []byte("world"), header: map[string]string{"Content-Range": "5-7"}}).want(400, "SIZE_INVALID")
	plain, _, _ := strings.Cut(location, "?")
	status := e.get(plain).want(204).header("Range", "0-4")
	digest := digestOf([]byte("helloworld"))
	e.do(call{method: "PUT", path: status.Header.Get("Location") + "&digest=" + digest, body: []byte("world")}).want(201)
	e.head("/v2/team/app/blobs/"+digest).want(200).header("Content-Length", "10")
}

// Behaviour 7.
func TestWrongDigestEndsTheSession(t *testing.T) {
	e := start(t)
	location := e.startUpload()
	wrong := digestOf([]byte("other"))
	e.do(call{method: "PUT", path: location + "&digest=" + wrong, body: []byte("content")}).want(400, "DIGEST_INVALID")
	e.get(location).want(404, "BLOB_UPLOAD_UNKNOWN")
	e.get("/v2/team/app/blobs/"+wrong).want(404, "BLOB_UNKNOWN")
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + wrong, body: []byte("content")}).want(400, "DIGEST_INVALID")

	location = e.startUpload()
	e.do(call{method: "PUT", path: location, body: []byte("content")}).want(400, "DIGEST_INVALID")
	e.do(call{method: "PUT", path: location + "&digest=sha256:x", body: []byte("content")}).want(400, "DIGEST_INVALID")
	e.do(call{method: "PUT", path: location + "&digest=" + wrong + "&digest=" + digestOf(nil), body: []byte("content")}).want(400, "DIGEST_INVALID")
	e.do(call{method: "PUT", path: location + "&digest=" + digestOf([]byte("content")), body: []byte("content")}).want(201)
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + wrong, body: []byte{}}).want(202)
}

// Behaviour 9.
func TestSHA512Blob(t *testing.T) {
	e := start(t)
	content := []byte("hashed by another algorithm")
	sum := sha512.Sum512(content)
	digest := "sha512:" + hex.EncodeToString(sum[:])
	e.do(call{method: "PUT", path: e.startUpload() + "&digest=" + digest, body: content}).want(201).header("Docker-Content-Digest", digest)
	e.head("/v2/team/app/blobs/"+digest).want(200).header("Docker-Content-Digest", digest)
	e.get("/v2/team/app/blobs/"+digest, "Range", "bytes=7-8").want(206).header("Content-Range", fmt.Sprintf("bytes 7-8/%d", len(content)))
	e.get("/v2/team/app/blobs/" + digestOf(content)).want(200)
	e.remove("/v2/team/app/blobs/" + digest).want(202)
	e.head("/v2/team/app/blobs/" + digest).want(404)
}

// Behaviours 11 and 12.
func TestStateTokens(t *testing.T) {
	storage := inmemory.New()
	a, b := startOn(t, storage), startOn(t, storage)
	foreign := startOn(t, storage, "HTTP=of another")
	location, another := a.startUpload(), a.startUpload()
	path, state, _ := strings.Cut(location, "?")
	_, otherState, _ := strings.Cut(another, "?")
	for name, bad := range map[string]string{
		"another upload":     path + "?" + otherState,
		"another repository": strings.Replace(location, "team/app", "team/other", 1),
		"tampered":           location[:len(location)-2] + "xx",
		"none":               path,
	} {
		answer := a.do(call{method: "PATCH", path: bad, body: []byte("x")})
		if answer.StatusCode != 404 || answer.codes()[0] != "BLOB_UPLOAD_INVALID" {
			t.Errorf("%s: %d %s", name, answer.StatusCode, answer.body)
		}
	}
	answer := foreign.do(call{method: "PATCH", path: path + "?" + state, body: []byte("x")}).want(404, "BLOB_UPLOAD_INVALID")
	if !strings.Contains(answer.message(), "http.secret") {
		t.Errorf("message %q does not hint at http.secret", answer.message())
	}
	next := a.do(call{method: "PATCH", path: location, body: []byte("hello ")}).want(202).Header.Get("Location")
	digest := digestOf([]byte("hello world"))
	b.do(call{method: "PUT", path: next + "&digest=" + digest, body: []byte("world")}).want(201)
	b.get("/v2/team/app/blobs/" + digest).want(200)
}

// Behaviour 14.
func TestParallelUploadsOfOneBlob(t *testing.T) {
	e := start(t)
	content := bytes.Repeat([]byte("x"), 100000)
	digest := digestOf(content)
	statuses := make(chan int, 50)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			statuses <- e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digest, body: content}).StatusCode
		})
	}
	wait.Wait()
	close(statuses)
	for status := range statuses {
		if status != 201 {
			t.Errorf("status %d, want 201", status)
		}
	}
}

// Behaviour 15.
func TestCancel(t *testing.T) {
	e := start(t)
	location := e.startUpload()
	e.remove(location).want(204)
	e.remove(location).want(404, "BLOB_UPLOAD_UNKNOWN")
	e.get(location).want(404, "BLOB_UPLOAD_UNKNOWN")
}

// Behaviour 16.
func TestTruncatedLeftoverIsReplaced(t *testing.T) {
	e := start(t)
	content := []byte("the whole content")
	digest := digestOf(content)
	hexDigest := strings.TrimPrefix(digest, "sha256:")
	path := "/docker/registry/v2/blobs/sha256/" + hexDigest[:2] + "/" + hexDigest + "/data"
	if err := e.driver.PutContent(t.Context(), path, content[:4]); err != nil {
		t.Fatal(err)
	}
	e.pushBlob(repo, content)
	if answer := e.get("/v2/team/app/blobs/" + digest).want(200); !bytes.Equal(answer.body, content) {
		t.Errorf("got %q", answer.body)
	}
}

// Behaviours 19 and 20.
func TestMount(t *testing.T) {
	e := start(t)
	own := e.pushBlob("team/source", []byte("mine"))
	foreign := e.pushBlob("elsewhere/source", []byte("theirs"), otherToken)
	mount := func(digest, from string) *reply {
		return e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?mount=" + digest + "&from=" + from})
	}
	mount(own, "team/source").want(201).header("Docker-Content-Digest", own).header("Location", "/v2/team/app/blobs/"+own)
	if answer := e.get("/v2/team/app/blobs/" + own).want(200); string(answer.body) != "mine" {
		t.Errorf("mounted blob is %q", answer.body)
	}
	mount(foreign, "elsewhere/source").want(202)
	e.get("/v2/team/app/blobs/" + foreign).want(404)
	mount(digestOf([]byte("none")), "team/source").want(202)
	mount("sha256:bad", "team/source").want(202)
	mount(own, "bad").want(202)
	// Without a source the registry tries what it lately saw, but never what is not the caller's.
	mount(own, "").want(201).header("Docker-Content-Digest", own)
	e.get("/v2/elsewhere/source/blobs/"+foreign, "Authorization", "Bearer "+otherToken).want(200)
	mount(foreign, "").want(202)
	e.get("/v2/team/app/blobs/" + foreign).want(404)
}

// Ranges and conditions of blob reads.
func TestBlobReads(t *testing.T) {
	e := start(t)
	content := []byte("0123456789")
	digest := e.pushBlob(repo, content)
	path := "/v2/team/app/blobs/" + digest
	e.head(path).want(200).header("Content-Length", "10").header("Docker-Content-Digest", digest).
		header("ETag", `"`+digest+`"`).header("Accept-Ranges", "bytes").header("Content-Type", "application/octet-stream")
	for _, test := range []struct{ header, body, span string }{
		{"bytes=0-3", "0123", "bytes 0-3/10"}, {"bytes=4-", "456789", "bytes 4-9/10"}, {"bytes=-2", "89", "bytes 8-9/10"},
	} {
		answer := e.get(path, "Range", test.header).want(206).header("Content-Range", test.span)
		if string(answer.body) != test.body {
			t.Errorf("%s: %q, want %q", test.header, answer.body, test.body)
		}
	}
	e.get(path, "Range", "bytes=20-").want(416)
	if answer := e.get(path, "Range", "bytes=0-0,9-9").want(206); !bytes.Contains(answer.body, []byte("Content-Range: bytes 9-9/10")) {
		t.Errorf("multiple ranges: %q", answer.body)
	}
	for _, etag := range []string{`"` + digest + `"`, `W/"` + digest + `"`, digest} {
		e.get(path, "If-None-Match", etag).want(304)
	}
	if answer := e.head("/v2/team/app/blobs/" + digestOf(nil)).want(404); len(answer.body) > 0 {
		t.Errorf("HEAD has a body: %q", answer.body)
	}
}
