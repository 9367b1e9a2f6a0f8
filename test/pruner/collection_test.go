//go:build component

package pruner

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
)

// TestPrunerAndRegistry prunes with a real registry. Each part leaves what it pushed to the next one, as a
// cluster would.
func TestPrunerAndRegistry(t *testing.T) {
	s := startStorehouse(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *storehouse)
	}{
		{"images and storage", testImagesAndStorage},
		{"what interruptions leave", testLeftovers},
		{"pushes all the time", testPushes},
		{"guards", testGuardsOfGC},
		{"read-only", testReadOnlyRegistry},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// Behaviours 5, 7, 35, 36, 38, 51 and 57, the latter as far as links and collections use the role: with the
// shipped role, links and bytes of what was pruned go, and what an image needs stays. The dry run names the
// same.
func testImagesAndStorage(t *testing.T, s *storehouse) {
	namespace := s.namespace(t)
	s.cleanUp(t, namespace)
	repository := namespace + "/app"
	var images []v1.Image
	shared, err := random.Layer(2048, "application/vnd.docker.image.rootfs.diff.tar.gzip")
	fatal(t, err)
	for range 4 {
		image, err := random.Image(2048, 1)
		fatal(t, err)
		image, err = mutate.AppendLayers(image, shared)
		fatal(t, err)
		fatal(t, remote.Write(s.reference(t, repository+":v1"), image, s.options(t.Context())...))
		images = append(images, image)
	}
	var indexes []v1.ImageIndex
	var children []v1.Image
	for range 3 {
		child, err := random.Image(2048, 1)
		fatal(t, err)
		index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child})
		fatal(t, remote.WriteIndex(s.reference(t, repository+":multi"), index, s.options(t.Context())...))
		indexes, children = append(indexes, index), append(children, child)
	}
	s.pod(t, namespace, "user", "registry.example.test/"+repository+"@"+sum(t, images[1]))
	s.later(t, "")

	pruner := s.as(t, role)
	prune := []string{"images", "--prune-registry", "--keep-tag-revisions=2"}
	code, planned, stderr := s.pruner(t.Context(), pruner, prune...)
	if code != 0 || len(pruner.changes()) != 0 {
		t.Fatalf("dry run: exit %d, changes %v\n%s%s", code, pruner.changes(), planned, stderr)
	}
	code, done, stderr := s.pruner(t.Context(), pruner, append(prune, "--confirm")...)
	if code != 0 || !strings.Contains(done, "2 manifest links") && !strings.Contains(done, "3 manifest links") {
		t.Fatalf("exit %d\n%s%s", code, done, stderr)
	}
	withoutBlobs := slices.DeleteFunc(outcomes(done), func(line string) bool {
		return strings.HasPrefix(line, "deleted\tblob") || strings.HasPrefix(line, "Summary")
	})
	if want := outcomes(planned); !slices.Equal(withoutBlobs, want[:len(want)-1]) {
		t.Errorf("planned\n%s\ndone\n%s", planned, done)
	}
	// The oldest image and the oldest index with its child are gone, the rest is whole.
	for i, image := range images {
		s.expect(t, repository, image, i != 0, sum(t, shared))
	}
	for i, child := range children {
		s.expect(t, repository, child, i != 0, "")
		if kept := s.linked(t, repository, "_manifests/revisions", sum(t, indexes[i])); kept != (i != 0) {
			t.Errorf("index %d is linked: %t", i, kept)
		}
	}
	if !s.linked(t, repository, "_layers", sum(t, shared)) {
		t.Error("the layer that other images have in common lost its link")
	}
	code, again, stderr := s.pruner(t.Context(), pruner, "gc")
	if code != 0 || !strings.HasPrefix(again, "Would delete 0 blobs, 0 links, 0 repositories") {
		t.Errorf("afterwards gc finds, with exit %d:\n%s%s", code, again, stderr)
	}
}

// expect compares an image in storage and repository with what is to be there; the layer shared always is.
func (s *storehouse) expect(t *testing.T, repository string, image v1.Image, kept bool, shared string) {
	t.Helper()
	digest := sum(t, image)
	if kept {
		s.pullAll(t, repository+"@"+digest)
	}
	if stored, linked := s.stored(t, digest), s.linked(t, repository, "_manifests/revisions", digest); stored != kept || linked != kept {
		t.Errorf("manifest %s: stored %t, linked %t, want %t", digest, stored, linked, kept)
	}
	for _, layer := range layersOf(t, image) {
		if stored, linked := s.stored(t, layer), s.linked(t, repository, "_layers", layer); layer != shared && (stored != kept || linked != kept) {
			t.Errorf("blob %s: stored %t, linked %t, want %t", layer, stored, linked, kept)
		}
	}
}

// garbage pushes an image and removes tag and Image, as a run that ended after its stage 2 does.
func (s *storehouse) garbage(t *testing.T, namespace, stream, tag string) v1.Image {
	t.Helper()
	image := s.pushImage(t, namespace+"/"+stream+":"+tag)
	fatal(t, s.Images.ImageV1().ImageStreamTags(namespace).Delete(t.Context(), stream+":"+tag, metav1.DeleteOptions{}))
	fatal(t, s.Images.ImageV1().Images().Delete(t.Context(), sum(t, image), metav1.DeleteOptions{}))
	return image
}

// Behaviours 47, 51 and 53: what interruptions left goes, what a push relied on again stays, and so does a
// child whose Image is missing. Two callers at a time both come to an end.
func testLeftovers(t *testing.T, s *storehouse) {
	namespace := s.namespace(t)
	s.cleanUp(t, namespace)
	repository := namespace + "/app"
	lost, reused := s.garbage(t, namespace, "app", "lost"), s.garbage(t, namespace, "app", "reused")
	child, err := random.Image(2048, 1)
	fatal(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child})
	fatal(t, remote.WriteIndex(s.reference(t, repository+":multi"), index, s.options(t.Context())...))
	fatal(t, s.Images.ImageV1().Images().Delete(t.Context(), sum(t, child), metav1.DeleteOptions{}))
	s.later(t, "")
	// A client has found that these are there and may rely on it.
	for _, layer := range layersOf(t, reused) {
		digest, err := v1.NewHash(layer)
		fatal(t, err)
		found, err := remote.Layer(s.reference(t, repository+":x").Context().Digest(digest.String()), s.options(t.Context())...)
		fatal(t, err)
		if _, err := found.Size(); err != nil { // asks with HEAD
			t.Fatal(err)
		}
	}
	pruner := s.as(t, role)
	code, plan, stderr := s.pruner(t.Context(), pruner, "gc", "--min-age=1h")
	if code != 0 || !strings.Contains(plan, "would-delete\tblob\t"+sum(t, lost)+"\tsize=") || !s.stored(t, sum(t, lost)) {
		t.Fatalf("dry run: exit %d\n%s%s", code, plan, stderr)
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if code, out, problems := s.pruner(t.Context(), pruner, "gc", "--confirm", "--min-age=1h", "--max-delete-percent=100"); code != 0 {
				t.Errorf("gc --confirm: exit %d\n%s%s", code, out, problems)
			}
		})
	}
	group.Wait()
	s.expect(t, repository, lost, false, "")
	for _, layer := range layersOf(t, reused) {
		if !s.stored(t, layer) {
			t.Errorf("blob %s was relied on and is gone", layer)
		}
	}
	if s.stored(t, sum(t, reused)) {
		t.Error("the manifest that nobody asked for is still there")
	}
	s.pullAll(t, repository+"@"+sum(t, child))
	// The push goes on where it stopped.
	fatal(t, remote.Write(s.reference(t, repository+":reused"), reused, s.options(t.Context())...))
	s.pullAll(t, repository+":reused")
	if len(pruner.changes()) != 0 {
		t.Errorf("gc changed in the cluster: %v", pruner.changes())
	}
}

// Behaviours 48 and 52: clients push new images and such as are about to be collected, while runs with
// --prune-registry and collections follow one after the other with the smallest age that is safe. Whatever
// was accepted can be pulled.
func testPushes(t *testing.T, s *storehouse) {
	namespace := s.namespace(t)
	s.cleanUp(t, namespace)
	const clients, rounds = 3, 4
	var lost []v1.Image
	for i := range clients {
		for range rounds {
			lost = append(lost, s.garbage(t, namespace, fmt.Sprintf("app%d", i), "lost"))
			s.pushImage(t, fmt.Sprintf("%s/app%d:history", namespace, i))
		}
	}
	s.later(t, "")
	var pushing, pruning sync.WaitGroup
	ended := make(chan struct{})
	pruner := s.proxied(t, s.CP.RestConfigFor("system:serviceaccount:image-registry-system:pruner"))
	runs := 0
	pruning.Go(func() {
		for more := true; more; {
			select {
			case <-ended:
				more = false // once more, with everything pushed
			default:
			}
			for _, args := range [][]string{
				{"images", "--confirm", "--prune-registry", "--keep-younger-than=0s", "--keep-tag-revisions=1", "--reference-grace=6h", "--min-age-of-registry"},
				{"gc", "--confirm", "--min-age=10m", "--max-delete-percent=100"},
			} {
				code, out, problems := s.pruner(t.Context(), pruner, args...)
				// A push may write into a directory while it is removed; the next collection looks again. And who
				// pushes without a pause may be ahead of ten attempts to write a stream; the next run decides.
				ahead := more && strings.Contains(out, "the object has been modified")
				if code != 0 && !ahead && !strings.Contains(problems, "directory not empty") {
					t.Errorf("%v: exit %d\n%s%s", args, code, out, problems)
				}
			}
			runs++
		}
	})
	accepted := make([][]string, clients)
	for i := range clients {
		pushing.Go(func() {
			repository := fmt.Sprintf("%s/app%d", namespace, i)
			for round := range 8 * rounds {
				image := lost[(i*rounds+round)%len(lost)]
				if round%2 == 0 {
					var err error
					if image, err = random.Image(2048, 2); err != nil {
						t.Error(err)
						return
					}
				}
				tag := fmt.Sprintf("%s:r%d", repository, round)
				err := remote.Write(s.reference(t, tag), image, s.options(t.Context())...)
				if err != nil { // such a push says so, and the second one succeeds
					err = remote.Write(s.reference(t, tag), image, s.options(t.Context())...)
				}
				if err != nil {
					t.Errorf("push of %s: %v", tag, err)
					continue
				}
				accepted[i] = append(accepted[i], tag)
			}
		})
	}
	pushing.Wait()
	close(ended)
	pruning.Wait()
	for _, tag := range slices.Concat(accepted...) {
		s.pullAll(t, tag)
	}
	stream, err := s.Images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app0", metav1.GetOptions{})
	fatal(t, err)
	for _, tag := range stream.Status.Tags {
		if len(tag.Items) != 1 {
			t.Errorf("tag %s has %d revisions, want one: the runs pruned nothing", tag.Tag, len(tag.Items))
		}
	}
	t.Logf("%d runs beside %d pushes", runs, clients*8*rounds)
}

// Behaviour 54 with the registry's own guards behind those of the pruner.
func testGuardsOfGC(t *testing.T, s *storehouse) {
	namespace := s.namespace(t)
	s.cleanUp(t, namespace)
	lost := s.garbage(t, namespace, "app", "lost")
	s.pushImage(t, namespace+"/app:kept")
	s.later(t, "")
	pruner := s.as(t, role)
	refusal := func(want string, flags ...string) {
		t.Helper()
		code, out, problems := s.pruner(t.Context(), pruner, append([]string{"gc", "--confirm"}, flags...)...)
		if code != 4 || !strings.Contains(problems, want) {
			t.Errorf("exit %d, want 4 with %q\n%s%s", code, want, out, problems)
		}
	}
	unknown := digestOf("nobody knows what is in it")
	incomplete := &imagev1.Image{ObjectMeta: metav1.ObjectMeta{Name: unknown}, DockerImageReference: "registry.example.test/ns/app@" + unknown}
	_, err := s.Images.ImageV1().Images().Create(t.Context(), incomplete, metav1.CreateOptions{})
	fatal(t, err)
	refusal("Image " + incomplete.Name + " is incomplete")
	fatal(t, s.Images.ImageV1().Images().Delete(t.Context(), incomplete.Name, metav1.DeleteOptions{}))

	for _, image := range s.allImages(t) {
		fatal(t, s.Images.ImageV1().Images().Delete(t.Context(), image, metav1.DeleteOptions{}))
	}
	refusal("--allow-empty-metadata")
	if !s.stored(t, sum(t, lost)) {
		t.Error("a refused collection deleted something")
	}
	code, out, problems := s.pruner(t.Context(), pruner, "gc", "--allow-empty-metadata")
	if code != 0 || !strings.Contains(out, sum(t, lost)) {
		t.Errorf("allowed: exit %d\n%s%s", code, out, problems)
	}
}

func (s *storehouse) allImages(t *testing.T) []string {
	t.Helper()
	list, err := s.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	var names []string
	for _, image := range list.Items {
		names = append(names, image.Name)
	}
	return names
}

// Behaviour 56: metadata that were pruned stay pruned, one failure names the reason, and only a dry run is
// made.
func testReadOnlyRegistry(t *testing.T, s *storehouse) {
	namespace := s.namespace(t)
	s.cleanUp(t, namespace)
	for range 3 {
		s.pushImage(t, namespace+"/app:v1")
	}
	s.later(t, ", maintenance: {readonly: {enabled: true}}")
	pruner := s.as(t, role)
	code, out, problems := s.pruner(t.Context(), pruner, "images", "--confirm", "--prune-registry", "--keep-tag-revisions=2")
	if code != 1 || strings.Count(out, "the registry is read-only") != 1 || !strings.Contains(out, "1 images, 1 tag revisions") {
		t.Errorf("images: exit %d\n%s%s", code, out, problems)
	}
	if code, out, problems := s.pruner(t.Context(), pruner, "gc"); code != 0 {
		t.Errorf("gc: exit %d\n%s%s", code, out, problems)
	}
	if code, out, problems := s.pruner(t.Context(), pruner, "gc", "--confirm", "--max-delete-percent=100"); code != 5 || !strings.Contains(problems, "read-only") {
		t.Errorf("gc --confirm: exit %d\n%s%s", code, out, problems)
	}
	files := 0
	fatal(t, filepath.WalkDir(s.storage, func(_ string, entry os.DirEntry, err error) error {
		if info, statErr := entry.Info(); statErr == nil && !entry.IsDir() && time.Since(info.ModTime()) < longAgo/2 {
			files++
		}
		return err
	}))
	if files != 0 {
		t.Errorf("%d files of the storage were written", files)
	}
}
