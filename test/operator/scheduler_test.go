//go:build component

package operator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
)

// schedule runs the real kube-scheduler until the test ends. It takes part in an election, so that it also ends
// when the test process is killed, which takes the API server along.
func (c *cluster) schedule() {
	c.t.Helper()
	kubeconfig, err := c.plane.WriteKubeconfig("scheduler", c.plane.RestConfigFor("system:kube-scheduler"))
	if err != nil {
		c.t.Fatal(err)
	}
	folder := os.Getenv("DEVCLUSTER_BIN")
	if folder == "" {
		folder = filepath.Join("..", "..", "_output", "devcluster", "bin")
	}
	log, err := os.Create(filepath.Join(c.t.ArtifactDir(), "kube-scheduler.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() // the process has its own
	command := exec.Command(filepath.Join(folder, "kube-scheduler"), "--kubeconfig="+kubeconfig, "--secure-port=0", "--leader-elect=true")
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		c.t.Fatalf("kube-scheduler (make devcluster-binaries builds it): %v", err)
	}
	c.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // "signal: killed"
		if text, err := os.ReadFile(log.Name()); c.t.Failed() && err == nil {
			c.t.Logf("end of the log of kube-scheduler:\n%s", text[max(0, len(text)-2048):])
		}
	})
}

// node is one that a test wants.
type node struct {
	name, zone string
	tainted    bool
}

// nodes makes the cluster consist of these nodes, and of no others.
func (c *cluster) nodes(wanted ...node) {
	c.t.Helper()
	client := c.kube.CoreV1().Nodes()
	if err := client.DeleteCollection(c.t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range wanted {
		object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.name, Labels: map[string]string{corev1.LabelHostname: n.name, corev1.LabelOSStable: "linux"}}}
		if n.zone != "" {
			object.Labels[corev1.LabelTopologyZone] = n.zone
		}
		room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")}
		object.Status = corev1.NodeStatus{Capacity: room, Allocatable: room, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}
		if _, err := client.Create(c.t.Context(), object, metav1.CreateOptions{}); err != nil {
			c.t.Fatal(err)
		}
		// Admission taints each new node; what takes that away in a cluster does not run here.
		c.editNode(n.name, func(node *corev1.Node) {
			node.Spec.Taints = nil
			if n.tainted {
				node.Spec.Taints = []corev1.Taint{{Key: "example.com/reserved", Value: "x", Effect: corev1.TaintEffectNoSchedule}}
			}
		})
	}
}

// editNode changes the spec of a node.
func (c *cluster) editNode(name string, change func(*corev1.Node)) {
	c.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		object, err := c.kube.CoreV1().Nodes().Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(object)
		_, err = c.kube.CoreV1().Nodes().Update(c.t.Context(), object, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		c.t.Fatalf("node %s: %v", name, err)
	}
}

// cordon takes a node out of service as `kubectl cordon` and the controller of taints do, or back into it.
func (c *cluster) cordon(name string, out bool) {
	c.t.Helper()
	c.editNode(name, func(node *corev1.Node) {
		node.Spec.Unschedulable, node.Spec.Taints = out, nil
		if out {
			node.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
		}
	})
}

// kubelets play the kubelets of all nodes: what is scheduled runs and what is deleted ends. No process is started.
type kubelets struct {
	t    *testing.T
	kube kubernetes.Interface
	// held keeps Pods that are not ready from becoming so, down makes those of the registry not ready.
	held, down atomic.Bool
}

// playKubelets plays them until the test ends.
func (c *cluster) playKubelets() *kubelets {
	k := &kubelets{t: c.t, kube: c.kube}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				k.tick(ctx)
			}
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return k
}

func (k *kubelets) tick(ctx context.Context) {
	pods, err := k.kube.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return // the test sees that nothing becomes ready
	}
	for _, pod := range pods.Items {
		var err error
		ready := isReady(&pod)
		switch down := k.down.Load() && pod.Labels[nameLabel] == "image-registry"; {
		case pod.Spec.NodeName == "":
		case pod.DeletionTimestamp != nil:
			err = k.kube.CoreV1().Pods(ns).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
		case down && ready:
			err = k.report(ctx, &pod, corev1.ConditionFalse)
		case !down && !ready && !k.held.Load():
			err = k.report(ctx, &pod, corev1.ConditionTrue)
		}
		if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			k.t.Errorf("Pod %s: %v", pod.Name, err)
		}
	}
}

func (k *kubelets) report(ctx context.Context, pod *corev1.Pod, ready corev1.ConditionStatus) error {
	now := metav1.Now()
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
	}
	_, err := k.kube.CoreV1().Pods(ns).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// sharedClaim creates a claim that every node can use, with its volume.
func (c *cluster) sharedClaim(t *testing.T, name string) {
	t.Helper()
	spec := corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, StorageClassName: ptr.To(""), VolumeName: name,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}
	claim, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	volume := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		AccessModes: spec.AccessModes, Capacity: spec.Resources.Requests, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
		PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "198.18.0.9", Path: "/shared"}},
		ClaimRef:               &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: ns, Name: name, UID: claim.UID},
	}}
	if _, err := c.kube.CoreV1().PersistentVolumes().Create(t.Context(), volume, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the claim is bound", func() (bool, string) {
		claim, err := c.kube.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return claim.Status.Phase == corev1.ClaimBound, fmt.Sprint(claim.Status)
	})
}
