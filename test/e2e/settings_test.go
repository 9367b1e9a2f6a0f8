//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSettingsByVariables sets what Config has no field for as operate.md shows it: where the runbooks are, and the
// audit log. The operator leaves these variables alone, and takes neither back.
//
// Behaviour operator 88.
func TestSettingsByVariables(t *testing.T) {
	namespace := shared.namespace(t, "audited")
	auth := shared.pusher(t, namespace)
	t.Cleanup(func() {
		shared.shell(t, "kubectl -n image-registry-system set env deployment/cluster-image-registry-operator RUNBOOK_URL-")
		shared.shell(t, documented(t, "docs/operate.md", "REGISTRY_ALAUDA_AUDIT_ENABLED-"))
		shared.shell(t, "kubectl -n image-registry-system rollout status deployment/cluster-image-registry-operator --timeout=300s")
		shared.waitHealthy(t)
		registryPod(t)
		if env := variablesOfTheRegistry(t); strings.Contains(env, "AUDIT") {
			t.Errorf("the audit log is still on: %s", env)
		}
	})
	shared.shell(t, documented(t, "docs/operate.md", "RUNBOOK_URL="))
	shared.shell(t, documented(t, "docs/operate.md", "REGISTRY_ALAUDA_AUDIT_ENABLED=true"))
	shared.waitHealthy(t)
	registryPod(t)
	pushRandomImage(t, namespace+"/app:v1", auth)
	logs := documented(t, "docs/operate.md", `grep '"audit":true'`)
	eventually(t, "the audit log names the push", func(context.Context) error {
		out, err := shared.tryShell(t, logs)
		if err == nil && !strings.Contains(out, namespace+"/app") {
			err = fmt.Errorf("%d lines about others", strings.Count(out, "\n"))
		}
		return err
	})
	if env := variablesOfTheRegistry(t); !strings.Contains(env, "REGISTRY_ALAUDA_AUDIT_ENABLED=true") {
		t.Errorf("the operator took the audit log back: %s", env)
	}
	operator := shared.shell(t, "kubectl -n image-registry-system set env deployment/cluster-image-registry-operator --list")
	if !strings.Contains(operator, "RUNBOOK_URL=https://wiki.example.com/registry/{alert}") {
		t.Errorf("the operator runs with\n%s", operator)
	}
}

func variablesOfTheRegistry(t *testing.T) string {
	t.Helper()
	return shared.shell(t, "kubectl -n image-registry-system set env deployment/image-registry -c registry --list")
}

// TestShortNamesAreSwitchedOff by the documented patch: the webhook goes, and comes back.
//
// Behaviour operator 88.
func TestShortNamesAreSwitchedOff(t *testing.T) {
	const name = "image-lookup.image.alauda.io"
	there := func(ctx context.Context) (bool, error) {
		_, err := shared.kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
	expect := func(want bool) {
		eventually(t, fmt.Sprintf("webhook %s there: %v", name, want), func(ctx context.Context) error {
			got, err := there(ctx)
			if err == nil && got != want {
				err = fmt.Errorf("it is %v", got)
			}
			return err
		})
	}
	expect(true)
	t.Cleanup(func() {
		shared.shell(t, `kubectl patch configs.imageregistry.operator.alauda.io/cluster --type=merge -p '{"spec":{"imageAPI":{"imageLookup":null}}}'`)
		expect(true)
		shared.waitHealthy(t)
	})
	shared.shell(t, documented(t, "docs/image-triggers-and-lookup.md", `"imageLookup":false`))
	expect(false)
}

// TestRightsOnANewKind: a kind that holds images stops the scheduled runs until the documented command has granted
// the right to list it.
//
// Behaviour operator 88.
func TestRightsOnANewKind(t *testing.T) {
	const account = "--as=system:serviceaccount:image-registry-system:pruner"
	t.Cleanup(func() {
		shared.shell(t, "kubectl delete crd --ignore-not-found gadgets.e2e.example.com")
		shared.shell(t, "kubectl delete --ignore-not-found clusterrole,clusterrolebinding image-pruner-custom-roots")
	})
	shared.shell(t, `kubectl create -f - <<'END'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.e2e.example.com}
spec:
  group: e2e.example.com
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {image: {type: string}}}}
END
kubectl wait crd gadgets.e2e.example.com --for=condition=Established --timeout=60s`)
	mayList := func() error {
		out, err := shared.tryShell(t, "kubectl auth can-i list gadgets.e2e.example.com "+account)
		if err != nil {
			return fmt.Errorf("%s: %w", out, err)
		}
		return nil
	}
	if mayList() == nil {
		t.Fatal("the account of the pruner may list a kind that was made just now")
	}
	// Discovery of a new kind is a moment behind its definition.
	eventually(t, "the kind is listed", func(context.Context) error {
		out, err := shared.tryShell(t, "pruner roots "+account)
		if !strings.Contains(out, "gadgets.e2e.example.com") {
			return fmt.Errorf("%v\n%s", err, out)
		}
		return nil
	})
	shared.shell(t, documented(t, "docs/pruning.md", "-o rbac"))
	eventually(t, "the right counts", func(context.Context) error { return mayList() })
}
