package conformance

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Odd ranges of a blob, and conditions under which it is wanted.
func TestPartsAndConditionsOfBlobs(t *testing.T) {
	e := start(t)
	content := []byte("0123456789")
	d := e.pushBlob(repo, content)
	path := "/v2/team/app/blobs/" + d
	for name, test := range map[string]struct {
		header []string
		status int
		body   string
		ranges string
	}{
		"beyond the end":         {[]string{"Range", "bytes=8-99"}, 206, "89", "bytes 8-9/10"},
		"more than all":          {[]string{"Range", "bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		"behind the end":         {[]string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		"backwards":              {[]string{"Range", "bytes=5-3"}, 416, "", ""},
		"no numbers":             {[]string{"Range", "bytes=a-b"}, 416, "", ""},
		"another unit":           {[]string{"Range", "lines=1-2"}, 416, "", ""},
		"unchanged, one of":      {[]string{"If-None-Match", `"x", "` + d + `"`}, 304, "", ""},
		"changed":                {[]string{"If-None-Match", `"x"`}, 200, "0123456789", ""},
		"range of the same":      {[]string{"Range", "bytes=0-0", "If-Range", `"` + d + `"`}, 206, "0", "bytes 0-0/10"},
		"range of another":       {[]string{"Range", "bytes=0-0", "If-Range", `"x"`}, 200, "0123456789", ""},
		"only if it is the same": {[]string{"If-Match", `"x"`}, 412, "", ""},
	} {
		answer := e.get(path, test.header...)
		if answer.StatusCode != test.status || test.body != "" && string(answer.body) != test.body || test.ranges != "" && answer.Header.Get("Content-Range") != test.ranges {
			t.Errorf("%s: status %d, range %q, body %q; want %d, %q, %q", name, answer.StatusCode, answer.Header.Get("Content-Range"), answer.body, test.status, test.ranges, test.body)
		}
		if test.status < 400 {
			answer.header("Docker-Content-Digest", d).header("ETag", `"`+d+`"`)
		}
	}
	empty := e.get("/v2/team/app/blobs/"+e.pushBlob(repo, []byte{})).want(200).header("Content-Length", "0")
	if len(empty.body) != 0 {
		t.Errorf("the empty blob is %q", empty.body)
	}
}

// Artifacts of all kinds are manifests like any other: they come back byte for byte, and are found by what they are about.
//
// Behaviours 40, 41 and 42.
func TestArtifacts(t *testing.T) {
	e := start(t)
	subject := e.pushImage(repo, "v1", "subject")
	emptyJSON := []byte("{}")
	e.pushBlob(repo, emptyJSON)
	layer := []byte("signature")
	e.pushBlob(repo, layer)
	about := `"subject":` + descriptor(ociManifest, subject)
	missing := `"subject":` + descriptor(ociManifest, []byte("nobody has this"))
	const empty = "application/vnd.oci.empty.v1+json"
	documents := map[string]struct{ raw, mediaType, artifactType string }{
		"artifact with a type":   {fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x.sbom","config":%s,"layers":[%s],%s}`, ociManifest, descriptor(empty, emptyJSON), descriptor("application/x", layer), about), ociManifest, "application/x.sbom"},
		"artifact by its config": {fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s],%s}`, descriptor("application/x.helm", emptyJSON), descriptor("application/x", layer), about), ociManifest, "application/x.helm"},
		"without layers":         {fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x.none","config":%s,"layers":[],%s}`, descriptor(empty, emptyJSON), about), ociManifest, "application/x.none"},
		"data in the descriptor": {fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x.data","config":%s,"layers":[],%s}`, strings.Replace(descriptor(empty, emptyJSON), "}", `,"data":"e30="}`, 1), about), ociManifest, "application/x.data"},
		"fields of its own":      {fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x.own","org.example":{"a":[1]},"config":%s,"layers":[],%s}`, descriptor(empty, emptyJSON), about), ociManifest, "application/x.own"},
		"index":                  {fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x.list","manifests":[],%s}`, about), ociIndex, "application/x.list"},
		"index without a type":   {fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s],%s}`, descriptor(ociManifest, subject), about), ociIndex, ""},
		"about what is missing":  {fmt.Sprintf(`{"schemaVersion":2,"artifactType":"application/x.late","config":%s,"layers":[],%s}`, descriptor(empty, emptyJSON), missing), ociManifest, ""},
	}
	for name, document := range documents {
		raw := []byte(document.raw)
		want := digestOf(subject)
		if strings.Contains(document.raw, missing) {
			want = digestOf([]byte("nobody has this"))
		}
		e.putManifest(repo, digestOf(raw), raw, document.mediaType).want(201).header("OCI-Subject", want)
		answer := e.get("/v2/team/app/manifests/"+digestOf(raw)).want(200).header("Content-Type", document.mediaType)
		if !bytes.Equal(answer.body, raw) {
			t.Errorf("%s: other bytes came back", name)
		}
		listed := e.get("/v2/team/app/referrers/"+want).want(200).header("Content-Type", ociIndex)
		if !bytes.Contains(listed.body, []byte(digestOf(raw))) || document.artifactType != "" && !bytes.Contains(listed.body, []byte(document.artifactType)) {
			t.Errorf("%s is not listed with its type: %s", name, listed.body)
		}
	}
	filtered := e.get("/v2/team/app/referrers/"+digestOf(subject)+"?artifactType=application/x.sbom&artifactType=application/x.list").want(200).header("OCI-Filters-Applied", "artifactType")
	if n := bytes.Count(filtered.body, []byte(`"digest"`)); n != 2 {
		t.Errorf("%d entries with one of two types, want 2: %s", n, filtered.body)
	}
	none := e.get("/v2/team/app/referrers/" + digestOf(subject) + "?artifactType=application/none").want(200)
	if !bytes.Contains(none.body, []byte(`"manifests":[]`)) {
		t.Errorf("nothing of a type is %s", none.body)
	}
	if answer := e.do(call{method: http.MethodPost, path: "/v2/team/app/referrers/" + digestOf(subject)}); answer.StatusCode != 405 {
		t.Errorf("POST to referrers: %d", answer.StatusCode)
	}
}
