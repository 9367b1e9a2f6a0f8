package conformance

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// A head without end is refused after 64 KiB, and the server serves on.
func TestHeaderAndURLFloods(t *testing.T) {
	s := serve(t, false)
	for name, head := range map[string]string{
		"one header":   "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Flood: " + strings.Repeat("x", 128<<10) + "\r\n\r\n",
		"many headers": "GET /v2/ HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Flood: x\r\n", 12<<10) + "\r\n",
		"the path":     "GET /v2/" + strings.Repeat("x", 128<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if line := s.raw(t, head); !strings.HasPrefix(line, "HTTP/1.1 431") {
			t.Errorf("%s: %q", name, line)
		}
	}
	location := s.startUpload()
	plain, _, _ := strings.Cut(location, "?")
	s.do(call{method: "PATCH", path: plain + "?_state=" + strings.Repeat("A", 4<<10+1), body: []byte("x")}).want(404, "BLOB_UPLOAD_INVALID")
	s.do(call{method: "PATCH", path: location + strings.Repeat("A", 8<<10), body: []byte("x")}).want(404, "BLOB_UPLOAD_INVALID")
	s.get("/v2/team/"+strings.Repeat("x", 5000)+"/tags/list").want(400, "NAME_INVALID")
	s.do(call{method: "PATCH", path: location, body: []byte("x")}).want(202)
}

// raw sends bytes and returns the first line of the answer.
func (s *served) raw(t *testing.T, head string) string {
	t.Helper()
	connection, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close() //nolint:errcheck // the answer was read
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(connection, head) // the server may end the connection before it has read all
	line, _ := bufio.NewReader(connection).ReadString('\n')
	return line
}

// Who asks before he sends his body is refused without sending it: no "100 Continue" comes first.
func TestRefusalsComeBeforeTheBody(t *testing.T) {
	s := serve(t, false)
	ask := func(method, path, token, length string) string {
		return s.raw(t, method+" "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nContent-Type: "+ociManifest+
			"\r\nContent-Length: "+length+"\r\nExpect: 100-continue\r\n\r\n")
	}
	location := s.startUpload()
	for name, test := range map[string][5]string{
		"no such user":            {"PUT", "/v2/team/app/manifests/v1", "bad", "100", "401"},
		"another tenant":          {"PUT", "/v2/team/app/manifests/v1", otherToken, "100", "403"},
		"another tenant's upload": {"PATCH", location, otherToken, "100", "403"},
		"no such upload":          {"PATCH", "/v2/team/app/blobs/uploads/123e4567-e89b-42d3-a456-426614174000", devToken, "100", "404"},
		"a manifest too large":    {"PUT", "/v2/team/app/manifests/v1", devToken, "5000000", "413"},
		"a bad name":              {"PUT", "/v2/app/manifests/v1", devToken, "100", "400"},
		"nothing wrong":           {"PATCH", location, devToken, "100", "100"},
	} {
		eventually(t, "the only slot is free", func() bool { return serving() == 0 })
		if line := ask(test[0], test[1], test[2], test[3]); !strings.HasPrefix(line, "HTTP/1.1 "+test[4]) {
			t.Errorf("%s: %q, want %s", name, line, test[4])
		}
	}
	eventually(t, "no goroutine is left", func() bool { return serving() == 0 })
	result, source := s.upload(s.startUpload())
	send(t, source, "x")
	eventually(t, "the only slot is taken", func() bool { return serving() == 1 })
	if line := ask("PATCH", location, devToken, "100"); !strings.HasPrefix(line, "HTTP/1.1 429") && serving() > 0 {
		t.Errorf("without a slot: %q", line)
	}
	_ = source.Close()
	<-result
}

// What paths and parameters could smuggle in.
func TestSmuggledNames(t *testing.T) {
	e := start(t)
	e.pushImage(repo, "v1", "x")
	d := digestOf([]byte("layer of x"))
	for _, path := range []string{
		"/v2/team%2Fapp/manifests/v1", "/v2/team%2fapp/tags/list", "/v2/team/app%2Fx/blobs/" + d, "/v2/team/../team/app/tags/list",
		"/v2/team/%2e%2e/app/tags/list", "/v2/team/./tags/list", "/v2//team/app/tags/list", "/v2/team/app//manifests/v1", "/v2/TEAM/app/tags/list",
		"/v2/team/äpp/tags/list", "/v2/team/app%00/tags/list", "/v2/team/app%5c/tags/list", "/v2/team/app%20/tags/list", "/v2/team/app/x/tags/list",
	} {
		e.get(path).want(400, "NAME_INVALID")
	}
	for _, tag := range []string{"..", ".", "-x", "v1%00", "v1%20", "v1%5c..", "%2e%2e", strings.Repeat("x", 129)} {
		if answer := e.get("/v2/team/app/manifests/" + tag); answer.StatusCode != 400 {
			t.Errorf("tag %q: %d", tag, answer.StatusCode)
		}
	}
	for _, bad := range []string{"sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("a", 63), "sha1:" + strings.Repeat("a", 40), "SHA256:" + strings.Repeat("a", 64)} {
		for _, noun := range []string{"manifests/", "blobs/", "referrers/"} {
			if answer := e.get("/v2/team/app/" + noun + bad); answer.StatusCode != 400 {
				t.Errorf("%s%s: %d", noun, bad, answer.StatusCode)
			}
		}
	}
	other := digestOf([]byte("other"))
	content := []byte("content")
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content) + "&digest=" + other, body: content}).want(400, "DIGEST_INVALID")
	e.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content) + "&digest=" + digestOf(content), body: content}).want(201)
	// Parameters in a body are content.
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	e.do(call{method: "PUT", path: e.startUpload(), body: []byte("digest=" + other), header: form}).want(400, "DIGEST_INVALID")
}

// Documents that cost more to read than to send.
func TestExpensiveDocuments(t *testing.T) {
	e := start(t)
	e.pushBlob(repo, []byte("{}"))
	config := descriptor(ociConfig, []byte("{}"))
	children := func(n int) []byte {
		entry := descriptor(ociManifest, []byte("nobody has this"))
		return []byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + `]}`)
	}
	e.putManifest(repo, "many", children(10000), ociIndex).want(201)
	e.putManifest(repo, "more", children(10001), ociIndex).want(400, "MANIFEST_INVALID")
	for name, document := range map[string]string{
		"deep unknown member": `{"schemaVersion":2,"config":` + config + `,"layers":[],"x":` + strings.Repeat("[", 2<<20),
		"deep and closed":     `{"schemaVersion":2,"config":` + config + `,"layers":[],"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`,
		"deep objects":        strings.Repeat(`{"a":`, 500000),
		"deep in a layer":     `{"schemaVersion":2,"config":` + config + `,"layers":[{"digest":` + strings.Repeat("[", 1<<20),
		"only brackets":       strings.Repeat("[", 4<<20),
		"only quotes":         strings.Repeat(`"`, 4<<20),
		"zeros":               strings.Repeat("\x00", 1<<20),
		"a long number":       `{"schemaVersion":` + strings.Repeat("2", 1<<20) + `}`,
	} {
		if answer := e.putManifest(repo, "v1", []byte(document), ociManifest); answer.StatusCode != 400 {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
	}
	e.get("/v2/team/app/manifests/v1").want(404)
}

// A clock that jumps makes nothing old, in neither direction: ages are differences of times of
// the storage.
func TestClockThatJumps(t *testing.T) {
	storage := newAging()
	e := startOn(t, storage)
	stray := "/v2/team/app/blobs/" + e.pushBlob(repo, []byte("stray"))
	location := e.startUpload()
	prune := call{method: "DELETE", path: stray, token: prunerToken}
	for _, jump := range []time.Duration{-48 * time.Hour, 24 * time.Hour, 48 * time.Hour} {
		e.clock.Step(jump)
		e.do(prune).want(405, "UNSUPPORTED")
		e.get(stray).want(200)
		location = e.do(call{method: "PATCH", path: location, body: []byte("x")}).want(202).Header.Get("Location")
	}
	storage.by.Store(int64(11 * time.Minute))
	e.do(prune).want(202)
	e.do(call{method: "PUT", path: location + "&digest=" + digestOf([]byte("xxx"))}).want(201)
}

// fullDisk is a storage whose writes fail with an error of the system.
type fullDisk struct {
	driver.StorageDriver
	cause atomic.Pointer[syscall.Errno]
}

func (f *fullDisk) err() error {
	if cause := f.cause.Load(); cause != nil {
		return driver.Error{DriverName: "test", Detail: *cause}
	}
	return nil
}

func (f *fullDisk) PutContent(ctx context.Context, path string, content []byte) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.StorageDriver.PutContent(ctx, path, content)
}

func (f *fullDisk) Move(ctx context.Context, from, to string) error {
	if err := f.err(); err != nil {
		return err
	}
	return f.StorageDriver.Move(ctx, from, to)
}

func (f *fullDisk) Writer(ctx context.Context, path string, appended bool) (driver.FileWriter, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	writer, err := f.StorageDriver.Writer(ctx, path, appended)
	return &fullWriter{writer, f}, err
}

type fullWriter struct {
	driver.FileWriter
	storage *fullDisk
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if err := w.storage.err(); err != nil {
		return 0, err
	}
	return w.FileWriter.Write(p)
}

// Behaviour 97: with a full disk, and with one that became read-only, every write says so and can be tried again; what
// is there can be pulled. Nothing half-written is readable, and the same push works when there is room.
func TestFullAndReadOnlyDisk(t *testing.T) {
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT} {
		t.Run(cause.Error(), func(t *testing.T) {
			storage := &fullDisk{StorageDriver: inmemory.New()}
			e := startOn(t, storage)
			raw := e.pushImage(repo, "v1", "x")
			next := e.image(repo, "next")
			location := e.startUpload()
			content := []byte("no room for this")
			storage.cause.Store(&cause)
			writes := []call{
				{method: "POST", path: "/v2/team/app/blobs/uploads/"},
				{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content), body: content},
				{method: "PATCH", path: location, body: content},
				{method: "PUT", path: location + "&digest=" + digestOf(content), body: content},
				{method: "PUT", path: "/v2/team/app/manifests/v2", body: next, header: map[string]string{"Content-Type": ociManifest}},
			}
			for _, write := range writes {
				answer := e.do(write)
				if answer.StatusCode == 404 && write.method == "PUT" {
					continue // the upload was ended by what came before
				}
				answer.want(503, "UNAVAILABLE").header("Retry-After", "5")
				if !strings.Contains(answer.message(), "full or takes no writes") || bytes.Contains(answer.body, []byte(storage.Name())) {
					t.Errorf("%s %s: message %q", write.method, write.path, answer.message())
				}
			}
			e.get("/v2/team/app/manifests/v1").want(200)
			e.get("/v2/team/app/manifests/" + digestOf(raw)).want(200)
			e.get("/v2/team/app/blobs/" + digestOf([]byte("layer of x"))).want(200)
			e.get("/v2/team/app/blobs/" + digestOf(content)).want(404)
			e.get("/v2/team/app/manifests/v2").want(404)
			storage.cause.Store(nil)
			e.pushBlob(repo, content)
			e.putManifest(repo, "v2", next, ociManifest).want(201)
		})
	}
}

// Every error is one JSON document with its type and length, and none for HEAD.
//
// Behaviour 4.
func TestFormOfErrors(t *testing.T) {
	e := start(t)
	none := digestOf(nil)
	for _, path := range []string{"/v2/a/tags/list", "/v2/team/app/manifests/v1", "/v2/team/app/manifests/" + none, "/v2/team/app/blobs/" + none,
		"/v2/team/app/blobs/x", "/v2/team/app/x", "/x", "/v2/team/app/blobs/uploads/x", "/v2/team/app/referrers/x"} {
		for _, token := range []string{"", "none", "bad"} {
			answer := e.do(call{method: "GET", path: path, token: token}).header("Content-Type", "application/json")
			head := e.do(call{method: "HEAD", path: path, token: token})
			if answer.StatusCode < 400 || len(answer.codes()) == 0 || answer.message() == "" {
				t.Errorf("%s as %q: status %d, body %s", path, token, answer.StatusCode, answer.body)
			}
			if head.StatusCode != answer.StatusCode || len(head.body) != 0 {
				t.Errorf("HEAD %s as %q: status %d and %d bytes, GET has %d", path, token, head.StatusCode, len(head.body), answer.StatusCode)
			}
		}
	}
	if answer := e.do(call{method: http.MethodTrace, path: "/v2/"}); answer.StatusCode != 405 || answer.Header.Get("Allow") == "" {
		t.Errorf("TRACE: %d, Allow %q", answer.StatusCode, answer.Header.Get("Allow"))
	}
}
