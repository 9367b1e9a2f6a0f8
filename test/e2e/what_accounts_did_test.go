//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"image.alauda.io/registry/manifests"
)

// right is one verb on one resource.
type right struct{ group, resource, verb string }

func (r right) String() string { return r.verb + " " + r.resource + "." + r.group }

// TestAccountsDidWhatTheirRolesSay compares what the accounts of the product asked of kube-apiserver since the
// cluster was made with the roles as they are shipped.
//
// Behaviour operator 83: every request is allowed, and each verb that the operator holds for itself was used,
// or the table below says what for.
func TestAccountsDidWhatTheirRolesSay(t *testing.T) {
	used := map[right]bool{}
	refused := map[string]int{}
	events := auditLog(t, time.Time{})
	allowed := map[string]bool{}
	for _, event := range events {
		if event.Annotations["authorization.k8s.io/decision"] == "allow" {
			allowed[demand(event)] = true
		}
	}
	for _, event := range events {
		if event.Annotations["authorization.k8s.io/decision"] == "forbid" {
			if !expectedRefusal(event) && !allowed[demand(event)] {
				refused[event.account()+" "+event.Verb+" "+event.resource()+" in "+event.Object.Namespace]++
			}
			continue
		}
		if event.account() != "cluster-image-registry-operator" {
			continue
		}
		used[right{event.Object.Group, event.resource(), event.Verb}] = true
		if event.Verb == "patch" && event.Status.Code == 201 {
			used[right{event.Object.Group, event.resource(), "create"}] = true // server-side apply of something new
		}
	}
	if len(used) < 30 {
		t.Fatalf("the audit log shows only %d rights in use: it is not written", len(used))
	}
	for what, times := range refused {
		t.Errorf("not allowed, %d times: %s", times, what)
	}
	granted := operatorRights(t)
	if len(granted) < 80 {
		t.Fatalf("only %d rights were read from the manifests", len(granted))
	}
	for _, have := range granted {
		if !used[have] && justification(have) == "" {
			t.Errorf("granted, never used and not justified: %s", have)
		}
	}
}

// demand is what an account asked for. One that was allowed at another time was refused by a kube-apiserver that had
// just started, as in TestRestartsAtEveryStep, and had not read the roles.
func demand(event auditEvent) string {
	path, _, _ := strings.Cut(event.RequestURI, "?")
	return event.account() + " " + event.Verb + " " + path
}

// expectedRefusal knows the requests whose refusal is an answer.
func expectedRefusal(event auditEvent) bool {
	// The roles of a registry that is Removed or reinstalled go while the last Pods still ask.
	return event.account() != "cluster-image-registry-operator"
}

// written are the resources of which the operator makes objects.
var written = []string{
	"secrets", "configmaps", "services", "serviceaccounts", "persistentvolumeclaims", "deployments", "daemonsets", "cronjobs",
	"poddisruptionbudgets", "networkpolicies", "ingresses", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "apiservices",
	"customresourcedefinitions", "flowschemas", "prioritylevelconfigurations", "mutatingwebhookconfigurations",
	"validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
}

// justification says what a right is for that no test needs to use.
func justification(r right) string {
	watched := []string{"get", "list", "watch"}
	switch {
	case r.verb == "bind":
		return "checked when a binding is written; not a request"
	case slices.Contains(watched, r.verb):
		return "caches list and watch what can be owned; get follows a delete, or a cache that has not seen an object"
	case r.group == "monitoring.coreos.com":
		return "the Prometheus Operator is not part of the development cluster; test/operator uses each verb"
	case slices.Contains(written, r.resource) && slices.Contains([]string{"create", "patch", "update", "delete"}, r.verb):
		return "the objects of the registry are applied, repaired and taken away; test/operator does each with these rights alone"
	case r.verb == "create" && (r.resource == "tokenreviews" || r.resource == "subjectaccessreviews"):
		return "asked when somebody reads metrics, or when image-api-server does, whose role is written with them"
	case r.resource == "jobs" && r.verb == "delete":
		return "a run of the pruner is ended when the registry is Removed meanwhile"
	case r.group == "coordination.k8s.io":
		return "held for image-api-server, whose role is written with it"
	case r.group == "events.k8s.io" || r.resource == "events":
		return "events of both APIs, new and repeated"
	}
	return ""
}

// operatorRights are the rules of the operator's own roles, apart from those that it only grants.
func operatorRights(t *testing.T) []right {
	t.Helper()
	data, err := fs.ReadFile(manifests.Files, "operator/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out []right
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var role rbacv1.ClusterRole
		if err := sigsyaml.Unmarshal(document, &role); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(role.Kind, "Role") {
			continue
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						out = append(out, right{group, resource, verb})
					}
				}
			}
		}
	}
}
