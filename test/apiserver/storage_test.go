//go:build component

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	imagev1 "image.alauda.io/api/image/v1"
	storagev1 "image.alauda.io/api/storage/v1"
)

// testRecords looks at what is stored: compressed, behind names that Kubernetes accepts.
func testRecords(t *testing.T, e *environment) {
	namespace := e.newNamespace(t)
	if _, err := e.images.ImageV1().ImageStreams(namespace).Create(t.Context(), stream("under_score"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	records, err := e.dynamic.Resource(storagev1.SchemeGroupVersion.WithResource("storedimagestreams")).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(records.Items) != 1 {
		t.Fatalf("%d records, error %v", len(records.Items), err)
	}
	record := records.Items[0]
	if record.GetAnnotations()["storage.image.alauda.io/name"] != "under_score" || !strings.HasPrefix(record.GetName(), "x--") {
		t.Errorf("record %s has annotations %v", record.GetName(), record.GetAnnotations())
	}
	if spec, ok := record.Object["spec"].(map[string]any); !ok || spec["format"] != "json+zstd" {
		t.Errorf("record has spec %v", record.Object["spec"])
	}
}

// testStorageOutage takes the record kinds away: the server must stop being ready, but neither be
// restarted nor break discovery. Behaviour 1.
func testStorageOutage(t *testing.T, e *environment) {
	kinds := e.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if err := kinds.Delete(t.Context(), "storedimages.storage.image.alauda.io", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(e.replicas[0]).Discovery().RESTClient()
	e.eventually(t, "the replica is not ready", func(ctx context.Context) error {
		answer, err := client.Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil || !strings.Contains(string(answer), "[-]crd-storage failed") {
			return fmt.Errorf("/readyz says %s", answer)
		}
		return nil
	})
	for _, path := range []string{"/livez", "/apis/image.alauda.io/v1"} {
		if answer, err := client.Get().AbsPath(path).DoRaw(t.Context()); err != nil {
			t.Errorf("%s: %v: %s", path, err, answer)
		}
	}
	if _, err := e.images.ImageV1().Images().Create(t.Context(), &imagev1.Image{
		ObjectMeta: metav1.ObjectMeta{Name: digestOf("outage")}, DockerImageReference: "example.test/app@" + digestOf("outage"),
	}, metav1.CreateOptions{}); !apierrors.IsInternalError(err) {
		t.Errorf("create without storage: %v, want an internal error", err)
	}
}
