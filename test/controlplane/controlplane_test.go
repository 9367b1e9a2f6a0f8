//go:build component

package controlplane_test

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/test/controlplane"
)

var shared = controlplane.NewShared(controlplane.WithControllerManager())

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func TestNamespaceDeletionFinishes(t *testing.T) {
	cp := shared.Get(t)
	client := kubernetes.NewForConfigOrDie(cp.Config).CoreV1().Namespaces()
	created, err := client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "gone-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	if err := client.Delete(t.Context(), created.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete namespace: %v", err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := client.Get(ctx, created.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		t.Errorf("namespace %s is still there after a minute", created.Name)
	}
}

func TestOrdinaryUserHasNoRights(t *testing.T) {
	cp := shared.Get(t)
	client := kubernetes.NewForConfigOrDie(cp.RestConfigFor("alice", "developers"))
	_, err := client.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("listing Secrets as alice: want Forbidden, got %v", err)
	}
}

func TestAggregationIsConfigured(t *testing.T) {
	cp := shared.Get(t)
	client := kubernetes.NewForConfigOrDie(cp.Config)
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		config, err := client.CoreV1().ConfigMaps("kube-system").Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		return err == nil && config.Data["requestheader-client-ca-file"] != "", nil
	})
	if err != nil {
		t.Error("ConfigMap extension-apiserver-authentication has no requestheader-client-ca-file")
	}
}

func TestWhatIsStoredOutlivesRestarts(t *testing.T) {
	cp := controlplane.Start(t)
	client, err := kubernetes.NewForConfig(cp.Config)
	if err != nil {
		t.Fatal(err)
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept", Namespace: "default"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, programs := range [][]string{{"kube-apiserver"}, {"etcd"}, {"etcd", "kube-apiserver"}} {
		if err := cp.Restart(programs...); err != nil {
			t.Fatalf("restart of %v: %v", programs, err)
		}
		if _, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Errorf("after a restart of %v: %v", programs, err)
		}
	}
	if err := cp.Restart("kube-scheduler"); err == nil {
		t.Error("a program that does not run was restarted")
	}
}
