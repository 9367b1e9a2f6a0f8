//go:build component

package datapath

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/registry/app"
)

// prune runs the command beside the registry that serves.
func (e *environment) prune(t *testing.T, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = app.Run(t.Context(), append(arguments, e.config), &out, &problems)
	return code, out.String(), problems.String()
}

// makeOld gives everything that is stored an age.
func (e *environment) makeOld(t *testing.T, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	must(t, filepath.Walk(e.storage, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	}))
}

// The command with the registry's account on a real image API: what images, indexes, pushes by
// digest and copied tags need stays, what was deleted goes, and nothing goes without being
// asked for.
// Behaviours 81, 82 and 83.
func TestOfflinePrune(t *testing.T) {
	e := start(t)
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher, viewer)
	plain, child, loose := newImage(t), newImage(t), newImage(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child})
	must(t, remote.Write(e.tag(t, repository, "v1"), plain, as(t, user)...))
	must(t, remote.WriteIndex(e.tag(t, repository, "multi"), index, as(t, user)...))
	must(t, remote.Write(e.digest(t, repository, hash(t, loose)), loose, as(t, user)...))
	lost := e.garbage(t, repository, user)
	gone := newImage(t)
	must(t, remote.Write(e.tag(t, namespace+"/gone", "v1"), gone, as(t, user)...))
	must(t, e.Images.ImageV1().ImageStreams(namespace).Delete(t.Context(), "gone", metav1.DeleteOptions{}))
	must(t, e.Images.ImageV1().Images().Delete(t.Context(), hash(t, gone).String(), metav1.DeleteOptions{}))
	repositories := filepath.Join(e.storage, "docker/registry/v2/repositories", namespace)
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }

	// Everything is younger than the periods.
	if code, stdout, stderr := e.prune(t, "-prune=check"); code != 0 || !strings.Contains(stdout, "Would delete 0 blobs") {
		t.Fatalf("young storage: code %d\n%s%s", code, stdout, stderr)
	}
	e.makeOld(t, 100*time.Hour)
	code, stdout, stderr := e.prune(t, "-prune=check")
	for _, want := range []string{
		"Would delete blob sha256:" + filepath.Base(filepath.Dir(lost)) + "\n", "Would delete repository " + namespace + "/gone\n",
		"Would delete 8 blobs", "Use -prune=delete to actually delete the data",
	} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("check: code %d, %q is missing in\n%s%s", code, want, stdout, stderr)
		}
	}
	if code, stdout, stderr := e.prune(t, "-prune=delete"); code != 4 || !strings.Contains(stderr, "the registry takes writes") {
		t.Errorf("delete beside a registry that takes writes: code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := e.prune(t, "-prune=perhaps"); code != 2 {
		t.Errorf("an unknown value: code %d", code)
	}
	if !exists(lost) || !exists(repositories+"/gone") {
		t.Fatal("something was removed by a run that must not remove")
	}

	e.config = e.registryConfig(t, nil, "", "gc: {verifydelay: 0s}")
	if code, stdout, stderr := e.prune(t, "-prune=delete", "-force"); code != 0 || !strings.Contains(stdout, "Deleted 8 blobs") {
		t.Fatalf("delete: code %d\n%s%s", code, stdout, stderr)
	}
	if exists(lost) || exists(repositories+"/gone") {
		t.Error("garbage is still there")
	}
	pull(t, e.digest(t, repository, hash(t, plain)), user)
	pull(t, e.digest(t, repository, hash(t, child)), user)
	pull(t, e.digest(t, repository, hash(t, loose)), user)
	if pulled, err := remote.Index(e.tag(t, repository, "multi"), as(t, user)...); err != nil || hash(t, pulled) != hash(t, index) {
		t.Errorf("the index: %v", err)
	}
	if code, stdout, stderr := e.prune(t, "-prune=check"); code != 0 || strings.Contains(stdout, "Would delete blob") {
		t.Errorf("after it: code %d\n%s%s", code, stdout, stderr)
	}
}
