//go:build component

package apiserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
)

func TestStorageInCustomResources(t *testing.T) {
	e := start(t)
	suite(t, e)
	t.Run("records", func(t *testing.T) { testRecords(t, e) })
	t.Run("storage outage", func(t *testing.T) { testStorageOutage(t, e) })
}

func TestStorageInEtcd(t *testing.T) {
	endpoint := shared.Get(t).EtcdEndpoint
	suite(t, start(t, "--image-storage=etcd", "--etcd-servers="+endpoint, "--etcd-prefix=/test/image.alauda.io"))
}

func suite(t *testing.T, e *environment) {
	for name, test := range map[string]func(*testing.T, *environment){
		"discovery":               testDiscovery,
		"openapi":                 testOpenAPI,
		"health":                  testHealth,
		"streams":                 testStreams,
		"watch":                   testWatch,
		"watch by fields":         testFieldWatch,
		"watch of images":         testImageWatch,
		"secrets":                 testSecrets,
		"many tags":               testManyTags,
		"large images":            testLargeImages,
		"hostile JSON":            testHostileJSON,
		"large index":             testLargeIndex,
		"mapping":                 testMapping,
		"missing":                 testMissing,
		"terminating namespace":   testTerminating,
		"table":                   testTable,
		"unprivileged user":       testUnprivileged,
		"virtual resources watch": testNoWatchOnTags,
		"replicas":                testReplicas,
		"apply":                   testApply,
		"apply of tags":           testApplyTags,
		"tag updates":             testTagUpdates,
		"selectors":               testSelectors,
		"collection":              testDeleteCollection,
		"dry run":                 testDryRun,
		"bad requests":            testBadRequests,
		"kubectl":                 testKubectl,
		"controller manager":      testControllerManager,
		"namespace deletion":      testNamespaceDeletion,
		"configuration reload":    testReload,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
}

func testHealth(t *testing.T, e *environment) {
	client := kubernetes.NewForConfigOrDie(e.replicas[0]).Discovery().RESTClient()
	ready, err := client.Get().AbsPath("/readyz").Param("verbose", "true").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []string{"image-layer-index", "informer-sync", "storage", "image-config-reload", "request-header-ca"} {
		if !strings.Contains(string(ready), check) {
			t.Errorf("/readyz has no check %s:\n%s", check, ready)
		}
	}
	live, err := client.Get().AbsPath("/livez").Param("verbose", "true").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []string{"crd-storage", "etcd", "image-layer-index"} {
		if strings.Contains(string(live), check) {
			t.Errorf("/livez depends on %s:\n%s", check, live)
		}
	}
}

func stream(name string) *imagev1.ImageStream {
	return &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func testStreams(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	created, err := streams.Create(t.Context(), stream("app"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := internalHost + "/" + namespace + "/app"; created.Status.DockerImageRepository != want || created.Generation != 1 {
		t.Errorf("created stream: repository %q, generation %d; want %q, 1", created.Status.DockerImageRepository, created.Generation, want)
	}
	if _, err := streams.Create(t.Context(), stream("app"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("second create: %v, want AlreadyExists", err)
	}
	if _, err := streams.Create(t.Context(), stream("Not_Valid"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("create with a bad name: %v, want Invalid", err)
	}
	if _, err := streams.Create(t.Context(), stream("under_score"), metav1.CreateOptions{}); err != nil {
		t.Errorf("create with a name that is no DNS name: %v", err)
	}

	changed := created.DeepCopy()
	changed.Labels = map[string]string{"tier": "web"}
	changed.Spec.LookupPolicy.Local = true
	updated, err := streams.Update(t.Context(), changed, metav1.UpdateOptions{})
	if err != nil || updated.Generation != 2 || updated.ResourceVersion == created.ResourceVersion {
		t.Fatalf("update: generation %d, error %v", updated.Generation, err)
	}
	if _, err := streams.Update(t.Context(), changed, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("update of an old version: %v, want Conflict", err)
	}
	if same, err := streams.Update(t.Context(), updated, metav1.UpdateOptions{}); err != nil || same.ResourceVersion != updated.ResourceVersion {
		t.Errorf("update without a change: version %s, want %s, error %v", same.ResourceVersion, updated.ResourceVersion, err)
	}
	for selector, want := range map[string]int{"tier=web": 1, "tier=db": 0, "": 2} {
		if list, err := streams.List(t.Context(), metav1.ListOptions{LabelSelector: selector}); err != nil || len(list.Items) != want {
			t.Errorf("list %q: %d streams, want %d, error %v", selector, len(list.Items), want, err)
		}
	}
	first, err := streams.List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil || len(first.Items) != 1 || first.Continue == "" {
		t.Fatalf("first page: %d streams, continue %q, error %v", len(first.Items), first.Continue, err)
	}
	if rest, err := streams.List(t.Context(), metav1.ListOptions{Limit: 1, Continue: first.Continue}); err != nil || len(rest.Items) != 1 || rest.Items[0].Name == first.Items[0].Name {
		t.Errorf("second page: %d streams, error %v", len(rest.Items), err)
	}
	if err := streams.Delete(t.Context(), "app", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := streams.Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("get after delete: %v, want NotFound", err)
	}
}

// Behaviour 24.
func testWatch(t *testing.T, e *environment) {
	streams := e.images.ImageV1().ImageStreams(e.newNamespace(t))
	list, err := streams.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := streams.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, LabelSelector: "tier=web"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	labelled := stream("app")
	labelled.Labels = map[string]string{"tier": "web"}
	current, err := streams.Create(t.Context(), labelled, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	current.Spec.LookupPolicy.Local = true
	if current, err = streams.Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	current.Labels = nil
	if _, err = streams.Update(t.Context(), current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted} {
		select {
		case event := <-events.ResultChan():
			got, ok := event.Object.(*imagev1.ImageStream)
			if event.Type != want || !ok || got.Status.DockerImageRepository == "" {
				t.Errorf("event %s %#v, want %s with the repository filled in", event.Type, event.Object, want)
			}
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func mapping(name, tag, content string) *imagev1.ImageStreamMapping {
	return &imagev1.ImageStreamMapping{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Image: imagev1.Image{
			ObjectMeta: metav1.ObjectMeta{Name: digestOf(content), Annotations: map[string]string{
				"alauda.io/image.managed": "true", "image.alauda.io/manifestBlobStored": "true",
			}},
			DockerImageManifestMediaType: "application/vnd.oci.image.manifest.v1+json",
			DockerImageLayers:            []imagev1.ImageLayer{{Name: digestOf(content + " layer"), LayerSize: 7, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip"}},
		},
		Tag: tag,
	}
}

func testMapping(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	api := e.images.ImageV1()
	if _, err := api.ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ImageStreamMappings(namespace).Create(t.Context(), mapping("app", "v1", namespace), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tag, err := api.ImageStreamTags(namespace).Get(t.Context(), "app:v1", metav1.GetOptions{})
	if err != nil || tag.Image.Name != digestOf(namespace) {
		t.Fatalf("tag app:v1: image %q, error %v", tag.Image.Name, err)
	}
	if _, err := api.Images().Get(t.Context(), digestOf(namespace), metav1.GetOptions{}); err != nil {
		t.Errorf("image: %v", err)
	}
	if _, err := api.ImageStreamImages(namespace).Get(t.Context(), "app@"+digestOf(namespace), metav1.GetOptions{}); err != nil {
		t.Errorf("image in the stream: %v", err)
	}
	layers, err := api.ImageStreams(namespace).Layers(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if blob, ok := layers.Blobs[digestOf(namespace+" layer")]; !ok || blob.LayerSize == nil || *blob.LayerSize != 7 || !layers.Images[digestOf(namespace)].Local {
		t.Errorf("layers: %+v", layers)
	}
}

func testTable(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	body, err := e.kube.Discovery().RESTClient().Get().
		AbsPath("/apis/image.alauda.io/v1/namespaces", namespace, "imagestreams").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(body, table); err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, column := range table.ColumnDefinitions {
		columns = append(columns, column.Name)
	}
	if want := []string{"Name", "Image Repository", "Tags", "Updated"}; !slices.Equal(columns, want) || len(table.Rows) != 1 {
		t.Errorf("columns %v, %d rows; want %v, 1", columns, len(table.Rows), want)
	}
}

func testUnprivileged(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	for where, host := range map[string]string{"through kube-apiserver": e.cp.Config.Host, "directly": e.replicas[0].Host} {
		config := e.cp.RestConfigFor("alice", "developers")
		if host != e.cp.Config.Host {
			config.Host, config.CAData = host, e.replicas[0].CAData
		}
		api := imageclient.NewForConfigOrDie(config).ImageV1()
		if _, err := api.ImageStreams(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s: list as alice: %v, want Forbidden", where, err)
		}
		if _, err := api.Images().Create(t.Context(), &imagev1.Image{}, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s: create as alice: %v, want Forbidden", where, err)
		}
	}
}

// testReplicas pushes different tags of one stream through both replicas at once.
func testReplicas(t *testing.T, e *environment) {
	const pushes = 10
	namespace := e.newNamespace(t)
	if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for replica, config := range e.replicas {
		client := imageclient.NewForConfigOrDie(config).ImageV1().ImageStreamMappings(namespace)
		for n := range pushes {
			group.Go(func() {
				tag := fmt.Sprintf("r%d-%d", replica, n)
				if _, err := client.Create(t.Context(), mapping("app", tag, namespace+tag), metav1.CreateOptions{}); err != nil {
					t.Errorf("mapping of %s: %v", tag, err)
				}
			})
		}
	}
	group.Wait()
	current, err := e.images.ImageV1().ImageStreams(namespace).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(current.Status.Tags) != pushes*len(e.replicas) {
		t.Errorf("%d tags, want %d, error %v", len(current.Status.Tags), pushes*len(e.replicas), err)
	}
}

// Behaviour 25.
func testApply(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	for _, tag := range []string{"one", "two"} {
		body := fmt.Sprintf(`{"apiVersion":"image.alauda.io/v1","kind":"ImageStream","metadata":{"name":"app"},
			"spec":{"tags":[{"name":%q,"from":{"kind":"DockerImage","name":"example.test/app:%s"}}]}}`, tag, tag)
		if _, err := streams.Patch(t.Context(), "app", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "manager-" + tag}); err != nil {
			t.Fatalf("apply of tag %s: %v", tag, err)
		}
	}
	current, err := streams.Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || len(current.Spec.Tags) != 2 {
		t.Errorf("spec tags %+v, error %v: want both", current.Spec.Tags, err)
	}
}

func testNamespaceDeletion(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	for _, name := range []string{"a", "b"} {
		if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), stream(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.kube.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.eventually(t, "namespace is gone", func(ctx context.Context) error {
		found, err := e.kube.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %+v, error %w", found.Status.Conditions, err)
	})
	e.createNamespace(t, namespace)
	if list, err := e.images.ImageV1().ImageStreams(namespace).List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("%d streams in the new namespace, error %v", len(list.Items), err)
	}
}

func testReload(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	streams := e.images.ImageV1().ImageStreams(namespace)
	if _, err := streams.Create(t.Context(), stream("app"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.configure(t, "externalRegistryHostnames: [registry.example.test]\n")
	defer e.configure(t, "")
	e.eventually(t, "the public repository follows the configuration", func(ctx context.Context) error {
		current, err := streams.Get(ctx, "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, want := current.Status.PublicDockerImageRepository, "registry.example.test/"+namespace+"/app"; got != want {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}
