package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"image.alauda.io/registry/pkg/registry/store"
	"image.alauda.io/registry/test/secondregistry"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/opencontainers/go-digest"
)

// large is an image with one layer of some MiB, imported as team/app:v1.
func (e *env) large(size int) (*secondregistry.Registry, []byte, digest.Digest) {
	e.t.Helper()
	source := secondregistry.Start(e.t, secondregistry.Options{})
	layer := bytes.Repeat([]byte("abcdefghijklmnopq"), size/17)
	image := source.PushImage(e.t, "app", "v1", secondregistry.Image{Layers: [][]byte{layer}})
	e.add(imported{repository: "team/app", tag: "v1", source: source, path: "app", image: image, insecure: true})
	return source, layer, digest.FromBytes(layer)
}

// Behaviour 67.
func TestADownloadGoesOnWhenItsClientLeaves(t *testing.T) {
	e := start(t, reachable)
	source, layer, d := e.large(20 << 20)
	answer := e.open("/v2/team/app/blobs/" + d.String())
	if _, err := io.ReadFull(answer.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	eventually(t, "the blob is kept", func() bool { return e.linked("team/app", store.Layers, d) })
	source.Fail("", "/**", 503)
	if got := e.get("/v2/team/app/blobs/" + d.String()).want(200); !bytes.Equal(got.body, layer) {
		t.Error("what was kept is not the blob")
	}
}

// A client that does not read must not hold up the others, nor the copy.
func TestAClientThatStallsHoldsNobodyUp(t *testing.T) {
	e := start(t, reachable)
	_, layer, d := e.large(40 << 20)
	stalled := e.open("/v2/team/app/blobs/" + d.String())
	defer stalled.Body.Close()
	var clients sync.WaitGroup
	for range 5 {
		clients.Go(func() {
			if got, complete := e.readBlob("/v2/team/app/blobs/" + d.String()); !complete || !bytes.Equal(got, layer) {
				t.Errorf("a client beside a stalled one got %d bytes, complete: %v", len(got), complete)
			}
		})
	}
	clients.Wait()
	// It goes on where it was, from the storage.
	got, err := io.ReadAll(stalled.Body)
	if err != nil || !bytes.Equal(got, layer) {
		t.Errorf("the stalled client got %d bytes in the end: %v", len(got), err)
	}
}

// fullDriver has no space for the data of blobs while it is full.
type fullDriver struct {
	driver.StorageDriver
	full atomic.Bool
}

var errFull = driver.Error{DriverName: "test", Detail: syscall.ENOSPC}

func (f *fullDriver) Writer(ctx context.Context, path string, appendTo bool) (driver.FileWriter, error) {
	if f.full.Load() {
		return nil, errFull
	}
	return f.StorageDriver.Writer(ctx, path, appendTo)
}

func (f *fullDriver) PutContent(ctx context.Context, path string, content []byte) error {
	if f.full.Load() {
		return errFull
	}
	return f.StorageDriver.PutContent(ctx, path, content)
}

// Behaviour 67.
func TestWithAFullStorageClientsAreServedNevertheless(t *testing.T) {
	storage := &fullDriver{StorageDriver: inmemory.New()}
	e := startOn(t, storage, reachable)
	source, layer, d := e.large(3 << 20)
	storage.full.Store(true)
	e.pullCompletely("team/app", "v1")
	before := source.Count("GET", "/v2/app/blobs/**")
	e.get("/v2/team/app/blobs/" + d.String()).want(200)
	if n := source.Count("GET", "/v2/app/blobs/**") - before; n != 1 {
		t.Errorf("while the storage is known to be full a pull made %d downloads, want one", n)
	}
	storage.full.Store(false)
	e.clock.Step(31e9)
	if got := e.get("/v2/team/app/blobs/" + d.String()).want(200); !bytes.Equal(got.body, layer) {
		t.Error("the content is not the blob")
	}
	eventually(t, "the blob is kept", func() bool { return e.linked("team/app", store.Layers, d) })
}

// Behaviour 67.
func TestWithoutASlotNothingIsKeptUntilNextTime(t *testing.T) {
	e := start(t, "ALAUDA=, requests: {write: {maxrunning: 1, maxinqueue: 0}}, pullthrough: {deniedcidrs: [], dockerconfigpaths: []}")
	_, _, d := e.large(1 << 20)
	// An upload that does not end has the only slot.
	body, end := io.Pipe()
	upload, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.URL+"/v2/team/other/blobs/uploads/?digest="+d.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	upload.Header.Set("Authorization", "Bearer "+devToken)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if answer, err := http.DefaultClient.Do(upload); err == nil {
			answer.Body.Close()
		}
	}()
	if _, err := end.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	// Its session shows that the upload has the slot; a request that asks for the slot could take it from the upload.
	eventually(t, "the upload has begun", func() bool {
		sessions, err := e.driver.List(t.Context(), "/docker/registry/v2/repositories/team/other/_uploads")
		return err == nil && len(sessions) > 0
	})
	e.do(call{method: "POST", path: "/v2/team/third/blobs/uploads/"}).want(429)
	e.get("/v2/team/app/blobs/" + d.String()).want(200)
	if e.linked("team/app", store.Layers, d) {
		t.Error("the blob was kept without a slot")
	}
	end.CloseWithError(errors.New("gone"))
	<-ended
	eventually(t, "the slot is free", func() bool {
		return e.do(call{method: "POST", path: "/v2/team/third/blobs/uploads/"}).StatusCode == 202
	})
	e.get("/v2/team/app/blobs/" + d.String()).want(200)
	eventually(t, "the blob is kept", func() bool { return e.linked("team/app", store.Layers, d) })
}

// Behaviour 69.
func TestRangesOfRemoteBlobs(t *testing.T) {
	for _, supported := range []bool{true, false} {
		t.Run(fmt.Sprintf("source with ranges %v", supported), func(t *testing.T) {
			e := start(t, through("mirror: false"))
			source, layer, d := e.large(1000)
			if !supported {
				source.Document("/v2/app/blobs/"+d.String(), "application/octet-stream", nil, layer)
			}
			path := "/v2/team/app/blobs/" + d.String()
			size := len(layer)
			for header, want := range map[string]string{
				"bytes=3-9": "3-9", "bytes=900-": fmt.Sprintf("900-%d", size-1), "bytes=-7": fmt.Sprintf("%d-%d", size-7, size-1),
				"bytes=10-99999": fmt.Sprintf("10-%d", size-1),
			} {
				got := e.get(path, "Range", header)
				if !supported {
					if got.want(200); !bytes.Equal(got.body, layer) {
						t.Errorf("%s: not the whole blob", header)
					}
					continue
				}
				var first, last int
				if _, err := fmt.Sscanf(want, "%d-%d", &first, &last); err != nil {
					t.Fatal(err)
				}
				got.want(206).header("Content-Range", fmt.Sprintf("bytes %s/%d", want, size)).header("Content-Length", fmt.Sprint(last-first+1))
				if !bytes.Equal(got.body, layer[first:last+1]) {
					t.Errorf("%s: other bytes came", header)
				}
			}
			e.get(path, "Range", fmt.Sprintf("bytes=%d-", size)).want(416, "RANGE_INVALID").header("Content-Range", fmt.Sprintf("bytes */%d", size))
			for _, whole := range []string{"bytes=1-2,4-5", "lines=1-2", "bytes=5-2", "bytes=x-2"} {
				if got := e.get(path, "Range", whole).want(200); !bytes.Equal(got.body, layer) {
					t.Errorf("%s: not the whole blob", whole)
				}
			}
			e.get(path, "Range", "bytes=1-2", "If-Range", `"other"`).want(200)
			e.get(path, "If-None-Match", `"`+d.String()+`"`).want(304)
		})
	}
}

// Behaviour 69: a range brings the whole blob in the background; what a source sends as the range is looked at.
func TestARangeBringsTheWholeBlob(t *testing.T) {
	e := start(t, reachable)
	source, _, d := e.large(1 << 20)
	path := "/v2/team/app/blobs/" + d.String()
	source.Answer("GET", "/v2/app/blobs/"+d.String(), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-1/1048576")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("ab"))
	})
	e.get(path, "Range", "bytes=10-11").want(503, "UNAVAILABLE")
	source.Recover()
	e.get(path, "Range", "bytes=10-11").want(206)
	eventually(t, "the blob is kept", func() bool { return e.linked("team/app", store.Layers, d) })
}

// A source that says another size than the image is read for its client, and not kept.
func TestABlobOfAnotherSizeIsNotKept(t *testing.T) {
	e := start(t, reachable)
	source, _, layer := e.simple(secondregistry.Options{})
	big := strings.Repeat("x", 4<<20)
	source.Answer("GET", "/v2/app/blobs/**", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, big) // without a length
	})
	if _, complete := e.readBlob("/v2/team/app/blobs/" + layer.String()); complete {
		t.Error("the client got it as if it were everything")
	}
	if e.linked("team/app", store.Layers, layer) {
		t.Error("it was kept")
	}
}

// Behaviour 88.
func TestAReadOnlyRegistryKeepsNothing(t *testing.T) {
	e := start(t, reachable, "READONLY=true")
	source, _, d := e.large(1 << 20)
	for range 2 {
		e.pullCompletely("team/app", "v1")
	}
	if n := source.Count("GET", "/v2/app/blobs/"+d.String()); n != 2 {
		t.Errorf("%d downloads for two pulls", n)
	}
	if found, err := e.driver.List(t.Context(), "/"); len(found) > 0 {
		t.Errorf("the storage has %v (%v)", found, err)
	}
}

// Pulls of one namespace from a source that never answers leave room for others.
func TestASilentSourceDoesNotBlockOtherNamespaces(t *testing.T) {
	e := start(t, reachable)
	silent, good := secondregistry.Start(t, secondregistry.Options{}), secondregistry.Start(t, secondregistry.Options{})
	for i := range 20 {
		image := silent.PushImage(t, "app", "", secondregistry.Image{Seed: fmt.Sprint(i)})
		e.add(imported{repository: "team/app", tag: fmt.Sprint(i), source: silent, path: "app", image: image, insecure: true})
	}
	image := good.PushImage(t, "app", "", secondregistry.Image{})
	e.add(imported{repository: "elsewhere/app", tag: "v1", source: good, path: "app", image: image, insecure: true})
	ctx, release := context.WithCancel(t.Context())
	silent.Answer("", "/v2/app/manifests/**", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNotFound)
	})
	var clients sync.WaitGroup
	defer clients.Wait()
	defer release()
	for i := range 20 {
		clients.Go(func() {
			if answer, err := e.tryOpen("/v2/team/app/manifests/" + fmt.Sprint(i)); err == nil {
				answer.Body.Close()
			}
		})
	}
	eventually(t, "the silent source is asked", func() bool { return silent.Count("GET", "/v2/app/manifests/**") >= 4 })
	e.do(call{method: "GET", path: "/v2/elsewhere/app/manifests/v1", token: otherToken}).want(200)
	if n := silent.Count("GET", "/v2/app/manifests/**"); n > 4 {
		t.Errorf("%d manifests were being fetched for one namespace", n)
	}
}
