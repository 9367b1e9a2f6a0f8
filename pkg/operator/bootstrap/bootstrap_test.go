package bootstrap

import (
	"context"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	registryv1 "image.alauda.io/api/imageregistry/v1"
	"image.alauda.io/client-go/clientset/versioned/fake"
)

// Behaviours 9 and 11: a fresh installation starts nothing.
func TestFirstConfigIsRemovedAndComplete(t *testing.T) {
	client := fake.NewSimpleClientset()
	created, err := Config(context.Background(), client.ImageregistryV1().Configs())
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	config, err := client.ImageregistryV1().Configs().Get(context.Background(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	spec := config.Spec
	if spec.ManagementState != registryv1.Removed {
		t.Errorf("state %s, want Removed", spec.ManagementState)
	}
	if spec.LogLevel != registryv1.LogNormal || spec.OperatorLogLevel != registryv1.LogNormal {
		t.Errorf("log levels %s and %s, want Normal", spec.LogLevel, spec.OperatorLogLevel)
	}
	if spec.Replicas == nil || *spec.Replicas != 1 {
		t.Errorf("replicas %v, want 1", spec.Replicas)
	}
	pull := spec.ImagePullSecret
	if pull.ManagementState != registryv1.Managed || pull.IgnoreSystemNamespaces == nil || !*pull.IgnoreSystemNamespaces {
		t.Errorf("imagePullSecret %+v, want Managed without system namespaces", pull)
	}
	if spec.Storage.EmptyDir != nil || spec.Storage.PVC != nil || spec.Storage.S3 != nil || spec.RolloutStrategy != "" {
		t.Errorf("storage %+v and strategy %q are decided before the registry is enabled", spec.Storage, spec.RolloutStrategy)
	}
	if len(config.Finalizers) != 1 || config.Finalizers[0] != registryv1.Finalizer {
		t.Errorf("finalizers %v", config.Finalizers)
	}
}

func TestFirstPrunerIsSuspended(t *testing.T) {
	client := fake.NewSimpleClientset()
	created, err := Pruner(context.Background(), client.ImageregistryV1().ImagePruners())
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	pruner, err := client.ImageregistryV1().ImagePruners().Get(context.Background(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pruner.Spec.Suspend == nil || !*pruner.Spec.Suspend {
		t.Error("images would be deleted before anybody confirmed the retention policy")
	}
}

func TestWhatExistsIsNeverChanged(t *testing.T) {
	config := &registryv1.Config{ObjectMeta: metav1.ObjectMeta{Name: registryv1.SingletonName}}
	config.Spec.ManagementState = registryv1.Unmanaged
	pruner := &registryv1.ImagePruner{ObjectMeta: metav1.ObjectMeta{Name: registryv1.SingletonName}}
	client := fake.NewSimpleClientset(config, pruner)
	if created, err := Config(context.Background(), client.ImageregistryV1().Configs()); created || err != nil {
		t.Errorf("Config: created %v, error %v", created, err)
	}
	if created, err := Pruner(context.Background(), client.ImageregistryV1().ImagePruners()); created || err != nil {
		t.Errorf("ImagePruner: created %v, error %v", created, err)
	}
	live, err := client.ImageregistryV1().Configs().Get(context.Background(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil || live.Spec.ManagementState != registryv1.Unmanaged {
		t.Errorf("state %s, error %v", live.Spec.ManagementState, err)
	}
	kept, err := client.ImageregistryV1().ImagePruners().Get(context.Background(), registryv1.SingletonName, metav1.GetOptions{})
	if err != nil || kept.Spec.Suspend != nil {
		t.Errorf("suspend %v, error %v", kept.Spec.Suspend, err)
	}
}

func TestAFailureNamesTheObject(t *testing.T) {
	client := fake.NewSimpleClientset()
	refused := errors.New("refused")
	client.PrependReactor("create", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
	_, err := Config(context.Background(), client.ImageregistryV1().Configs())
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), "Config cluster") {
		t.Errorf("error %v", err)
	}
	_, err = Pruner(context.Background(), client.ImageregistryV1().ImagePruners())
	if !errors.Is(err, refused) || !strings.Contains(err.Error(), "ImagePruner cluster") {
		t.Errorf("error %v", err)
	}
}
