//go:build component

package pruner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	randomimage "github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/test/imageapi"
)

const (
	// clients work at the same time, on so many streams and workloads.
	clients     = 4
	streams     = 4
	deployments = 6
	// attempts of a push, which a client makes when it is told that a blob has gone.
	attempts = 5
)

var liveTags = []string{"v1", "v2", "latest"}

// life is a cluster in which something happens.
type life struct {
	*storehouse
	calendar   calendar
	kubeconfig string
	namespace  string
	seed       uint64
	rounds     int
	tally      tally

	mu sync.Mutex
	// known are images that were pushed once; they are pushed again at any time. layers are shared by some.
	known  []partial.WithRawManifest
	layers []v1.Layer
	// images are those of known, and the children of its indexes, by digest.
	images map[string]v1.Image
}

// tally counts what happened, so that a test which tried nothing cannot pass.
type tally struct {
	pushed, again, retried, copied, moved, rolled, runs, kills, deleted, revisions, blobs, pulled, images atomic.Int64
	// What became of old images: how many were taken up while some run would delete them, and in which way.
	old, retagged, using, indexed, mounted, slow atomic.Int64
}

func (t *tally) String() string {
	return fmt.Sprintf("%d images pushed and %d pushed again (%d times at the second try or later), %d tags copied, %d tags deleted, %d rollouts; "+
		"%d images taken up that were about to go, %d of these and others tagged again, %d used by Pods and custom objects, %d put into an index, "+
		"%d with a mounted layer, %d with a layer that was uploaded slowly; "+
		"%d runs of the pruner, %d of them killed, took %d revisions, %d images and %d blobs; %d images were pulled whole, %d are left",
		t.pushed.Load(), t.again.Load(), t.retried.Load(), t.copied.Load(), t.moved.Load(), t.rolled.Load(),
		t.old.Load(), t.retagged.Load(), t.using.Load(), t.indexed.Load(), t.mounted.Load(), t.slow.Load(),
		t.runs.Load(), t.kills.Load(), t.revisions.Load(), t.deleted.Load(), t.blobs.Load(), t.pulled.Load(), t.images.Load())
}

func newLife(t *testing.T) *life {
	t.Helper()
	l := &life{storehouse: startStorehouse(t), seed: *liveSeed, images: map[string]v1.Image{}}
	if l.seed == 0 {
		l.seed = uint64(time.Now().UnixNano())
	}
	l.namespace = l.storehouse.namespace(t)
	l.cleanUp(t, l.namespace)
	l.define(t, cloneSets, "CloneSet", ofRollouts)
	user := "pruner-" + strings.ToLower(t.Name())
	l.as(t, role) // binds the user to the role
	l.kubeconfig = l.calendar.proxy(t, l.environment, l.CP.RestConfigFor(user))
	for range 4 {
		layer, err := randomimage.Layer(512, "application/vnd.docker.image.rootfs.diff.tar.gzip")
		fatal(t, err)
		l.layers = append(l.layers, layer)
	}
	return l
}

// begin puts something there before anybody works: an empty cluster is not collected, and what no client
// touches is there to be pruned, whatever the wishes are.
func (l *life) begin(t *testing.T) {
	t.Helper()
	random := rand.New(rand.NewPCG(l.seed, 2))
	var last v1.Image
	for range 5 {
		last = l.newImage(t, random, nil)
		fatal(t, l.write(t.Context(), l.reference(t, l.namespace+"/anchor:v1"), last))
	}
	labels := map[string]string{"app": "anchor"}
	_, err := l.Kube.AppsV1().Deployments(l.namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "anchor"},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: imageapi.InternalHost + "/" + l.namespace + "/anchor@" + sum(t, last)}}},
		}},
	}, metav1.CreateOptions{})
	fatal(t, err)
}

var summary = regexp.MustCompile(`(\d+) (images|tag revisions|blobs)`)

// count adds up what a run says that it deleted.
func (l *life) count(output string) {
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "Summary: deleted") && !strings.HasPrefix(line, "Deleted ") {
			continue
		}
		for _, match := range summary.FindAllStringSubmatch(line, -1) {
			number, _ := strconv.ParseInt(match[1], 10, 64) // digits only
			switch match[2] {
			case "images":
				l.tally.deleted.Add(number)
			case "tag revisions":
				l.tally.revisions.Add(number)
			case "blobs":
				l.tally.blobs.Add(number)
			}
		}
	}
}

func (l *life) stream(random *rand.Rand) string { return fmt.Sprint("app", random.IntN(streams)) }

// step is one thing that a client does.
func (l *life) step(t *testing.T, random *rand.Rand) {
	stream, tag := l.stream(random), liveTags[random.IntN(len(liveTags))]
	switch n := random.IntN(130); {
	case n >= 100:
		l.takeUp(t, random, stream, tag)
	case n < 30:
		l.push(t, stream, tag, l.newImage(t, random, nil), &l.tally.pushed)
	case n < 40:
		l.push(t, stream, tag, l.newIndex(t, random), &l.tally.pushed)
	case n < 45:
		l.pushReferrer(t, random, stream)
	case n < 60:
		if old := l.any(random); old != nil {
			l.push(t, stream, tag, old, &l.tally.again)
		}
	case n < 75:
		l.copyTag(t, random, stream, tag)
	case n < 82:
		err := l.Images.ImageV1().ImageStreamTags(l.namespace).Delete(t.Context(), stream+":"+tag, metav1.DeleteOptions{})
		l.accept(t, "delete tag", err, &l.tally.moved, apierrors.IsNotFound, apierrors.IsConflict)
	default:
		l.rollOut(t, random, stream, tag)
	}
}

// accept counts a success, and takes the refusals that a client has to expect for none.
func (l *life) accept(t *testing.T, what string, err error, count *atomic.Int64, expected ...func(error) bool) {
	t.Helper()
	if err == nil {
		count.Add(1)
		return
	}
	for _, is := range expected {
		if is(err) {
			return
		}
	}
	t.Errorf("%s: %v", what, err)
}

func (l *life) newImage(t *testing.T, random *rand.Rand, subject *v1.Descriptor) v1.Image {
	t.Helper()
	image, err := randomimage.Image(256, 1)
	fatal(t, err)
	image, err = mutate.AppendLayers(image, l.layers[random.IntN(len(l.layers))])
	fatal(t, err)
	image = mutate.MediaType(image, "application/vnd.oci.image.manifest.v1+json")
	if subject != nil {
		image = mutate.Subject(image, *subject).(v1.Image)
	}
	return image
}

func (l *life) newIndex(t *testing.T, random *rand.Rand) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, "application/vnd.oci.image.index.v1+json")
	for range 1 + random.IntN(2) {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: l.newImage(t, random, nil)})
	}
	return index
}

// any is something that was pushed once, by whomever and wherever.
func (l *life) any(random *rand.Rand) partial.WithRawManifest {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) == 0 {
		return nil
	}
	return l.known[random.IntN(len(l.known))]
}

// push tries again as a client would that was told to.
func (l *life) push(t *testing.T, stream, reference string, object partial.WithRawManifest, count *atomic.Int64) {
	t.Helper()
	separator := ":"
	if strings.HasPrefix(reference, "sha256:") {
		separator = "@"
	}
	target := l.reference(t, l.namespace+"/"+stream+separator+reference)
	var err error
	for attempt := range attempts {
		if attempt > 0 {
			l.tally.retried.Add(1)
		}
		if err = l.write(t.Context(), target, object); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("push to %s: %v", target, err)
		return
	}
	count.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if count != &l.tally.again {
		l.remember(object)
	}
}

func (l *life) write(ctx context.Context, target name.Reference, object partial.WithRawManifest) error {
	if index, ok := object.(v1.ImageIndex); ok {
		return remote.WriteIndex(target, index, l.options(ctx)...)
	}
	return remote.Write(target, object.(v1.Image), l.options(ctx)...)
}

// pushReferrer attaches an image to one that the stream lists, by digest or with the tag of a signature.
func (l *life) pushReferrer(t *testing.T, random *rand.Rand, stream string) {
	t.Helper()
	listed := l.listed(t, stream)
	if len(listed) == 0 {
		return
	}
	subject := listed[random.IntN(len(listed))]
	hash, err := v1.NewHash(subject)
	fatal(t, err)
	if random.IntN(2) == 0 {
		l.push(t, stream, strings.Replace(subject, ":", "-", 1)+".sig", l.newImage(t, random, nil), &l.tally.pushed)
		return
	}
	image := l.newImage(t, random, &v1.Descriptor{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: hash, Size: 500})
	l.push(t, stream, sum(t, image), image, &l.tally.pushed)
}

// listed are the digests in the status of a stream.
func (l *life) listed(t *testing.T, stream string) []string {
	t.Helper()
	object, err := l.Images.ImageV1().ImageStreams(l.namespace).Get(t.Context(), stream, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	fatal(t, err)
	var digests []string
	for _, tag := range object.Status.Tags {
		for _, item := range tag.Items {
			digests = append(digests, item.Image)
		}
	}
	return digests
}

// copyTag gives a tag what another stream lists, however old that is.
func (l *life) copyTag(t *testing.T, random *rand.Rand, stream, tag string) {
	t.Helper()
	from := l.stream(random)
	listed := l.listed(t, from)
	if len(listed) == 0 {
		return
	}
	digest := listed[random.IntN(len(listed))]
	api := l.Images.ImageV1().ImageStreamTags(l.namespace)
	wanted := &imagev1.ImageStreamTag{
		ObjectMeta: metav1.ObjectMeta{Name: stream + ":" + tag},
		Tag:        &imagev1.TagReference{Name: tag, From: &corev1.ObjectReference{Kind: imagev1.KindImageStreamImage, Name: from + "@" + digest}},
	}
	_, err := api.Create(t.Context(), wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var existing *imagev1.ImageStreamTag
		if existing, err = api.Get(t.Context(), wanted.Name, metav1.GetOptions{}); err == nil {
			existing.Tag = wanted.Tag
			_, err = api.Update(t.Context(), existing, metav1.UpdateOptions{})
		}
	}
	l.accept(t, "copy tag", err, &l.tally.copied, apierrors.IsNotFound, apierrors.IsConflict, apierrors.IsInvalid, apierrors.IsAlreadyExists)
}

// rollOut makes a workload use what a stream lists, by tag or by digest.
func (l *life) rollOut(t *testing.T, random *rand.Rand, stream, tag string) {
	t.Helper()
	image := imageapi.InternalHost + "/" + l.namespace + "/" + stream + ":" + tag
	if listed := l.listed(t, stream); len(listed) > 0 && random.IntN(3) > 0 {
		image = "mirror.example.test/" + l.namespace + "/" + stream + "@" + listed[random.IntN(len(listed))]
	}
	api := l.Kube.AppsV1().Deployments(l.namespace)
	labels := map[string]string{"app": "x"}
	wanted := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web", random.IntN(deployments))},
		Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
		}},
	}
	_, err := api.Create(t.Context(), wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = api.Update(t.Context(), wanted, metav1.UpdateOptions{})
	}
	l.accept(t, "roll out", err, &l.tally.rolled, apierrors.IsConflict, apierrors.IsNotFound)
}
