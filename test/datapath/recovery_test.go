//go:build component

package datapath

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/pkg/registry/app"
	"image.alauda.io/registry/test/imageapi"
)

// All streams and Images are deleted while the storage stays; recovery runs with the role of
// the registry, and everything can be pulled again.
// Behaviour 87.
func TestRecovery(t *testing.T) {
	e := start(t)
	namespace := e.namespace(t)
	repository := namespace + "/app"
	user := e.user(t, namespace, "pusher", pusher, viewer)
	image, child := newImage(t), newImage(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child})
	must(t, remote.Write(e.tag(t, repository, "v1"), image, as(t, user)...))
	must(t, remote.WriteIndex(e.tag(t, repository, "multi"), index, as(t, user)...))

	must(t, e.Images.ImageV1().ImageStreams(namespace).Delete(t.Context(), "app", metav1.DeleteOptions{}))
	for _, digest := range []string{hash(t, image).String(), hash(t, child).String(), hash(t, index).String()} {
		must(t, e.Images.ImageV1().Images().Delete(t.Context(), digest, metav1.DeleteOptions{}))
	}
	if code, text := e.restore(t, "check", namespace); code != 3 || !strings.Contains(text, "recover would tag it v1") {
		t.Fatalf("check ended with code %d:\n%s", code, text)
	}
	if _, err := e.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("after the check: %v", err)
	}
	if code, text := e.restore(t, "recover", namespace); code != 0 {
		t.Fatalf("recover ended with code %d:\n%s", code, text)
	}
	if got := hash(t, pull(t, e.tag(t, repository, "v1"), user)); got != hash(t, image) {
		t.Errorf("v1 is %s", got)
	}
	pulled, err := remote.Index(e.tag(t, repository, "multi"), as(t, user)...)
	must(t, err)
	if hash(t, pulled) != hash(t, index) {
		t.Errorf("multi is %s", hash(t, pulled))
	}
	pull(t, e.digest(t, repository, hash(t, child)), user)
	recovered, err := e.Images.ImageV1().Images().Get(t.Context(), hash(t, image).String(), metav1.GetOptions{})
	must(t, err)
	if want := imageapi.InternalHost + "/" + repository + "@" + hash(t, image).String(); recovered.DockerImageReference != want || recovered.Annotations["alauda.io/image.managed"] != "true" {
		t.Errorf("recovered Image has reference %q and annotations %v", recovered.DockerImageReference, recovered.Annotations)
	}

	// Annotations come back by the right to patch that the role has.
	recovered.Annotations = map[string]string{}
	if _, err := e.Images.ImageV1().Images().Update(t.Context(), recovered, metav1.UpdateOptions{}); err != nil {
		t.Logf("annotations cannot be taken away: %v", err)
	}
	if code, text := e.restore(t, "recover", namespace); code != 0 {
		t.Fatalf("recover ended with code %d:\n%s", code, text)
	}
	if code, text := e.restore(t, "check", namespace); code != 0 || !strings.Contains(text, "Found no problems") {
		t.Errorf("check ended with code %d:\n%s", code, text)
	}

	// A missing namespace is named, and the rest of the storage is not touched by the run.
	missing := filepath.Join(e.storage, "docker/registry/v2/repositories/gone-"+namespace)
	must(t, os.CopyFS(missing, os.DirFS(filepath.Join(e.storage, "docker/registry/v2/repositories", namespace))))
	if code, text := e.restore(t, "recover", "gone-"+namespace); code != 3 || !strings.Contains(text, "namespace gone-"+namespace+": it does not exist") {
		t.Errorf("recover of a missing namespace ended with code %d:\n%s", code, text)
	}
	var listed, problems bytes.Buffer
	if code := app.Run(t.Context(), []string{"-experimental", "-list-manifests-from=" + repository, e.config}, &listed, &problems); code != 0 {
		t.Errorf("list ended with code %d: %s", code, problems.String())
	}
	for _, digest := range []string{hash(t, image).String(), hash(t, child).String(), hash(t, index).String()} {
		if want := "manifest\t" + repository + "\t" + digest + "\n"; !strings.Contains(listed.String(), want) {
			t.Errorf("%q is not listed:\n%s", want, listed.String())
		}
	}
}

// restore runs the command beside the registry that serves.
func (e *environment) restore(t *testing.T, mode, namespace string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := app.Run(t.Context(), []string{"-experimental", "-restore-mode=" + mode, "-restore-namespace=" + namespace, e.config}, &stdout, &stderr)
	return code, stdout.String() + stderr.String()
}
