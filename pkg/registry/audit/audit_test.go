package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/route"
)

const image = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var (
	repository = route.Name{Namespace: "team", Stream: "app"}
	now        = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
)

func exchange(kind route.Kind, method string, status int) Exchange {
	return Exchange{
		ID: "id", Caller: Caller{User: "jane", UID: "u", Groups: []string{"dev"}, Remote: "192.0.2.1"}, Credentials: true,
		Route: route.Route{Kind: kind, Name: repository}, Method: method, Outcome: Outcome{Status: status},
	}
}

// Behaviour 95.
func TestWhatIsWrittenDown(t *testing.T) {
	tag := func(e Exchange) Exchange { e.Route.Tag, e.Outcome.Digest = "v1", image; return e }
	digest := func(e Exchange) Exchange { e.Route.Digest = image; return e }
	finish := func(e Exchange) Exchange { e.Upload.Digest = image; return e }
	mount := func(e Exchange) Exchange { e.Upload.Mount, e.Upload.From = image, "other/app"; return e }
	stranger := func(e Exchange) Exchange { e.Credentials, e.Caller = false, Caller{}; return e }
	for what, test := range map[string]struct {
		exchange Exchange
		want     string
	}{
		"push by tag":              {tag(exchange(route.Manifest, "PUT", 201)), "push-manifest v1 " + image + " success"},
		"push by digest":           {digest(exchange(route.Manifest, "PUT", 201)), "push-manifest  " + image + " success"},
		"pull by tag":              {tag(exchange(route.Manifest, "GET", 200)), "pull-manifest v1 " + image + " success"},
		"pull, not changed":        {digest(exchange(route.Manifest, "GET", 304)), "pull-manifest  " + image + " success"},
		"look at a manifest":       {tag(exchange(route.Manifest, "HEAD", 200)), ""},
		"look, denied":             {tag(exchange(route.Manifest, "HEAD", 403)), "pull-manifest v1 " + image + " error"},
		"pull of what is not":      {digest(exchange(route.Manifest, "GET", 404)), "pull-manifest  " + image + " error"},
		"delete of a tag":          {tag(exchange(route.Manifest, "DELETE", 202)), "delete-tag v1 " + image + " success"},
		"delete of a digest":       {digest(exchange(route.Manifest, "DELETE", 202)), "delete-manifest  " + image + " success"},
		"blob":                     {digest(exchange(route.Blob, "GET", 200)), "pull-blob  " + image + " success"},
		"blob, redirected":         {digest(exchange(route.Blob, "GET", 307)), "pull-blob  " + image + " success"},
		"blob, client gone":        {digest(exchange(route.Blob, "GET", 499)), "pull-blob  " + image + " error"},
		"blob exists":              {digest(exchange(route.Blob, "HEAD", 200)), ""},
		"delete of a blob":         {digest(exchange(route.Blob, "DELETE", 405)), "delete-blob  " + image + " error"},
		"upload begins":            {exchange(route.UploadStart, "POST", 202), ""},
		"upload in one":            {finish(exchange(route.UploadStart, "POST", 201)), "push-blob  " + image + " success"},
		"upload in one, wrong":     {finish(exchange(route.UploadStart, "POST", 400)), "push-blob  " + image + " error"},
		"upload denied":            {exchange(route.UploadStart, "POST", 403), "push-blob   error"},
		"upload goes on":           {exchange(route.Upload, "PATCH", 202), ""},
		"upload ends":              {finish(exchange(route.Upload, "PUT", 201)), "push-blob  " + image + " success"},
		"upload fails":             {finish(exchange(route.Upload, "PUT", 503)), "push-blob  " + image + " error"},
		"mount":                    {mount(exchange(route.UploadStart, "POST", 201)), "mount-blob  " + image + " success"},
		"mount becomes an upload":  {mount(exchange(route.UploadStart, "POST", 202)), ""},
		"signature":                {digest(exchange(route.Signatures, "PUT", 201)), "write-signature  " + image + " success"},
		"signatures are read":      {digest(exchange(route.Signatures, "GET", 200)), ""},
		"signatures, denied":       {digest(exchange(route.Signatures, "GET", 403)), "read-signatures  " + image + " error"},
		"admin delete":             {digest(exchange(route.AdminBlob, "DELETE", 204)), "admin-delete-blob  " + image + " success"},
		"collection":               {exchange(route.AdminGC, "POST", 202), "admin-collect   success"},
		"collection, denied":       {exchange(route.AdminGC, "POST", 403), "admin-collect   error"},
		"its report":               {exchange(route.AdminGCReport, "GET", 200), ""},
		"catalog":                  {exchange(route.Catalog, "GET", 200), ""},
		"catalog, denied":          {exchange(route.Catalog, "GET", 403), "list-repositories   error"},
		"tags, bad token":          {exchange(route.Tags, "GET", 401), "list-tags   error"},
		"referrers, denied":        {exchange(route.Referrers, "GET", 403), "list-referrers   error"},
		"login":                    {exchange(route.Token, "GET", 200), ""},
		"login, bad token":         {exchange(route.Token, "GET", 401), "login   error"},
		"metrics, denied":          {exchange(route.Metrics, "GET", 403), "read-metrics   error"},
		"the first word of any":    {stranger(exchange(route.Base, "GET", 401)), ""},
		"pull without credentials": {stranger(digest(exchange(route.Blob, "GET", 401))), ""},
		"health":                   {exchange(route.Ready, "GET", 200), ""},
		"no route":                 {exchange(route.Unknown, "GET", 404), ""},
	} {
		got := ""
		for _, record := range Records(test.exchange, now) {
			got += strings.Join([]string{string(record.Operation), record.Tag, record.Digest, record.Result}, " ")
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", what, got, test.want)
		}
	}
}

// Behaviour 95.
func TestAPushThatMadeItsStreamIsTwoRecords(t *testing.T) {
	e := exchange(route.Manifest, "PUT", 503)
	e.Route.Tag, e.Outcome.CreatedStream, e.Outcome.Code, e.Outcome.Message = "v1", true, "UNAVAILABLE", "try again"
	records := Records(e, now)
	if len(records) != 2 || records[0].Operation != CreateStream || records[0].Result != Success || records[0].Code != "" || records[0].Tag != "" ||
		records[1].Operation != PushManifest || records[1].Result != Failure || records[1].Code != "UNAVAILABLE" {
		t.Errorf("%+v", records)
	}
}

// Behaviour 95.
func TestFormOfALine(t *testing.T) {
	var out bytes.Buffer
	l, err := Open(Options{Out: &out, Now: func() time.Time { return now }, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	e := exchange(route.UploadStart, "POST", 201)
	e.Upload = Upload{Mount: image, From: "other/app"}
	l.Log(e)
	e = exchange(route.Manifest, "PUT", 403)
	e.Route.Tag, e.Outcome.Code, e.Outcome.Message = "v1", "DENIED", `user "jane" cannot`
	l.Log(e)
	want := `{"ts":"2026-01-02T03:04:05.000000006Z","audit":true,"request_id":"id","user":"jane","uid":"u","groups":["dev"],"remote":"192.0.2.1","operation":"mount-blob","repo":"team/app","digest":"` + image + `","from":"other/app","result":"success"}
{"ts":"2026-01-02T03:04:05.000000006Z","audit":true,"request_id":"id","user":"jane","uid":"u","groups":["dev"],"remote":"192.0.2.1","operation":"push-manifest","repo":"team/app","tag":"v1","result":"error","error":"user \"jane\" cannot","code":"DENIED"}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestFileIsPrivateAppendedToAndFollowed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	options := Options{Path: path, Now: time.Now, Failed: func(err error) { t.Error(err) }}
	write := func(l *Logger, n int) {
		var group sync.WaitGroup
		for range n {
			group.Go(func() { l.Log(exchange(route.AdminGC, "POST", 202)) })
		}
		group.Wait()
	}
	lines := func(path string) int {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("broken line %q", line)
			}
		}
		return strings.Count(string(raw), "\n")
	}
	for _, want := range []int{20, 40} {
		l, err := Open(options)
		if err != nil {
			t.Fatal(err)
		}
		write(l, 20)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if got := lines(path); got != want {
			t.Errorf("%d lines, want %d", got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	l, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's file
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(l, 3)
	if old, fresh := lines(path+".1"), lines(path); old != 40 || fresh != 3 {
		t.Errorf("%d lines in the old file and %d in the new one, want 40 and 3", old, fresh)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestALostLineIsReported(t *testing.T) {
	var told []string
	l, err := Open(Options{Out: broken{}, Now: time.Now, Failed: func(err error) { told = append(told, err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	l.Log(exchange(route.AdminGC, "POST", 202))
	if !slices.Equal(told, []string{"audit log: no space"}) {
		t.Errorf("told %q", told)
	}
	if _, err := Open(Options{Path: filepath.Join(t.TempDir(), "no", "such"), Now: time.Now, Failed: func(error) {}}); err == nil {
		t.Error("a path that cannot be opened was accepted")
	}
	var none *Logger
	none.Log(exchange(route.AdminGC, "POST", 202))
	if err := errors.Join(none.Close()); err != nil {
		t.Error(err)
	}
}

// full is a file whose disk has room for some bytes only.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(f.room, len(p))
	f.room -= n
	f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space")
	}
	return n, nil
}

func TestALineAfterATornOneIsWhole(t *testing.T) {
	out, told := &full{room: 60}, 0
	l, err := Open(Options{Out: out, Now: time.Now, Failed: func(error) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	l.Log(exchange(route.AdminGC, "POST", 202))
	l.Log(exchange(route.AdminGC, "POST", 202))
	out.room = 10000
	l.Log(exchange(route.AdminGC, "POST", 202))
	l.Log(exchange(route.AdminGC, "POST", 202))
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || told != 2 || !json.Valid([]byte(lines[1])) || !json.Valid([]byte(lines[2])) {
		t.Errorf("told %d times, lines %q", told, lines)
	}
}

func TestAFileThatCannotBeOpenedAnewIsWrittenOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var told []error
	l, err := Open(Options{Path: filepath.Join(dir, "audit.log"), Now: time.Now, Failed: func(err error) { told = append(told, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's file
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	l.Log(exchange(route.AdminGC, "POST", 202))
	raw, err := os.ReadFile(filepath.Join(dir+".old", "audit.log"))
	if err != nil || bytes.Count(raw, []byte("\n")) != 1 || len(told) != 1 {
		t.Errorf("old file %q, %v; told %v", raw, err, told)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.Log(exchange(route.AdminGC, "POST", 202))
	if raw, err := os.ReadFile(filepath.Join(dir, "audit.log")); err != nil || bytes.Count(raw, []byte("\n")) != 1 || len(told) != 1 {
		t.Errorf("new file %q, %v; told %v", raw, err, told)
	}
}

// What a client names cannot make a second line, or a member of the record.
func TestNothingGetsOutOfItsMember(t *testing.T) {
	var out bytes.Buffer
	l, err := Open(Options{Out: &out, Now: time.Now, Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	evil := "x\n{\"audit\":true}\r\u2028\",\"user\":\"root\xff\x00\x1b[2J"
	e := exchange(route.UploadStart, "POST", 201)
	e.Caller = Caller{User: evil, UID: evil, Groups: []string{evil}, Remote: evil}
	e.Upload = Upload{Digest: evil, Mount: evil, From: evil}
	e.Outcome.Code, e.Outcome.Message, e.Outcome.Digest = evil, evil, evil
	l.Log(e)
	var record map[string]any
	if strings.Count(out.String(), "\n") != 1 || strings.ContainsAny(out.String(), "\r\x1b\x00") || json.Unmarshal(out.Bytes(), &record) != nil || !strings.HasPrefix(record["user"].(string), "x\n{") {
		t.Errorf("written %q", out.String())
	}
}
