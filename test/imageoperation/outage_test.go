//go:build component

package imageoperation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

func tagNamed(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{Kind: "ImageStreamTag", Name: name}
}

// Behaviour 1, and what 11.6 promises of an outage: while the store hangs, every request ends within its
// deadline, discovery and liveness are served, and afterwards everything works again without a restart.
func TestRequestsEndWhileTheStoreHangs(t *testing.T) {
	const limit, grace = 3 * time.Second, 7 * time.Second
	cp := controlplane.Start(t)
	s := imageapi.Start(t, cp)
	namespace := newNamespace(t, s)
	asking := newClient(t, direct(t, s))
	base := group + "/namespaces/" + namespace
	push := func(content string) (int, []byte, error) {
		return asking.do(http.MethodPost, base+"/imagestreammappings?timeout="+limit.String(), mapping(namespace, "app", "v1", content))
	}
	if code, text, err := push("before"); err != nil || code != http.StatusCreated {
		t.Fatalf("before the outage: %d %s %v", code, text, err)
	}

	resume := cp.Suspend(t, "etcd")
	for name, request := range map[string]func() (int, []byte, error){
		"a push": func() (int, []byte, error) { return push("during") },
		"a write": func() (int, []byte, error) {
			return asking.do(http.MethodPost, base+"/imagestreams?timeout="+limit.String(), map[string]any{"metadata": map[string]any{"name": "new"}})
		},
		"a delete": func() (int, []byte, error) {
			return asking.do(http.MethodDelete, base+"/imagestreamtags/app:v1?timeout="+limit.String(), nil)
		},
		"a quorum read": func() (int, []byte, error) {
			return asking.do(http.MethodGet, base+"/imagestreams?timeout="+limit.String(), nil)
		},
	} {
		start := time.Now()
		code, text, err := request()
		took := time.Since(start)
		if err != nil {
			t.Errorf("%s: no answer after %s: %v", name, took, err)
			continue
		}
		if code != http.StatusGatewayTimeout {
			t.Errorf("%s: status %d, want 504: %s", name, code, text)
		}
		if took > limit+grace {
			t.Errorf("%s with a deadline of %s was answered after %s", name, limit, took)
		}
		t.Logf("%s: status %d after %s", name, code, took.Round(time.Millisecond))
	}
	for _, path := range []string{group, "/livez"} {
		if code, text, err := asking.do(http.MethodGet, path, nil); err != nil || code != http.StatusOK {
			t.Errorf("%s during the outage: %d %s %v", path, code, text, err)
		}
	}

	resume()
	imageapi.Eventually(t, "pushes work again", func(context.Context) error {
		code, text, err := push("after")
		if err == nil && code != http.StatusCreated {
			err = fmt.Errorf("status %d: %s", code, text)
		}
		return err
	})
}

// Behaviour 59: while the server is scaled to zero, which takes its APIService away, a namespace with streams
// can be deleted; nothing of it is there when the server is back, and the rest is as it was.
func TestNamespaceCanBeDeletedWhileScaledToZero(t *testing.T) {
	s := imageapi.Prepare(t, shared.Get(t))
	var deleted, kept string
	t.Run("before", func(t *testing.T) {
		replica := s.Replica(t)
		s.Register(t, replica.Port)
		deleted, kept = newNamespace(t, s), newNamespace(t, s)
		for _, namespace := range []string{deleted, kept} {
			if _, err := s.Images.ImageV1().ImageStreamMappings(namespace).Create(t.Context(), mapping(namespace, "app", "v1", namespace), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}) // Takes the APIService away and stops the server.
	if t.Failed() {
		return
	}
	if err := s.Kube.CoreV1().Namespaces().Delete(t.Context(), deleted, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	imageapi.Eventually(t, "the namespace is gone", func(ctx context.Context) error {
		namespace, err := s.Kube.CoreV1().Namespaces().Get(ctx, deleted, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("conditions %+v", namespace.Status.Conditions)
		}
		return err
	})
	records := dynamic.NewForConfigOrDie(s.CP.Config).Resource(storagev1.SchemeGroupVersion.WithResource("storedimagestreams"))
	list, err := records.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range list.Items {
		if record.GetNamespace() == deleted {
			t.Errorf("record %s is left", record.GetName())
		}
	}
	t.Run("after", func(t *testing.T) {
		replica := s.Replica(t)
		s.Register(t, replica.Port)
		tag, err := s.Images.ImageV1().ImageStreamTags(kept).Get(t.Context(), "app:v1", metav1.GetOptions{})
		if err != nil || tag.Image.Name != digestOf(kept) {
			t.Errorf("the other namespace: %+v, %v", tag, err)
		}
		streams, err := s.Images.ImageV1().ImageStreams(deleted).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(streams.Items) != 0 {
			t.Error(errors.Join(err, fmt.Errorf("%d streams are left", len(streams.Items))))
		}
	})
}
