//go:build component

package objectstorage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// content is reproducible noise.
func content(seed uint64, size int64) io.Reader {
	var key [32]byte
	key[0] = byte(seed)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// Behaviour registry 8: parts are sent as they fill, whatever the size of the blob.
func TestLargeUploadInBoundedMemory(t *testing.T) {
	const size = 200 << 20
	s3 := startS3(t)
	r := startReplica(t, nil, s3.parameters("rootdirectory", "/deep/er"), "  redirect: {disable: true}\n")
	hash := sha256.New()
	_, err := io.Copy(hash, content(1, size))
	must(t, err)
	d := "sha256:" + hex.EncodeToString(hash.Sum(nil))

	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, stop := context.WithCancel(t.Context())
	peak := make(chan uint64)
	go func() {
		var most uint64
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
			select {
			case <-ctx.Done():
				peak <- most
				return
			case <-ticker.C:
			}
		}
	}()
	r.want(http.StatusCreated, "POST", "/v2/team/app/blobs/uploads/?digest="+d, content(1, size))
	stop()
	if grown := int64(<-peak) - int64(before.HeapInuse); grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB for a blob of 200 MiB", grown>>20)
	} else {
		t.Logf("the heap grew by %d MiB", grown>>20)
	}
	request, err := http.NewRequestWithContext(t.Context(), "GET", r.URL+"/v2/team/app/blobs/"+d, nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client().Do(request)
	must(t, err)
	defer answer.Body.Close() //nolint:errcheck // everything was read
	got, err := digest.SHA256.FromReader(answer.Body)
	must(t, err)
	if got.String() != d {
		t.Errorf("read back %s, want %s", got, d)
	}
	if left := s3.leftovers(t); len(left) > 0 {
		t.Errorf("the upload left %v", left)
	}
}

// Behaviours registry 6 and 12: chunks of all sizes go to two replicas in turn. Those below
// 5 MiB are what S3 cannot append to, and the first ones become an object before the end.
func TestUploadGoesOnAtAnotherReplica(t *testing.T) {
	s3 := startS3(t)
	a := startReplica(t, nil, s3.parameters("chunksize", "5242880"))
	b := startReplica(t, a.api, s3.parameters("chunksize", "5242880"))
	for name, chunks := range map[string][]int{
		"small":          {100, 200_000, 1, 3},
		"large":          {6 << 20, 12 << 20, 5 << 20},
		"small in large": {6 << 20, 77, 11 << 20, 1 << 20, 2 << 20},
		"large in small": {1 << 20, 7 << 20, 100},
	} {
		t.Run(name, func(t *testing.T) {
			total := 0
			for _, chunk := range chunks {
				total += chunk
			}
			whole, err := io.ReadAll(content(uint64(total), int64(total)))
			must(t, err)
			answer, _ := a.want(http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
			location, sent := answer.Header.Get("Location"), 0
			for i, chunk := range chunks {
				r := []*replica{a, b}[i%2]
				answer, _ = r.want(http.StatusAccepted, "PATCH", location, bytes.NewReader(whole[sent:sent+chunk]),
					"Content-Range", fmt.Sprintf("%d-%d", sent, sent+chunk-1))
				sent += chunk
				location = answer.Header.Get("Location")
				if got := answer.Header.Get("Range"); got != fmt.Sprintf("0-%d", sent-1) {
					t.Fatalf("chunk %d: range %s, want %d bytes", i, got, sent)
				}
				other := []*replica{b, a}[i%2]
				status, _ := other.want(http.StatusNoContent, "GET", location, nil)
				if got := status.Header.Get("Range"); got != fmt.Sprintf("0-%d", sent-1) {
					t.Fatalf("the other replica sees range %s, want %d bytes", got, sent)
				}
				wrong, _ := other.want(http.StatusRequestedRangeNotSatisfiable, "PATCH", location, strings.NewReader("x"), "Content-Range", fmt.Sprintf("%d-%d", sent+1, sent+1))
				location = wrong.Header.Get("Location")
			}
			d := digest.FromBytes(whole)
			b.want(http.StatusCreated, "PUT", location+"&digest="+d.String(), nil)
			follow(t, a, "team/app", d, whole)
		})
	}
	if left := s3.leftovers(t); len(left) > 0 {
		t.Errorf("uploads left %v", left)
	}
}

// follow pulls a blob as clients do, to where the registry sends them.
func follow(t *testing.T, r *replica, repository string, d digest.Digest, want []byte) {
	t.Helper()
	answer, raw := r.do("GET", "/v2/"+repository+"/blobs/"+d.String(), nil)
	if answer.StatusCode == http.StatusTemporaryRedirect {
		response, err := client().Get(answer.Header.Get("Location"))
		must(t, err)
		defer response.Body.Close() //nolint:errcheck // everything was read
		raw, err = io.ReadAll(response.Body)
		must(t, err)
	}
	if !bytes.Equal(raw, want) {
		t.Errorf("%s came with %d bytes, status %d", d, len(raw), answer.StatusCode)
	}
}

// Behaviour registry 17: what arrived before a client left is there for the next attempt,
// on another replica.
func TestUploadThatBrokeOffGoesOn(t *testing.T) {
	s3 := startS3(t)
	a := startReplica(t, nil, s3.parameters("chunksize", "5242880"))
	b := startReplica(t, a.api, s3.parameters("chunksize", "5242880"))
	whole, err := io.ReadAll(content(9, 14<<20))
	must(t, err)
	answer, _ := a.want(http.StatusAccepted, "POST", "/v2/team/app/blobs/uploads/", nil)
	location := answer.Header.Get("Location")

	ctx, leave := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, "PATCH", a.URL+location, reader)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	ended := make(chan error, 1)
	go func() {
		response, err := client().Do(request)
		if err == nil {
			err = fmt.Errorf("status %d", response.StatusCode)
			_ = response.Body.Close()
		}
		ended <- err
	}()
	_, err = writer.Write(whole[:12<<20])
	must(t, err)
	leave()
	_ = writer.CloseWithError(context.Canceled) // the client waits for the end of its reading
	<-ended

	sent := 0
	eventually(t, "the other replica goes on", func() error {
		status, raw := b.do("GET", location, nil)
		if status.StatusCode != http.StatusNoContent {
			return fmt.Errorf("status %d: %s", status.StatusCode, raw)
		}
		if _, err := fmt.Sscanf(status.Header.Get("Range"), "0-%d", &sent); err != nil || sent < 5<<20 {
			return fmt.Errorf("range %s", status.Header.Get("Range"))
		}
		sent++
		request, err := http.NewRequestWithContext(t.Context(), "PATCH", b.URL+status.Header.Get("Location"), bytes.NewReader(whole[sent:]))
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Range", fmt.Sprintf("%d-%d", sent, len(whole)-1))
		patched, err := client().Do(request) // an error while the first replica still writes
		if err != nil {
			return err
		}
		_ = patched.Body.Close()
		if patched.StatusCode != http.StatusAccepted {
			return fmt.Errorf("status %d", patched.StatusCode)
		}
		location = patched.Header.Get("Location")
		return nil
	})
	d := digest.FromBytes(whole)
	b.want(http.StatusCreated, "PUT", location+"&digest="+d.String(), nil)
	follow(t, b, "team/app", d, whole)
}

// Behaviours registry 14 and 16: many uploads of one blob, over a damaged copy of it.
func TestParallelUploadsReplaceADamagedBlob(t *testing.T) {
	s3 := startS3(t)
	a := startReplica(t, nil, s3.parameters())
	whole, err := io.ReadAll(content(3, 1<<20))
	must(t, err)
	d := a.upload("team/app", whole)
	stored := filepath.Join(s3.directory, bucket, "docker/registry/v2/blobs/sha256", d.Encoded()[:2], d.Encoded(), "data")
	must(t, os.Truncate(stored, 1000))
	eventually(t, "the damage is noticed", func() error {
		answer, raw := a.do("POST", "/v2/team/app/blobs/uploads/?digest="+d.String(), bytes.NewReader(whole))
		if answer.StatusCode != http.StatusCreated {
			return fmt.Errorf("status %d: %s", answer.StatusCode, raw)
		}
		return nil
	})
	b := startReplica(t, a.api, s3.parameters())
	var wait sync.WaitGroup
	for i := range 12 {
		wait.Go(func() {
			r := []*replica{a, b}[i%2]
			answer, raw := r.do("POST", "/v2/team/r"+fmt.Sprint(i)+"/blobs/uploads/?digest="+d.String(), bytes.NewReader(whole))
			if answer.StatusCode != http.StatusCreated {
				t.Errorf("upload %d: status %d: %s", i, answer.StatusCode, raw)
			}
		})
	}
	wait.Wait()
	follow(t, b, "team/r3", d, whole)
	if left := s3.leftovers(t); len(left) > 0 {
		t.Errorf("uploads left %v", left)
	}
}
