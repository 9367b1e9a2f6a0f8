//go:build component

package pruner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
)

// heard is how long ago a user of an image must have appeared for a run that goes on to know of it. One that
// appears in the very moment of a deletion comes too late, and is told so by its kubelet.
const heard = 5 * time.Second

// cloneSets are custom objects that the shipped role may read.
var cloneSets = schema.GroupVersionResource{Group: "apps.kruise.io", Version: "v1alpha1", Resource: "clonesets"}

// old are images that the pruner takes for old just now, which no stream lists and nobody uses: some run
// deletes them in this moment.
func (l *life) old(t *testing.T) []v1.Image {
	t.Helper()
	taken := map[string]bool{}
	for n := range streams {
		for _, digest := range l.listed(t, fmt.Sprint("app", n)) {
			taken[digest] = true
		}
	}
	for _, one := range l.uses(t, 0) {
		taken[one.digest] = true
	}
	images, err := l.Images.ImageV1().Images().List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	limit := time.Unix(0, l.calendar.passed.Load())
	var old []v1.Image
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range images.Items {
		image := &images.Items[i]
		object, isImage := l.images[image.Name]
		stamp, err := time.Parse(time.RFC3339, image.Annotations[imagev1.ImageLastReferencedTimeAnnotation])
		young := !image.CreationTimestamp.Time.Before(limit) || err == nil && !stamp.Before(limit)
		if isImage && !taken[image.Name] && !young {
			old = append(old, object)
		}
	}
	return old
}

// remember enters what was pushed; the lock is held.
func (l *life) remember(object partial.WithRawManifest) {
	l.known = append(l.known, object)
	index, ok := object.(v1.ImageIndex)
	if !ok {
		l.rememberImage(object.(v1.Image))
		return
	}
	if manifest, err := index.IndexManifest(); err == nil { // one that was pushed can be read
		for _, child := range manifest.Manifests {
			if image, err := index.Image(child.Digest); err == nil {
				l.rememberImage(image)
			}
		}
	}
}

func (l *life) rememberImage(image v1.Image) {
	if digest, err := image.Digest(); err == nil {
		l.images[digest.String()] = image
	}
}

// takeUp uses an image that is old enough to go in this very moment, or one that was pushed once, in one of the
// ways in which clients come back to what they left.
func (l *life) takeUp(t *testing.T, random *rand.Rand, stream, tag string) {
	t.Helper()
	var image v1.Image
	if old := l.old(t); len(old) > 0 {
		image = old[random.IntN(len(old))]
		l.tally.old.Add(1)
	} else if once, ok := l.any(random).(v1.Image); ok {
		image = once
	} else {
		return
	}
	switch random.IntN(7) {
	case 0:
		l.push(t, stream, tag, image, &l.tally.again)
	case 1:
		l.retag(t, random, stream, tag, sum(t, image))
	case 2:
		l.usePod(t, random, stream, sum(t, image))
	case 3:
		l.useCloneSet(t, random, stream, sum(t, image))
	case 4:
		l.push(t, stream, sum(t, image), image, &l.tally.again)
		index := mutate.IndexMediaType(empty.Index, "application/vnd.oci.image.index.v1+json")
		for _, child := range []v1.Image{image, l.newImage(t, random, nil)} {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: child})
		}
		l.push(t, stream, tag, index, &l.tally.indexed)
	case 5:
		l.mount(t, random, stream, tag, image)
	default:
		l.uploadSlowly(t, random, stream, tag, image)
	}
}

// retag gives a manifest that a repository still has a tag, without its bytes. It may have gone.
func (l *life) retag(t *testing.T, random *rand.Rand, stream, tag, digest string) {
	t.Helper()
	for range streams { // only the repository where it was pushed has it
		from := l.stream(random)
		descriptor, err := remote.Get(l.digestOf(from, digest), l.options(t.Context())...)
		if err != nil {
			continue
		}
		target := l.reference(t, l.namespace+"/"+from+":"+tag)
		err = remote.Put(target, descriptor, l.options(t.Context())...)
		l.accept(t, "tag "+digest+" again", err, &l.tally.retagged, told)
		return
	}
}

// told: a client was told that something has gone, and would have to push it.
func told(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode >= 400 && answer.StatusCode < 500
}

func (l *life) userImage(stream, digest string) string {
	return imageapi.InternalHost + "/" + l.namespace + "/" + stream + "@" + digest
}

// usePod has a Pod name an image by digest. Its name is taken again and again.
func (l *life) usePod(t *testing.T, random *rand.Rand, stream, digest string) {
	t.Helper()
	api := l.Kube.CoreV1().Pods(l.namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("user", random.IntN(deployments))},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: l.userImage(stream, digest)}}},
	}
	_, err := api.Create(t.Context(), pod, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = api.Delete(t.Context(), pod.Name, *metav1.NewDeleteOptions(0))
	}
	l.accept(t, "use by a Pod", err, &l.tally.using, apierrors.IsNotFound, apierrors.IsConflict)
}

func (l *life) cloneSets() dynamic.ResourceInterface {
	return dynamic.NewForConfigOrDie(l.CP.Config).Resource(cloneSets).Namespace(l.namespace)
}

// useCloneSet has a custom object name an image by digest.
func (l *life) useCloneSet(t *testing.T, random *rand.Rand, stream, digest string) {
	t.Helper()
	container := map[string]any{"name": "main", "image": l.userImage(stream, digest)}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": cloneSets.GroupVersion().String(), "kind": "CloneSet",
		"metadata": map[string]any{"name": fmt.Sprint("clones", random.IntN(deployments))},
		"spec":     map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{container}}}},
	}}
	_, err := l.cloneSets().Create(t.Context(), object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = l.cloneSets().Delete(t.Context(), object.GetName(), metav1.DeleteOptions{})
	}
	l.accept(t, "use by a CloneSet", err, &l.tally.using, apierrors.IsNotFound, apierrors.IsConflict)
}

// uses are the images that objects name by digest since some time.
func (l *life) uses(t *testing.T, since time.Duration) []use {
	t.Helper()
	var all []use
	add := func(kind string, object metav1.Object, image string) {
		repository, digest, byDigest := strings.Cut(image, "@")
		if byDigest && time.Since(changed(object)) >= since {
			by := fmt.Sprintf("%s %s %s, generation %d", kind, object.GetName(), object.GetUID(), object.GetGeneration())
			all = append(all, use{path.Base(repository), digest, by})
		}
	}
	workloads, err := l.Kube.AppsV1().Deployments(l.namespace).List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	for i := range workloads.Items {
		add("Deployment", &workloads.Items[i], workloads.Items[i].Spec.Template.Spec.Containers[0].Image)
	}
	pods, err := l.Kube.CoreV1().Pods(l.namespace).List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	for i := range pods.Items {
		add("Pod", &pods.Items[i], pods.Items[i].Spec.Containers[0].Image)
	}
	sets, err := l.cloneSets().List(t.Context(), metav1.ListOptions{})
	fatal(t, err)
	for i := range sets.Items {
		containers, _, _ := unstructured.NestedSlice(sets.Items[i].Object, "spec", "template", "spec", "containers")
		for _, container := range containers {
			if fields, ok := container.(map[string]any); ok {
				image, _ := fields["image"].(string) // written above
				add("CloneSet", &sets.Items[i], image)
			}
		}
	}
	return all
}

// changed is when somebody wrote an object last.
func changed(object metav1.Object) time.Time {
	last := object.GetCreationTimestamp().Time
	for _, entry := range object.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// mount pushes an image whose layer is to be mounted from a repository that may lose it just now.
func (l *life) mount(t *testing.T, random *rand.Rand, stream, tag string, from v1.Image) {
	t.Helper()
	layers, err := from.Layers()
	fatal(t, err)
	image := l.newImage(t, random, nil)
	for _, layer := range layers {
		mountable := &remote.MountableLayer{Layer: layer, Reference: l.reference(t, l.namespace+"/"+l.stream(random)+":any")}
		image, err = mutate.AppendLayers(image, mountable)
		fatal(t, err)
	}
	l.push(t, stream, tag, image, &l.tally.mounted)
}

// uploadSlowly sends a layer that an old image has in two parts and does something else between them. Then it
// pushes an image with the layer.
func (l *life) uploadSlowly(t *testing.T, random *rand.Rand, stream, tag string, from v1.Image) {
	t.Helper()
	layers, err := from.Layers()
	fatal(t, err)
	layer := layers[random.IntN(len(layers))]
	content, err := layer.Compressed()
	fatal(t, err)
	defer content.Close()
	body, err := io.ReadAll(content)
	fatal(t, err)
	location, err := l.upload(t.Context(), http.MethodPost, "/v2/"+l.namespace+"/"+stream+"/blobs/uploads/", nil)
	if err == nil {
		location, err = l.upload(t.Context(), http.MethodPatch, location, body[:len(body)/2])
	}
	fatal(t, err)
	l.copyTag(t, random, stream, tag)
	l.push(t, stream, tag, l.newImage(t, random, nil), &l.tally.pushed)
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	_, err = l.upload(t.Context(), http.MethodPut, location+separator+"digest="+sum(t, layer), body[len(body)/2:])
	fatal(t, err)
	image, err := mutate.AppendLayers(l.newImage(t, random, nil), layer)
	fatal(t, err)
	l.push(t, stream, tag, image, &l.tally.slow)
}

// upload sends one request of an upload and returns where it goes on.
func (l *life) upload(ctx context.Context, method, location string, body []byte) (string, error) {
	if strings.HasPrefix(location, "/") {
		location = "http://" + l.host + location
	}
	request, err := http.NewRequestWithContext(ctx, method, location, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+l.pusher.(*authn.Bearer).Token)
	request.Header.Set("Content-Type", "application/octet-stream")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // for the error alone
	if answer.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s of an upload: %s: %s", method, answer.Status, text)
	}
	return answer.Header.Get("Location"), nil
}
