package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"image.alauda.io/registry/pkg/registry/config"
	"image.alauda.io/registry/pkg/registry/store"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"go.uber.org/zap"
)

// Without a cluster the links in the storage say what is in use: a collection frees what was
// deleted and leaves every manifest that is linked, tagged or not, as it is.
func TestCollectionsWithoutACluster(t *testing.T) {
	outside(t)
	c, _, err := config.Parse([]byte("version: 0.1\nauth: none\nstorage: {inmemory: {}}\nalauda: {server: {addr: 'registry.test:5000'}, gc: {verifydelay: 0s}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	disk, err := store.OpenDriver(t.Context(), "filesystem", configuration.Parameters{"rootdirectory": directory}, nil)
	if err != nil {
		t.Fatal(err)
	}
	deps, err := withoutCluster(t.Context(), c, Dependencies{
		Driver: disk, Log: zap.NewNop(), Now: time.Now, Wait: func(context.Context, time.Duration) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := Build(t.Context(), c, deps)
	if err != nil {
		t.Fatal(err)
	}
	defer registry.PullThrough.Stop()
	defer registry.Collections.Stop()
	server := httptest.NewServer(registry.Server)
	defer server.Close()
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	push := func() v1.Image {
		image, err := random.Image(512, 2)
		if err == nil {
			err = remote.Write(repository.Tag("v1"), image)
		}
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	digestOf := func(image v1.Image) name.Digest {
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return repository.Digest(digest.String())
	}
	deleted, untagged, tagged := push(), push(), push()
	if err := remote.Delete(digestOf(deleted)); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-10 * 24 * time.Hour)
	err = filepath.WalkDir(directory, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Chtimes(path, old, old)) })
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		report := collect(t, server.URL, dry)
		if report["state"] != "Succeeded" || report["candidateCount"] != 4.0 || !dry && report["deletedBlobs"] != 4.0 {
			t.Fatalf("dry %t: %v", dry, report)
		}
	}
	for what, image := range map[string]v1.Image{"untagged": untagged, "tagged": tagged} {
		pulled, err := remote.Image(digestOf(image))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		layers, err := pulled.Layers()
		if err != nil || len(layers) != 2 {
			t.Fatalf("%s: %d layers, %v", what, len(layers), err)
		}
		for _, layer := range layers {
			content, err := layer.Compressed()
			if err == nil {
				_, err = io.Copy(io.Discard, content)
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if report := collect(t, server.URL, false); report["state"] != "Succeeded" || report["candidateCount"] != 0.0 {
		t.Errorf("again: %v", report)
	}
}

// collect starts a collection and returns its report at the end.
func collect(t *testing.T, address string, dry bool) (report map[string]any) {
	t.Helper()
	body := `{"dryRun":true}`
	if !dry {
		body = `{"dryRun":false}`
	}
	answer, err := http.Post(address+"/admin/gc", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		t.Fatalf("status %d", answer.StatusCode)
	}
	location, err := answer.Location()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		again, err := http.Get(location.String())
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(again.Body).Decode(&report)
		_ = again.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if report["state"] != "Running" {
			return report
		}
	}
	t.Fatalf("still running: %v", report)
	return nil
}
