package conformance

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/gc"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

// aging is a storage in memory whose content can be made older. Ages are measured by the
// storage's clock, which no test can move.
type aging struct {
	driver.StorageDriver
	by atomic.Int64
}

func newAging() *aging { return &aging{StorageDriver: inmemory.New()} }

// Stat implements driver.StorageDriver. Announcements are made after what is old.
func (a *aging) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	info, err := a.StorageDriver.Stat(ctx, path)
	if err != nil || strings.Contains(path, "/_gc/unlinking/") {
		return info, err
	}
	return aged{info, time.Duration(a.by.Load())}, nil
}

type aged struct {
	driver.FileInfo
	by time.Duration
}

func (a aged) ModTime() time.Time { return a.FileInfo.ModTime().Add(-a.by) }

// A collection forgets at once what the repositories were known for from which it removes
// links, and the blobs that it deletes, on the replica that collects.
// Behaviour 79.
func TestACollectionForgetsWhatItRemoves(t *testing.T) {
	s := newSite(t)
	shared := []byte("a layer that only one repository needs")
	s.pushImage("team/app", "v1", "kept")
	link := s.pushBlob("team/app", shared)
	s.pushBlob("team/other", []byte("{}"))
	s.pushBlob("team/other", shared)
	image := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ociManifest, descriptor(ociConfig, []byte("{}")), descriptor(ociLayer, shared))
	s.putManifest("team/other", "v1", []byte(image), ociManifest).want(201)
	lost := s.pushBlob("team/app", []byte("garbage"))
	paths := []string{"/v2/team/app/blobs/" + link, "/v2/team/app/blobs/" + lost}
	s.age(t)
	for _, path := range paths {
		s.get(path).want(200)
	}
	if report := s.collect(`{"dryRun":false,"minAge":"10m"}`); report.State != gc.StateSucceeded || report.DeletedLinks != 2 || report.DeletedBlobs != 1 {
		t.Fatalf("%+v", report)
	}
	for _, path := range paths {
		s.get(path).want(404, "BLOB_UNKNOWN")
	}
	s.get("/v2/team/other/blobs/" + link).want(200)
}

// A prune that removes a link is answered as usual when the link is old, by the clock of the
// storage, and refused when it was written again.
func TestPruningAnOldLink(t *testing.T) {
	s := newSite(t)
	d := s.pushBlob("team/app", []byte("a blob"))
	prune := call{method: "DELETE", path: "/v2/team/app/blobs/" + d + "?onlyunreferenced=true", token: prunerToken}
	s.do(prune).want(405, "UNSUPPORTED")
	s.age(t)
	s.get("/v2/team/app/blobs/" + d).want(200)
	s.do(prune).want(202)
	s.get("/v2/team/app/blobs/"+d).want(404, "BLOB_UNKNOWN")
	s.do(prune).want(404, "BLOB_UNKNOWN")
}
