//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// The documented installation commands; the package itself is installed already, so the namespace
// exists and the labels are the documented ones.
func TestDocumentedNamespacePreparation(t *testing.T) {
	shared.shell(t, `kubectl get namespace image-registry-system >/dev/null 2>&1 || \
  kubectl create namespace image-registry-system`)
	shared.shell(t, `kubectl label namespace image-registry-system \
  cpaas.io/project=cpaas-system \
  pod-security.kubernetes.io/audit=privileged \
  pod-security.kubernetes.io/enforce=privileged \
  pod-security.kubernetes.io/warn=privileged \
  --overwrite`)
	shared.shell(t, `kubectl -n image-registry-system wait \
  --for=condition=Available \
  deployment/cluster-image-registry-operator \
  --timeout=300s`)
}

// Behaviour operator 88.
func TestDocumentedEnabling(t *testing.T) {
	shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io cluster \
  --type=merge \
  -p '{"spec":{"managementState":"Managed"}}'`)
	shared.shell(t, "kubectl -n image-registry-system rollout status deployment/image-registry --timeout=300s")
	shared.shell(t, "kubectl -n image-registry-system rollout status deployment/image-api-server --timeout=300s")
	shared.waitHealthy(t)
	yaml := shared.shell(t, "kubectl get configs.imageregistry.operator.alauda.io cluster -o yaml")
	for _, want := range []string{"type: Available", "type: Progressing", "type: Degraded"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("no %q in\n%s", want, yaml)
		}
	}
	state := shared.shell(t, `kubectl get configs.imageregistry.operator.alauda.io cluster \
  -o jsonpath='{.spec.storage.managementState}{"\n"}'`)
	if state != "Managed" && state != "Unmanaged" {
		t.Errorf("storage management state %q, want Managed or Unmanaged", state)
	}
}

// Behaviour operator 88.
func TestDocumentedStatusCommands(t *testing.T) {
	for _, command := range []string{
		"kubectl -n image-registry-system get deploy cluster-image-registry-operator image-registry image-api-server",
		"kubectl -n image-registry-system get daemonset node-ca",
		"kubectl -n image-registry-system get cronjob image-pruner",
		"kubectl get configs.imageregistry.operator.alauda.io cluster -o yaml",
		"kubectl get imagepruners.imageregistry.operator.alauda.io cluster -o yaml",
		"kubectl -n image-registry-system logs deployment/image-registry -c registry",
	} {
		if shared.shell(t, command) == "" {
			t.Errorf("$ %s printed nothing", command)
		}
	}
	if out := shared.shell(t, "kubectl get apiservice v1.image.alauda.io"); !strings.Contains(out, "True") {
		t.Errorf("APIService is not Available:\n%s", out)
	}
	pods := shared.shell(t, "kubectl -n image-registry-system get pods -l app.kubernetes.io/name=image-registry -o name")
	if pods == "" {
		t.Error("the label selects no Pod")
	}
	for pod := range strings.Lines(pods) {
		if !strings.HasPrefix(pod, "pod/image-registry-") {
			t.Errorf("the label of the registry selects %s", pod)
		}
	}
	out := shared.shell(t, `kubectl auth can-i get pods -n image-registry-system \
  --as=system:serviceaccount:cpaas-system:prometheus-sa`)
	if out != "yes" {
		t.Errorf("the monitoring account may not get pods: %s", out)
	}
}

func TestKubectlShowsUsefulColumns(t *testing.T) {
	namespace := shared.namespace(t, "columns")
	pushRandomImage(t, namespace+"/app:v1", shared.pusher(t, namespace))
	for command, columns := range map[string][]string{
		"kubectl get configs.imageregistry.operator.alauda.io cluster": {"STATE", "AVAILABLE", "PROGRESSING", "DEGRADED", "READY", "AGE", "Managed"},
		"kubectl get imagestreams,imagestreamtags -A":                  {"IMAGE REPOSITORY", "TAGS", "UPDATED", "IMAGE REFERENCE", "app:v1"},
		"kubectl get images":                                 {"NAME", "IMAGE REFERENCE", "sha256:"},
		"kubectl get images -o wide":                         {"SIZE", "LAYERS", "MEDIA TYPE"},
		"kubectl get is -n " + namespace:                     {internalHost + "/" + namespace + "/app"},
		"kubectl api-resources --api-group=image.alauda.io":  {"imagestreams", "imagestreamtags", "imagestreamimages", "imagestreammappings", "images"},
		"kubectl explain imagestream.spec":                   {"lookupPolicy", "tags"},
		"kubectl explain imagestream.spec.tags.importPolicy": {"importMode"},
	} {
		out := shared.shell(t, command)
		for _, want := range columns {
			if !strings.Contains(out, want) {
				t.Errorf("$ %s: no %q in\n%s", command, want, out)
			}
		}
	}
}
