//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Behaviour operator 72. A namespace, a ServiceAccount and a Deployment in one file: the Pods are there before
// the Secret, and pull all the same.
func TestADeploymentAppliedWithItsNamespacePulls(t *testing.T) {
	source := shared.namespace(t, "shelf")
	pushSample(t, source+"/hello:v1", shared.pusher(t, source))
	target := source + "-new"
	shared.shell(t, fmt.Sprintf("kubectl -n %s create rolebinding pullers --clusterrole=system:image-puller --group=system:serviceaccounts:%s", source, target))
	eventually(t, "the admission policy", func(context.Context) error {
		if out, err := shared.tryShell(t, "kubectl get mutatingadmissionpolicy,mutatingadmissionpolicybinding image-registry-pull-secret -o name"); err != nil {
			return errors.New(out)
		}
		return nil
	})
	t.Cleanup(func() { shared.shell(t, "kubectl delete namespace --ignore-not-found --wait=false "+target) })
	file := filepath.Join(t.TempDir(), "all.yaml")
	text := strings.NewReplacer("NAMESPACE", target, "IMAGE", internalHost+"/"+source+"/hello:v1").Replace(`
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: NAMESPACE}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: NAMESPACE}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      serviceAccountName: app
      terminationGracePeriodSeconds: 1
      containers:
      - {name: app, image: IMAGE, imagePullPolicy: Always}
`)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	shared.shell(t, "kubectl apply -f "+file)
	eventually(t, "the Pods run", func(ctx context.Context) error {
		deployment, err := shared.kube.AppsV1().Deployments(target).Get(ctx, "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if deployment.Status.ReadyReplicas == 2 {
			return nil
		}
		out, err := shared.tryShell(t, "kubectl -n "+target+" get pods,events")
		return fmt.Errorf("%d of 2 ready: %s %w", deployment.Status.ReadyReplicas, out, err)
	})
	pods, err := shared.kube.CoreV1().Pods(target).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 2 {
		t.Errorf("%d Pods, want the 2 that were made first", len(pods.Items))
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if len(pod.Spec.ImagePullSecrets) != 1 || pod.Spec.ImagePullSecrets[0].Name != "app-registry-pull" {
			t.Errorf("Pod %s names %v", pod.Name, pod.Spec.ImagePullSecrets)
		}
	}
}
