//go:build component

package imagestorage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	storagev1 "image.alauda.io/api/storage/v1"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

const guard = "image-storage-guard.image.alauda.io"

// Behaviours 59 and 60: the records are the server's alone, a namespace takes its own with it, and when
// the registry is Removed a backup can be restored and is served again.
func TestGuardOverTheRecords(t *testing.T) {
	cp := controlplane.Start(t, controlplane.WithControllerManager("namespace-controller"))
	c := newCommand(cp, "/unused")
	streams := dynamic.NewForConfigOrDie(cp.Config).Resource(storagev1.SchemeGroupVersion.WithResource("storedimagestreams"))
	kube := kubernetes.NewForConfigOrDie(cp.Config)
	backup := filepath.Join(t.TempDir(), "backup.json")
	var before string

	t.Run("Managed", func(t *testing.T) {
		server := imageapi.Start(t, cp)
		fill(t, server, "kept")
		fill(t, server, "gone")
		imageapi.Apply(t, cp.Config, manifests.ImageAPIServer, "storage-guard.yaml")
		record := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": storagev1.SchemeGroupVersion.String(), "kind": "StoredImageStream", "metadata": map[string]any{"name": "forged"},
			"spec": map[string]any{"format": "json", "size": int64(2), "data": "e30="},
		}}
		imageapi.Eventually(t, "an administrator may not write a record", func(ctx context.Context) error {
			_, err := streams.Namespace("kept").Create(ctx, record, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Removed") {
				return fmt.Errorf("got %v, want a refusal that says what to do", err)
			}
			return nil
		})
		push(t, server, "kept", "app", "v3", "pushed under the guard")
		c.must(t, "export", "--file="+backup)

		if err := kube.CoreV1().Namespaces().Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		imageapi.Eventually(t, "the namespace is gone", func(ctx context.Context) error {
			if _, err := kube.CoreV1().Namespaces().Get(ctx, "gone", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there: %v", err)
			}
			return nil
		})
		if left, err := streams.Namespace("gone").List(t.Context(), metav1.ListOptions{}); err != nil || len(left.Items) > 0 {
			t.Errorf("records %v are left, error %v", left, err)
		}
		before = served(t, server)
	})

	t.Run("Removed", func(t *testing.T) {
		kept := withoutNamespace(t, backup, "gone")
		emptyRecords(t, cp) // which the guard allows
		if code, output := c.run(t, "import", "--file="+kept); code != 1 || strings.Count(output, "set the registry to Removed") < 6 {
			t.Errorf("import under the guard: exit code %d, %s: want every record refused", code, output)
		}
		policies := kube.AdmissionregistrationV1()
		err := errors.Join(policies.ValidatingAdmissionPolicyBindings().Delete(t.Context(), guard, metav1.DeleteOptions{}),
			policies.ValidatingAdmissionPolicies().Delete(t.Context(), guard, metav1.DeleteOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		imageapi.Eventually(t, "a backup can be restored", func(context.Context) error {
			if code, output := c.run(t, "import", "--file="+kept); code != 0 {
				return errors.New(output)
			}
			return nil
		})
	})

	t.Run("Managed again", func(t *testing.T) {
		if after := served(t, imageapi.Start(t, cp)); after != before {
			t.Errorf("before %s\nafter %s", before, after)
		}
	})
}

// withoutNamespace copies a backup without the streams of a namespace.
func withoutNamespace(t *testing.T, backup, namespace string) string {
	t.Helper()
	data, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	var rest []string
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, `"namespace":"`+namespace+`"`) {
			rest = append(rest, line)
		}
	}
	file := filepath.Join(t.TempDir(), "rest.json")
	if err := os.WriteFile(file, []byte(strings.Join(rest, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
