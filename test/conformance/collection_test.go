package conformance

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/auth"
	"image.alauda.io/registry/pkg/registry/auth/authtest"
	"image.alauda.io/registry/pkg/registry/gc"
	"image.alauda.io/registry/pkg/registry/purge"

	"go.uber.org/zap"
	"k8s.io/utils/clock"
)

// Behaviour 86: dry run by default, the report on another replica and after the end, the
// second POST, real deletion.
func TestCollectionOnRequest(t *testing.T) {
	a := newSite(t)
	b := a.replica(t)
	kept := a.pushImage("team/app", "v1", "kept")
	lost := a.garbage("team/app", "lost")
	a.age(t)
	hold := make(chan struct{})
	a.metadata.each = func(int) { <-hold }
	started := a.post("").want(202)
	first := reportOf(started)
	if first.State != gc.StateRunning || !first.DryRun || time.Duration(first.MinAge) != 2*time.Hour || first.Phase != gc.PhaseMetadata {
		t.Errorf("first report %s", started.body)
	}
	location := started.Header.Get("Location")
	if location != "/admin/gc/"+first.ID {
		t.Errorf("location %q of %s", location, first.ID)
	}
	for _, replica := range []*site{a, b} {
		second := replica.post(`{"dryRun":false}`).want(409, "UNSUPPORTED").header("Location", location)
		if detail, _ := second.parsed().Errors[0].Detail.(map[string]any); detail["id"] != first.ID {
			t.Errorf("detail %v, want the id %s", second.parsed().Errors[0].Detail, first.ID)
		}
		if report := replica.report(location); report.State != gc.StateRunning {
			t.Errorf("state %s while it runs", report.State)
		}
	}
	close(hold)
	report := b.ended(location)
	if report.State != gc.StateSucceeded || report.CandidateCount != 3 || report.DeletedBlobs != 0 || len(report.Candidates) != 3 || report.TotalBlobs != 6 {
		t.Errorf("dry run: %+v", report)
	}
	if !a.stored(t, lost) {
		t.Error("a dry run removed something")
	}
	again := a.collect(`{"dryRun":false,"minAge":"1h","unknown":[1]}`)
	if again.State != gc.StateSucceeded || again.DeletedBlobs != 3 || again.FreedBytes != report.CandidateBytes || time.Duration(again.MinAge) != time.Hour {
		t.Errorf("real run: %+v", again)
	}
	if a.stored(t, lost) {
		t.Error("the garbage is still there")
	}
	a.pullable(t, "team/app", kept)
	b.do(call{method: "GET", path: location, token: prunerToken}).want(404)
	if late := a.replica(t).report("/admin/gc/" + again.ID); late.DeletedBlobs != 3 {
		t.Errorf("report on a new replica: %+v", late)
	}
}

// Behaviour 86: what a request may say, and who may make it.
func TestCollectionRequestsAreChecked(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{
		"x", "[]", "null", `{"dryRun":1}`, `{"dryRun":"false"}`, `{"minAge":600}`, `{"minAge":"soon"}`, `{"minAge":"-3h"}`,
		`{"minAge":"9m59s"}`, `{"minAge":""}`, `{"allowEmptyMetadata":"yes"}`, `{} {}`, `{"x":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		s.post(body).want(400, "UNSUPPORTED")
	}
	// No spelling but the exact one makes a collection real.
	if report := s.collect(`{"DRYRUN":false,"dryrun":false,"minAge":"10m"}`); !report.DryRun {
		t.Error("another spelling of dryRun ended the dry run")
	}
	pull := authtest.JWT(map[string]any{"aud": "image-registry.alauda.io", "kubernetes.io": map[string]any{"secret": map[string]any{"name": "default-registry-pull"}}})
	s.reviewer.AddToken(pull, auth.Identity{Username: "system:serviceaccount:team:default"}, "image-registry.alauda.io")
	s.reviewer.Allow("system:serviceaccount:team:default", auth.Prune())
	const id = "3c7ad2d2-93e7-4b1b-8e0a-1d1d5f0d8a11"
	for _, c := range []call{
		{method: "POST", path: "/admin/gc"}, {method: "GET", path: "/admin/gc/" + id}, {method: "DELETE", path: "/admin/blobs/" + digestOf(nil)},
	} {
		c.token = devToken
		s.do(c).want(403, "DENIED")
		c.token = "none"
		s.do(c).want(401, "UNAUTHORIZED")
		c.token = pull
		if answer := s.do(c).want(403, "DENIED"); !strings.Contains(answer.message(), "this is a pull credential and cannot ") {
			t.Errorf("%s: %s", answer.name, answer.message())
		}
	}
	for path, allow := range map[string]string{"/admin/gc": "POST", "/admin/gc/" + id: "GET", "/admin/blobs/" + digestOf(nil): "DELETE"} {
		s.do(call{method: "PUT", path: path, token: prunerToken}).want(405, "UNSUPPORTED").header("Allow", allow)
	}
	for _, path := range []string{"/admin/gc/" + id, "/admin/gc/last", "/admin/gc/", "/admin/", "/admin/x", "/admin/gc/" + id + "/x"} {
		s.do(call{method: "GET", path: path, token: prunerToken}).want(404)
	}
}

// Behaviour 86: guards.
func TestCollectionRefusesToGuess(t *testing.T) {
	s := newSite(t)
	raw := s.garbage("team/app", "all there is")
	s.age(t)
	report := s.collect(`{"dryRun":false}`)
	if report.State != gc.StateFailed || report.Phase != gc.PhaseMetadata || report.Message == "" || !s.stored(t, raw) {
		t.Errorf("no image: %+v", report)
	}
	report = s.collect(`{"dryRun":false,"allowEmptyMetadata":true}`)
	if report.State != gc.StateSucceeded || s.stored(t, raw) {
		t.Errorf("no image, allowed: %+v", report)
	}
	raw = s.garbage("team/app", "more")
	s.age(t)
	s.api.Fail(func(name string) error {
		if name == "ImagePages" {
			return fmt.Errorf("no answer")
		}
		return nil
	})
	report = s.collect(`{"dryRun":false,"allowEmptyMetadata":true}`)
	if report.State != gc.StateFailed || !strings.Contains(report.Message, "no answer") || !s.stored(t, raw) {
		t.Errorf("no answer: %+v", report)
	}
}

// Behaviour 86: an Image that comes back between the two lists.
func TestAnImageThatComesBackKeepsItsBlobs(t *testing.T) {
	s := newSite(t)
	s.pushImage("team/app", "v1", "kept")
	raw := s.pushImage("team/app", "v2", "comes back")
	image, err := s.api.Image(t.Context(), digestOf(raw))
	if err != nil {
		t.Fatal(err)
	}
	s.remove("/v2/team/app/manifests/v2").want(202)
	s.api.DeleteImage(image.Name)
	s.age(t)
	s.metadata.each = func(list int) {
		if list == 2 {
			s.api.AddImage(image)
		}
	}
	report := s.collect(`{"dryRun":false}`)
	if report.State != gc.StateSucceeded || report.CandidateCount != 3 || report.DeletedBlobs != 0 || !s.stored(t, raw) {
		t.Errorf("%+v", report)
	}
}

// Behaviours 86 and 88: what works in read-only mode, and that nothing is written.
func TestCollectionInReadOnlyMode(t *testing.T) {
	s := newSite(t)
	s.pushImage("team/app", "v1", "kept")
	lost := s.garbage("team/app", "lost")
	s.age(t)
	frozen := s.replica(t, "READONLY=true")
	before := s.files(t)
	frozen.post(`{"dryRun":false}`).want(405, "UNSUPPORTED")
	frozen.do(call{method: "DELETE", path: "/admin/blobs/" + digestOf(lost), token: prunerToken}).want(405, "UNSUPPORTED")
	if report := frozen.collect("{}"); report.State != gc.StateSucceeded || report.CandidateCount != 3 {
		t.Errorf("dry run: %+v", report)
	}
	if frozen.registry.Purger != nil {
		t.Error("uploads would be purged")
	}
	if after := s.files(t); after != before {
		t.Errorf("the storage changed:\n%s\n%s", before, after)
	}
}

// files lists everything that is stored, with sizes and times.
func (s *site) files(t testing.TB) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(s.directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			fmt.Fprintln(&list, path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

// Behaviour 52.
func TestDeletingABlobFromTheStorage(t *testing.T) {
	s := newSite(t)
	content := []byte("a blob")
	d := s.pushBlob("team/app", content)
	path := "/admin/blobs/" + d
	try := func(query string) *reply {
		return s.do(call{method: "DELETE", path: path + query, token: prunerToken})
	}
	try("").want(409, "UNSUPPORTED")
	try("?force=true").want(409, "UNSUPPORTED")
	try("?force=perhaps").want(400, "UNSUPPORTED")
	s.do(call{method: "DELETE", path: "/admin/blobs/sha512:" + strings.Repeat("a", 128), token: prunerToken}).want(400, "DIGEST_INVALID")
	s.do(call{method: "DELETE", path: "/admin/blobs/sha256:x", token: prunerToken}).want(400, "DIGEST_INVALID")
	for _, constant := range []string{
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4",
		"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
	} {
		s.do(call{method: "DELETE", path: "/admin/blobs/" + constant, token: prunerToken}).want(409, "UNSUPPORTED")
	}
	image := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, content)))
	s.pushBlob("team/app", []byte("{}"))
	for name, rely := range map[string]func(*site){
		"head": func(r *site) { r.head("/v2/team/app/blobs/" + d).want(200) },
		"mount": func(r *site) {
			r.do(call{method: "POST", path: "/v2/team/other/blobs/uploads/?mount=" + d + "&from=team/app"}).want(201)
		},
		"re-upload": func(r *site) { r.pushBlob("team/again", content) },
		"manifest":  func(r *site) { r.putManifest("team/app", "v1", image, ociManifest).want(201) },
	} {
		s.age(t)
		// A replica of its own: each remembers which markers it wrote a short time ago.
		rely(s.replica(t))
		try("").want(409, "UNSUPPORTED")
		try("?force=true").want(409, "UNSUPPORTED")
		if !s.stored(t, content) {
			t.Fatalf("%s did not keep the blob", name)
		}
	}
	s.age(t)
	s.do(call{method: "DELETE", path: path, token: devToken}).want(403, "DENIED")
	var group sync.WaitGroup
	group.Go(func() { try("") })
	group.Go(func() { try("") })
	group.Wait()
	try("").want(204)
	try("").want(204)
	if s.stored(t, content) {
		t.Error("the blob is still there")
	}
	s.head("/v2/team/app/blobs/" + d).want(404)
}

// Behaviour 52: another deletion of the same blob that is under way.
func TestASecondDeletionOfABlobIsRefused(t *testing.T) {
	s := newSite(t)
	d := s.pushBlob("team/app", []byte("a blob"))
	s.age(t)
	marker := filepath.Join(s.directory, "docker/registry/v2/_gc/deleting/sha256", strings.TrimPrefix(d, "sha256:"))
	if err := os.MkdirAll(filepath.Dir(marker), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(marker, []byte("somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := call{method: "DELETE", path: "/admin/blobs/" + d, token: prunerToken}
	s.do(path).want(409, "UNSUPPORTED")
	s.age(t) // that one has died
	s.do(path).want(204)
}

// Behaviour 15: purging. Behaviour 86: two replicas purge about once per interval.
func TestPurgingTakesOldUploadsOnly(t *testing.T) {
	s := newSite(t)
	old := s.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202)
	alive := s.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202)
	past := time.Now().Add(-169 * time.Hour)
	s.date(t, past)
	alive = s.do(call{method: "PATCH", path: alive.Header.Get("Location"), body: []byte("more")}).want(202)
	young := s.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/"}).want(202)

	dry := s.replica(t)
	purger := dry.purger(t, true)
	if result, err := purger.Turn(t.Context()); err != nil || result.Skipped || result.Found != 3 || result.Removed != 0 {
		t.Fatalf("dry run: %+v, %v", result, err)
	}
	s.get(old.Header.Get("Location")).want(204)
	s.date(t, past)
	s.get(old.Header.Get("Location")).want(204)
	for location, content := range map[string]string{alive.Header.Get("Location"): "a", young.Header.Get("Location"): "b"} {
		s.do(call{method: "PATCH", path: location, body: []byte(content)}).want(202)
	}
	if result, err := s.registry.Purger.Turn(t.Context()); err != nil || result.Skipped || result.Found != 3 || result.Removed != 1 {
		t.Fatalf("purge: %+v, %v", result, err)
	}
	s.get(old.Header.Get("Location")).want(404)
	s.get(alive.Header.Get("Location")).want(204)
	s.get(young.Header.Get("Location")).want(204)
	if result, err := s.replica(t).registry.Purger.Turn(t.Context()); err != nil || !result.Skipped {
		t.Fatalf("a second replica: %+v, %v", result, err)
	}
}

// date sets the time of everything that is stored.
func (s *site) date(t testing.TB, at time.Time) {
	t.Helper()
	err := filepath.WalkDir(s.directory, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// purger is the one of the replica with other settings.
func (s *site) purger(t testing.TB, dryRun bool) *purge.Purger {
	t.Helper()
	purger, err := purge.New(purge.Options{
		Age: 168 * time.Hour, Interval: 24 * time.Hour, DryRun: dryRun,
		Storage: s.registry.Store, Clock: clock.RealClock{}, Random: func() float64 { return 0 }, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return purger
}

// Behaviour 86: pushes that go on while collections run. Each round pushes images whose
// layers the storage has from images that are garbage by now, so that clients skip their
// upload and the collector wants them; half of the pushes find them by HEAD, the others
// by uploading them again.
func TestPushesDuringCollectionsStayPullable(t *testing.T) {
	s := newSite(t)
	replicas := []*site{s, s.replica(t), s.replica(t)}
	s.pushImage("team/kept", "v1", "kept")
	for round := range 6 {
		var lost [][]byte
		for i := range 8 {
			lost = append(lost, s.garbage("team/app", fmt.Sprintf("content %d", i)))
		}
		s.age(t)
		// Who pushes is a new process: none remembers which blobs it marked before.
		replicas[1], replicas[2] = s.replica(t), s.replica(t)
		location := s.post(`{"dryRun":false}`).want(202).Header.Get("Location")
		var group sync.WaitGroup
		accepted := make([]bool, len(lost))
		for i := range lost {
			group.Go(func() { accepted[i] = pushOldContent(replicas[1+i%2], lost[i], i, round) })
		}
		group.Wait()
		if report := s.ended(location); report.State != gc.StateSucceeded {
			t.Fatalf("round %d: %+v", round, report)
		}
		for i, raw := range lost {
			if accepted[i] {
				s.pullable(t, "team/app", raw)
			}
		}
		// What was accepted goes, and so does all garbage with the next collection.
		for i, raw := range lost {
			if accepted[i] {
				s.remove("/v2/team/app/manifests/" + digestOf(raw)).want(202)
				s.api.DeleteImage(digestOf(raw))
			}
		}
		s.age(t)
		report := s.collect(`{"dryRun":false}`)
		for _, raw := range lost {
			if s.stored(t, raw) {
				t.Fatalf("round %d: garbage is left: %+v", round, report)
			}
		}
	}
}

// pushOldContent pushes an image as a client does that asks before it uploads, and tells
// whether the registry accepted it. A collector may make it repeat blobs, or the whole.
func pushOldContent(s *site, raw []byte, i, round int) bool {
	text := fmt.Sprintf("content %d", i)
	config := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","author":%q}`, text))
	for range 3 {
		for _, content := range [][]byte{config, []byte("layer of " + text)} {
			if (i+round)%2 == 0 && s.head("/v2/team/app/blobs/"+digestOf(content)).StatusCode == 200 {
				continue
			}
			answer := s.do(call{method: "POST", path: "/v2/team/app/blobs/uploads/?digest=" + digestOf(content), body: content})
			if answer.StatusCode != 201 && answer.StatusCode != 503 {
				answer.t.Errorf("upload: status %d, body %s", answer.StatusCode, answer.body)
			}
		}
		answer := s.putManifest("team/app", fmt.Sprintf("v%d", i), raw, ociManifest)
		switch answer.StatusCode {
		case 201:
			return true
		case 400, 503: // a blob has gone meanwhile
		default:
			answer.t.Errorf("manifest: status %d, body %s", answer.StatusCode, answer.body)
		}
	}
	return false
}
