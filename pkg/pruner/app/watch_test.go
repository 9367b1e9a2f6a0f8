package app

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	imagev1 "image.alauda.io/api/image/v1"
	"image.alauda.io/registry/pkg/pruner/execute"
	"image.alauda.io/registry/pkg/pruner/options"
)

// whenRead does something once, at the moment in which a confirmed run reads its stream again.
func (f *fixture) whenRead(do func()) {
	var once sync.Once
	f.image.PrependReactor("get", "imagestreams", func(clienttesting.Action) (bool, runtime.Object, error) {
		once.Do(do)
		return false, nil, nil
	})
}

// Behaviour 23: revision d becomes used between the snapshot and the write of the stream.
func TestAPodThatAppearsDuringTheRunProtects(t *testing.T) {
	f := newFixture(t, func(o *options.Options) { confirm(o); o.KeepYoungerThan = options.Defaults().KeepYoungerThan })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	source, err := f.source(ctx, newProgress(f.clock))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := source.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	executor := &execute.Executor{Client: f.run.image, Planner: f.planner(ctx, snap), Workers: 1, Wait: f.pause}
	watches, end := f.watch(ctx, source, snap, executor)
	defer end()
	f.whenRead(func() {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "late", CreationTimestamp: long},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "quay.io/ns/app@" + id("d")}}}}
		if _, err := f.kube.CoreV1().Pods("ns").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, used := snap.Uses.AnyDigestUser(id("d")); used {
				return
			}
		}
		t.Error("the Pod was not noticed in 30 s")
	})
	results := executor.Streams(ctx)
	if listed := strings.Join(results[0].Listed, " "); !strings.Contains(listed, id("d")) || strings.Contains(listed, id("c")) {
		t.Errorf("the stream lists %s after the run", listed)
	}
	if err := watches.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	items := executor.Images(ctx, executor.Planner.Images(listedAfter(results)))
	for _, item := range items {
		if item.Digest == id("d") {
			t.Errorf("%+v", item)
		}
	}
}

// Behaviour 23.
func TestAnUnrelatedPushDuringTheRunChangesNothingForOldRevisions(t *testing.T) {
	f := newFixture(t, confirm)
	f.whenRead(func() {
		object, err := f.image.Tracker().Get(imagev1.SchemeGroupVersion.WithResource("imagestreams"), "ns", "app")
		if err != nil {
			t.Error(err)
			return
		}
		changed := object.(*imagev1.ImageStream).DeepCopy()
		changed.Status.Tags = append(changed.Status.Tags, imagev1.NamedTagEventList{Tag: "v2", Items: []imagev1.TagEvent{{Created: metav1.NewTime(now), Image: id("f")}}})
		if err := f.image.Tracker().Update(imagev1.SchemeGroupVersion.WithResource("imagestreams"), changed, "ns"); err != nil {
			t.Error(err)
		}
	})
	if code := f.code(); code != 0 {
		t.Fatalf("exit %d: %s", code, f.errors.String())
	}
	stream, err := f.image.ImageV1().ImageStreams("ns").Get(context.Background(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(stream.Status.Tags) != 2 || len(stream.Status.Tags[0].Items) != 2 || len(stream.Status.Tags[1].Items) != 1 {
		t.Errorf("left %+v", stream.Status.Tags)
	}
}

// An index that is used again while it is being deleted needs its children: none of them goes after it.
func TestChildrenOfAnIndexThatIsUsedAgainStay(t *testing.T) {
	f := newFixture(t, confirm)
	for _, object := range []*imagev1.Image{image("1", "2"), image("2")} {
		if err := f.image.Tracker().Add(object); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	source, err := f.source(ctx, newProgress(f.clock))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := source.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	executor := &execute.Executor{Client: f.run.image, Planner: f.planner(ctx, snap), Workers: 1, Wait: f.pause}
	f.image.PrependReactor("delete", "images", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.DeleteAction).GetName() == id("1") {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "late"},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "quay.io/ns/app@" + id("1")}}}}
			if _, err := f.kube.CoreV1().Pods("ns").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
				t.Error(err)
			}
			if err := source.ReadRoots(ctx, snap); err != nil {
				t.Error(err)
			}
		}
		return false, nil, nil
	})
	actions := map[string]string{}
	for _, item := range executor.Images(ctx, executor.Planner.Images(map[string]string{})) {
		actions[item.Digest] = item.Action
	}
	if actions[id("1")] != "deleted" || actions[id("2")] != "skipped" {
		t.Errorf("index %s, child %s", actions[id("1")], actions[id("2")])
	}
}
