package streaminformer_test

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"

	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/streaminformer"
)

func TestInformerFollowsTheStore(t *testing.T) {
	env := grouptest.New(t)
	env.CreateStream(stream("a", "app"))
	env.CreateStream(stream("b", "app"))
	informer := streaminformer.New(env.Streams())
	go informer.RunWithContext(t.Context())
	if !cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced) {
		t.Fatal("not synced")
	}
	lister := streaminformer.NewLister(informer)
	if n := len(lister.All()); n != 2 {
		t.Fatalf("%d streams, want 2", n)
	}
	got, found := lister.Get("a", "app")
	if want := grouptest.Internal + "/a/app"; !found || got.Status.DockerImageRepository != want {
		t.Errorf("repository %q, want %q", got.Status.DockerImageRepository, want)
	}
	env.CreateStream(stream("a", "second"))
	if _, _, err := env.Streams().Delete(env.Request("alice", "b", "imagestreams"), "app", rest.ValidateAllObjectFunc, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		return len(lister.Namespace("a")) == 2 && len(lister.Namespace("b")) == 0, nil
	}); err != nil {
		t.Errorf("a has %d and b %d streams, want 2 and none", len(lister.Namespace("a")), len(lister.Namespace("b")))
	}
}

func stream(namespace, name string) *imageapi.ImageStream {
	return &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}
