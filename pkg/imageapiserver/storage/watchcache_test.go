//go:build component

package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup"
	"image.alauda.io/registry/pkg/imageapiserver/apigroup/grouptest"
	imageapi "image.alauda.io/registry/pkg/imageapiserver/apis/image"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream"
	"image.alauda.io/registry/pkg/imageapiserver/imagestream/repository"
	"image.alauda.io/registry/pkg/imageapiserver/storage"
	"image.alauda.io/registry/pkg/imageapiserver/storage/compress"
	"image.alauda.io/registry/test/controlplane"
)

const (
	namespace = "default"
	patience  = 30 * time.Second
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

// cachedStreams is the storage of imagestreams with its watch cache over records of a real
// kube-apiserver; the host names can be changed.
func cachedStreams(t *testing.T, hosts *atomic.Pointer[repository.Hosts]) *imagestream.REST {
	t.Helper()
	err := utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{
		string(features.WatchList): false, string(features.ListFromCacheSnapshot): false, string(features.DetectCacheInconsistency): false,
	})
	if err != nil {
		t.Fatal(err)
	}
	cp := shared.Get(t)
	for _, file := range []string{"crd-storedimages.yaml", "crd-storedimagestreams.yaml"} {
		data, err := manifests.Operand(manifests.ImageAPIServer, file)
		if err != nil {
			t.Fatal(err)
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, definition); err != nil {
			t.Fatal(err)
		}
		definitions := apiextensionsclient.NewForConfigOrDie(cp.Config).ApiextensionsV1().CustomResourceDefinitions()
		if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	codecs, err := apigroup.NewCodecs(nil)
	if err != nil {
		t.Fatal(err)
	}
	compressor, err := compress.New(true)
	if err != nil {
		t.Fatal(err)
	}
	getter, err := storage.NewCRDGetter(cp.Config, codecs.Storage, compressor)
	if err != nil {
		t.Fatal(err)
	}
	group, err := apigroup.New(apigroup.Deps{
		RESTOptions: getter, Hosts: func() repository.Hosts { return *hosts.Load() },
		AccessReviews: &grouptest.Reviews{}, Secrets: fake.NewClientset().CoreV1(),
	}, codecs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Streams.Destroy)
	eventually(t, "records are served", func() error { return getter.Ready() })
	return group.Streams
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %s: %v", patience, what, last)
	}
}

func requestContext(ctx context.Context) context.Context {
	ctx = request.WithUser(request.WithNamespace(ctx, namespace), &user.DefaultInfo{Name: "alice"})
	return request.WithRequestInfo(ctx, &request.RequestInfo{
		IsResourceRequest: true, APIGroup: imageapi.GroupName, APIVersion: "v1", Namespace: namespace, Resource: "imagestreams",
	})
}

// fromCache lists what the watch cache holds.
func fromCache(ctx context.Context, list func(context.Context, *metainternal.ListOptions) (runtime.Object, error)) (*imageapi.ImageStreamList, error) {
	obj, err := list(ctx, &metainternal.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	streams, ok := obj.(*imageapi.ImageStreamList)
	if !ok || len(streams.Items) != 1 {
		return nil, fmt.Errorf("the cache has %#v, want one stream", obj)
	}
	return streams, nil
}

// expect reads the next event of a watcher and compares the repository in it.
func expect(t *testing.T, name string, events watch.Interface, eventType watch.EventType, repository string) {
	t.Helper()
	select {
	case event := <-events.ResultChan():
		obj := event.Object
		if cached, ok := obj.(runtime.CacheableObject); ok {
			obj = cached.GetObject()
		}
		stream, ok := obj.(*imageapi.ImageStream)
		if !ok || event.Type != eventType || stream.Status.DockerImageRepository != repository {
			t.Errorf("%s got %s %#v, want %s with repository %q", name, event.Type, event.Object, eventType, repository)
		}
	case <-time.After(patience):
		t.Fatalf("%s got no event %s within %s", name, eventType, patience)
	}
}

// repositoryOn is the repository of the stream on a host.
func repositoryOn(host string) string { return host + "/" + namespace + "/app" }

// Behaviour 66, the host names. What the readers share stays as it was written, with the host of that
// time; each reader gets the repository on the current one.
func TestCachedStreamsAreDecoratedForEachReader(t *testing.T) {
	hosts := &atomic.Pointer[repository.Hosts]{}
	use := func(host string) { hosts.Store(&repository.Hosts{Internal: host}) }
	use("written.example.test")
	streams := cachedStreams(t, hosts)
	ctx, cancel := context.WithCancel(requestContext(t.Context()))
	defer cancel()
	stream := &imageapi.ImageStream{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app", Annotations: map[string]string{"a": "b"}}}
	if _, err := streams.Create(ctx, stream, rest.ValidateAllObjectFunc, &metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cache has the stream", func() error {
		_, err := fromCache(ctx, streams.List)
		return err
	})
	before, err := fromCache(ctx, streams.Store.List)
	if err != nil {
		t.Fatal(err)
	}
	before = before.DeepCopy()
	unchanged := func(want *imageapi.ImageStreamList) {
		t.Helper()
		if cached, err := fromCache(ctx, streams.Store.List); err != nil || !apiequality.Semantic.DeepEqual(want.Items, cached.Items) {
			t.Errorf("reading changed what is cached: error %v, before %+v, after %+v", err, want, cached)
		}
	}
	listed := func(host string) {
		t.Helper()
		if list, err := fromCache(ctx, streams.List); err != nil || list.Items[0].Status.DockerImageRepository != repositoryOn(host) {
			t.Errorf("list from the cache: error %v, streams %+v, want the repository on %s", err, list, host)
		}
	}

	use("first.example.test")
	first, second := open(ctx, t, streams.Watch), open(ctx, t, streams.Watch)
	undecorated := open(ctx, t, streams.Store.Watch)
	expect(t, "first watcher", first, watch.Added, repositoryOn("first.example.test"))
	use("second.example.test")
	expect(t, "undecorated watcher", undecorated, watch.Added, repositoryOn("written.example.test"))
	listed("second.example.test")
	unchanged(before)

	relabel(ctx, t, streams)
	use("third.example.test")
	eventually(t, "the cache has the label", func() error {
		list, err := fromCache(ctx, streams.List)
		if err == nil && list.Items[0].Labels["tier"] != "web" {
			err = errors.New("it has not")
		}
		return err
	})
	after, err := fromCache(ctx, streams.Store.List)
	if err != nil || after.Items[0].Status.DockerImageRepository != repositoryOn("second.example.test") {
		t.Fatalf("the cache holds %+v, error %v: want the repository that was written", after, err)
	}
	after = after.DeepCopy()
	late := open(ctx, t, streams.Watch)
	expect(t, "late watcher", late, watch.Added, repositoryOn("third.example.test"))
	// The others had this event before or after the host changed; either way it is their own copy.
	for name, events := range map[string]watch.Interface{"first watcher": first, "second watcher": second} {
		last := drain(t, name, events)
		if got := last.Status.DockerImageRepository; last.Labels["tier"] != "web" || got == repositoryOn("written.example.test") {
			t.Errorf("%s saw labels %v and repository %q last, want the label and a current repository", name, last.Labels, got)
		}
	}
	listed("third.example.test")
	expect(t, "undecorated watcher", undecorated, watch.Modified, repositoryOn("second.example.test"))
	unchanged(after)
}

// open watches from what the cache holds, until the test ends.
func open(ctx context.Context, t *testing.T, start func(context.Context, *metainternal.ListOptions) (watch.Interface, error)) watch.Interface {
	t.Helper()
	events, err := start(ctx, &metainternal.ListOptions{ResourceVersion: "0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	return events
}

// drain reads events up to the one of the label.
func drain(t *testing.T, name string, events watch.Interface) *imageapi.ImageStream {
	t.Helper()
	for {
		select {
		case event := <-events.ResultChan():
			stream, ok := event.Object.(*imageapi.ImageStream)
			if !ok {
				t.Fatalf("%s got %s %#v", name, event.Type, event.Object)
			}
			if event.Type == watch.Modified {
				return stream
			}
		case <-time.After(patience):
			t.Fatalf("%s got no change within %s", name, patience)
		}
	}
}

// relabel changes the stream by way of the store, as a user does.
func relabel(ctx context.Context, t *testing.T, streams *imagestream.REST) {
	t.Helper()
	label := func(_ context.Context, _, current runtime.Object) (runtime.Object, error) {
		stream, ok := current.DeepCopyObject().(*imageapi.ImageStream)
		if !ok {
			return nil, errors.New("no stream")
		}
		stream.Labels = map[string]string{"tier": "web"}
		return stream, nil
	}
	_, _, err := streams.Update(ctx, "app", rest.DefaultUpdatedObjectInfo(nil, label), rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
