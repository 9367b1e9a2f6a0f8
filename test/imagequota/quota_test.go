//go:build component

package imagequota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/test/imageapi"
)

// TestQuota runs one image API for all that quotas do.
func TestQuota(t *testing.T) {
	e := start(t)
	t.Run("Creates", func(t *testing.T) { concurrentCreates(t, e) })
	t.Run("Pushes", func(t *testing.T) { parallelPushes(t, e) })
	t.Run("Names", func(t *testing.T) { names(t, e) })
	t.Run("Late", func(t *testing.T) { lateAndLowered(t, e) })
	t.Run("Controller-manager", func(t *testing.T) { controllerManager(t, e) })
	t.Run("Failed-write", func(t *testing.T) { failedWrite(t, e) })
}

// several runs fn n times at once, half of them on each replica, and counts those that passed. Every refusal
// must be one of a quota.
func (e *environment) several(t *testing.T, n int, fn func(client imageclient.Interface, i int) error) int {
	t.Helper()
	var passed atomic.Int32
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			switch err := fn(e.replicas[i%len(e.replicas)], i); {
			case err == nil:
				passed.Add(1)
			case !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), imagev1.QuotaExceededText):
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	all.Wait()
	return int(passed.Load())
}

// Behaviour image-api 54.
func concurrentCreates(t *testing.T, e *environment) {
	const limit = 20
	ns := e.namespace(t)
	e.quota(t, ns, "q", streamsName, fmt.Sprint(limit))
	passed := e.several(t, 100, func(client imageclient.Interface, i int) error {
		for {
			stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("app", i)}}
			_, err := client.ImageV1().ImageStreams(ns).Create(t.Context(), stream, metav1.CreateOptions{})
			if !apierrors.IsServerTimeout(err) {
				return err
			}
		}
	})
	if passed != limit {
		t.Errorf("%d streams were created, want %d", passed, limit)
	}
	e.used(t, ns, "q", streamsName, limit)
	streams, err := e.replicas[0].ImageV1().ImageStreams(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(streams.Items) != limit {
		t.Errorf("there are %d streams (%v), want %d", len(streams.Items), err, limit)
	}
	if err := e.replicas[1].ImageV1().ImageStreams(ns).Delete(t.Context(), streams.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.used(t, ns, "q", streamsName, limit-1)
}

// Behaviour image-api 54: pushes of different images by many at once fill a quota exactly.
func parallelPushes(t *testing.T, e *environment) {
	const limit, pushes = 100, 200
	ns := e.namespace(t)
	e.quota(t, ns, "q", imagesName, fmt.Sprint(limit), tagsName, fmt.Sprint(limit+50))
	e.stream(t, ns, "app")
	passed := e.several(t, pushes, func(client imageclient.Interface, i int) error {
		return push(t.Context(), client, pushed(ns, "app", fmt.Sprint("v", i), fmt.Sprint("image", i), 10))
	})
	if passed != limit {
		t.Errorf("%d pushes came through, want %d", passed, limit)
	}
	stream, err := e.replicas[0].ImageV1().ImageStreams(ns).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(stream.Status.Tags) != limit {
		t.Errorf("the stream has %d tags (%v), want %d", len(stream.Status.Tags), err, limit)
	}
	e.used(t, ns, "q", imagesName, limit)
	e.used(t, ns, "q", tagsName, limit)
}

// Behaviour image-api 53: each name; what two streams share counts once; deletions give back.
func names(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.waitForControllerManager(t)
	e.quota(t, ns, "q", streamsName, "2", countName, "2", imagesName, "2", tagsName, "3")
	client := e.replicas[1]
	e.stream(t, ns, "app")
	e.stream(t, ns, "second")
	third := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "third"}}
	_, err := client.ImageV1().ImageStreams(ns).Create(t.Context(), third, metav1.CreateOptions{})
	want := "exceeded quota: q, requested: alauda.io/imagestreams=1,count/imagestreams.image.alauda.io=1, used: alauda.io/imagestreams=2,count/imagestreams.image.alauda.io=2, limited: alauda.io/imagestreams=2,count/imagestreams.image.alauda.io=2"
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, mapping := range []*imagev1.ImageStreamMapping{
		pushed(ns, "app", "v1", "one", 1), pushed(ns, "second", "v1", "one", 1), pushed(ns, "app", "v2", "two", 1),
	} {
		if err := push(t.Context(), client, mapping); err != nil {
			t.Fatal(err)
		}
	}
	e.used(t, ns, "q", imagesName, 2)
	e.used(t, ns, "q", tagsName, 3)
	err = push(t.Context(), client, pushed(ns, "app", "v3", "three", 1))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota: q, requested: alauda.io/image-tags=1,alauda.io/images=1") {
		t.Errorf("a third image and a fourth tag: %v", err)
	}
	imageapi.Eventually(t, "an Event tells of the refusal", func(ctx context.Context) error {
		events, err := e.Kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "reason=QuotaExceeded,involvedObject.name=q"})
		if err == nil && len(events.Items) == 0 {
			err = errors.New("there is none")
		}
		return err
	})
	if err := client.ImageV1().ImageStreamTags(ns).Delete(t.Context(), "app:v2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.used(t, ns, "q", imagesName, 1)
	e.used(t, ns, "q", tagsName, 2)
	if err := client.ImageV1().ImageStreams(ns).Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.used(t, ns, "q", streamsName, 1)
	e.used(t, ns, "q", imagesName, 1)
	e.used(t, ns, "q", tagsName, 1)
	e.used(t, ns, "q", countName, 1) // by kube-controller-manager
}

// Behaviour image-api 53: a quota that comes later gets its usage, one below it blocks only growth.
func lateAndLowered(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.stream(t, ns, "app")
	for _, tag := range []string{"v1", "v2"} {
		if err := push(t.Context(), e.replicas[0], pushed(ns, "app", tag, tag, 1)); err != nil {
			t.Fatal(err)
		}
	}
	e.quota(t, ns, "q", imagesName, "1", tagsName, "5")
	e.used(t, ns, "q", imagesName, 2)
	e.used(t, ns, "q", tagsName, 2)
	client := e.replicas[0].ImageV1()
	if _, err := client.ImageStreams(ns).Patch(t.Context(), "app", types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("a label: %v", err)
	}
	if err := push(t.Context(), e.replicas[1], pushed(ns, "app", "again", "v1", 1)); err != nil {
		t.Errorf("a tag on an image that is there: %v", err)
	}
	if err := push(t.Context(), e.replicas[1], pushed(ns, "app", "v3", "v3", 1)); !apierrors.IsForbidden(err) {
		t.Errorf("another image: %v, want a refusal", err)
	}
	if err := client.ImageStreamTags(ns).Delete(t.Context(), "app:v2", metav1.DeleteOptions{}); err != nil {
		t.Errorf("a deletion: %v", err)
	}
	e.used(t, ns, "q", imagesName, 1)
}

// Behaviour image-api 55: kube-controller-manager leaves in a status what it does not count.
func controllerManager(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.stream(t, ns, "app")
	e.quota(t, ns, "q", streamsName, "5", "configmaps", "10")
	e.used(t, ns, "q", streamsName, 1)
	kube := e.Kube.CoreV1()
	before := configMaps(t, e, ns)
	// It counts again because its own resource and the limits change.
	for i := range 3 {
		configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("c", i)}}
		if _, err := kube.ConfigMaps(ns).Create(t.Context(), configMap, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kube.ConfigMaps(ns).Delete(t.Context(), "c0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.used(t, ns, "q", "configmaps", before+2)
	current, err := kube.ResourceQuotas(ns).Get(t.Context(), "q", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	current.Spec.Hard["configmaps"], current.Spec.Hard[streamsName] = resource.MustParse("11"), resource.MustParse("6")
	if _, err := kube.ResourceQuotas(ns).Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	imageapi.Eventually(t, "kube-controller-manager has published the new limits", func(ctx context.Context) error {
		current, err := kube.ResourceQuotas(ns).Get(ctx, "q", metav1.GetOptions{})
		if err != nil {
			return err
		}
		configs, streams := current.Status.Hard["configmaps"], current.Status.Hard[streamsName]
		if configs.Value() != 11 || streams.Value() != 6 {
			return fmt.Errorf("hard is %v", current.Status.Hard)
		}
		if used := current.Status.Used[streamsName]; used.Value() != 1 {
			t.Errorf("it took the usage of streams away: %v", current.Status.Used)
		}
		return nil
	})
}

// configMaps waits until kube-controller-manager has counted the ConfigMaps of a namespace.
func configMaps(t *testing.T, e *environment, ns string) int64 {
	t.Helper()
	var counted int64
	imageapi.Eventually(t, "kube-controller-manager has counted", func(ctx context.Context) error {
		if _, err := e.Kube.CoreV1().ConfigMaps(ns).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
			return err
		}
		all, err := e.Kube.CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		current, err := e.Kube.CoreV1().ResourceQuotas(ns).Get(ctx, "q", metav1.GetOptions{})
		if err != nil {
			return err
		}
		amount, found := current.Status.Used["configmaps"]
		if counted = amount.Value(); !found || counted != int64(len(all.Items)) {
			return fmt.Errorf("used is %v with %d ConfigMaps", current.Status.Used, len(all.Items))
		}
		return nil
	})
	return counted
}

// Behaviour image-api 55: what was reserved for a write that failed comes back, also when nobody gave it back.
func failedWrite(t *testing.T, e *environment) {
	ns := e.namespace(t)
	e.quota(t, ns, "q", streamsName, "5")
	e.stream(t, ns, "app")
	_, err := e.replicas[1].ImageV1().ImageStreams(ns).Create(t.Context(), &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: "app"}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		t.Fatalf("got %v, want that it exists", err)
	}
	e.used(t, ns, "q", streamsName, 1)
	// As a replica leaves it that ends between reservation and write.
	quotas := e.Kube.CoreV1().ResourceQuotas(ns)
	imageapi.Eventually(t, "the test reserves", func(ctx context.Context) error {
		current, err := quotas.Get(ctx, "q", metav1.GetOptions{})
		if err != nil {
			return err
		}
		current.Status.Used[streamsName] = resource.MustParse("4")
		_, err = quotas.UpdateStatus(ctx, current, metav1.UpdateOptions{})
		return err
	})
	e.used(t, ns, "q", streamsName, 1)
}
