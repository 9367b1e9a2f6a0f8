package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// Behaviour 43: annotations may be as large as a manifest. A page stays small, and what is behind it is not read.
func TestLargeAnnotationsOfReferrers(t *testing.T) {
	const count = 6
	storage := &counting{StorageDriver: inmemory.New()}
	e := startOn(t, storage)
	subject := e.pushImage(repo, "v1", "subject")
	var want []string
	for i := range count {
		size := 300 << 10
		if i == 0 {
			size = 4<<20 - 2000 // with escapes no page has room for it
		}
		annotation := strings.Repeat("<", size)
		raw := e.image(repo, fmt.Sprint(i), fmt.Sprintf(`"annotations":{"k":"%s"},"subject":%s,`, annotation, descriptor(ociManifest, subject)))
		e.putManifest(repo, digestOf(raw), raw, ociManifest).want(201)
		want = append(want, digestOf(raw))
	}
	path, seen := "/v2/team/app/referrers/"+digestOf(subject), map[string]bool{}
	first := true
	for path != "" {
		before := storage.reads.Load()
		answer := e.get(path).want(200)
		if len(answer.body) > 4<<20+4096 {
			t.Fatalf("a page of %d bytes", len(answer.body))
		}
		if reads := storage.reads.Load() - before; first && reads > count+5 {
			t.Errorf("%d reads for the first page", reads)
		}
		var index struct{ Manifests []struct{ Digest string } }
		if err := json.NewDecoder(bytes.NewReader(answer.body)).Decode(&index); err != nil {
			t.Fatal(err)
		}
		for _, entry := range index.Manifests {
			if seen[entry.Digest] {
				t.Errorf("%s twice", entry.Digest)
			}
			seen[entry.Digest] = true
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(answer.Header.Get("Link"), "<"), ">")
		first = false
	}
	for _, digest := range want {
		if !seen[digest] {
			t.Errorf("%s is missing", digest)
		}
	}
}
