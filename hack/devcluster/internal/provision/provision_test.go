package provision

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"image.alauda.io/registry/hack/devcluster/internal/plan"
)

func class(mode storagev1.VolumeBindingMode) *storagev1.StorageClass {
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "local"}, Provisioner: plan.Provisioner, VolumeBindingMode: &mode}
}

func claim(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	name := "local"
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "data", UID: "u1", Annotations: map[string]string{}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &name,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func onNode(c *corev1.PersistentVolumeClaim) { c.Annotations[annotationSelectedNode] = "node1" }

func TestAClaimIsServedWhenItsTimeHasCome(t *testing.T) {
	wait, immediate := class(storagev1.VolumeBindingWaitForFirstConsumer), class(storagev1.VolumeBindingImmediate)
	foreign := class(storagev1.VolumeBindingImmediate)
	foreign.Provisioner = "other"
	block := corev1.PersistentVolumeBlock
	for name, tc := range map[string]struct {
		claim        *corev1.PersistentVolumeClaim
		class        *storagev1.StorageClass
		now, refused bool
	}{
		"immediate":           {claim(), immediate, true, false},
		"no Pod yet":          {claim(), wait, false, false},
		"Pod has a node":      {claim(onNode), wait, true, false},
		"no class":            {claim(), nil, false, false},
		"foreign provisioner": {claim(), foreign, false, false},
		"has a volume":        {claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "v" }), immediate, false, false},
		"going away":          {claim(func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{} }), immediate, false, false},
		"block":               {claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = &block }), immediate, false, true},
		"selector":            {claim(func(c *corev1.PersistentVolumeClaim) { c.Spec.Selector = &metav1.LabelSelector{} }), immediate, false, true},
	} {
		now, refused := wanted(tc.claim, tc.class)
		if now != tc.now || (refused != "") != tc.refused {
			t.Errorf("%s: now %v refused %q", name, now, refused)
		}
	}
}

func TestOnlyOwnReleasedVolumesAreDiscarded(t *testing.T) {
	make := func(change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		v := volumeFor("/volumes", claim(), class(storagev1.VolumeBindingImmediate))
		v.Status.Phase = corev1.VolumeReleased
		change(v)
		return v
	}
	for name, tc := range map[string]struct {
		change func(*corev1.PersistentVolume)
		want   bool
	}{
		"released": {func(*corev1.PersistentVolume) {}, true},
		"bound":    {func(v *corev1.PersistentVolume) { v.Status.Phase = corev1.VolumeBound }, false},
		"retained": {func(v *corev1.PersistentVolume) {
			v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
		}, false},
		"foreign": {func(v *corev1.PersistentVolume) { v.Annotations = nil }, false},
	} {
		if got := discarded(make(tc.change)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestNoFolderOutsideTheRootIsTouched(t *testing.T) {
	for path, ok := range map[string]bool{"/volumes/pvc-1": true, "/volumes": false, "/volumes/../etc": false, "/volumes/a/b": false, "/etc": false, "": false} {
		v := volumeFor("/volumes", claim(), class(storagev1.VolumeBindingImmediate))
		v.Spec.HostPath.Path = path
		if _, err := folder("/volumes", v); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestAVolumeLivesAndDiesWithItsClaim(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	root := filepath.Join(t.TempDir(), "volumes")
	client := fake.NewClientset(class(storagev1.VolumeBindingWaitForFirstConsumer), claim(onNode))
	controller, err := New(client, root)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx) }()
	volumes := client.CoreV1().PersistentVolumes()
	var volume *corev1.PersistentVolume
	poll(t, ctx, "a volume", func() bool {
		volume, err = volumes.Get(ctx, "pvc-u1", metav1.GetOptions{})
		return err == nil
	})
	path := filepath.Join(root, "pvc-u1")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("folder: %v, %v", info, err)
	}
	volume.Status.Phase = corev1.VolumeReleased
	if _, err := volumes.UpdateStatus(ctx, volume, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	poll(t, ctx, "the volume to go", func() bool {
		_, err := volumes.Get(ctx, "pvc-u1", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("folder is left: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func poll(t *testing.T, ctx context.Context, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
