package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// role is a Role or a ClusterRole of one file.
type role struct {
	file              string
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Rules             []rbacv1.PolicyRule `json:"rules"`
	RoleRef           rbacv1.RoleRef      `json:"roleRef"`
}

// readRBAC returns every object of a folder whose kind is one of the given ones.
func readRBAC(t *testing.T, folder string, kinds ...string) []role {
	t.Helper()
	var found []role
	err := fs.WalkDir(Files, folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		data, err := fs.ReadFile(Files, path)
		if err != nil {
			return err
		}
		documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			r := role{file: path}
			if err := sigsyaml.Unmarshal(document, &r); err != nil {
				return err
			}
			if slices.Contains(kinds, r.Kind) {
				found = append(found, r)
			}
		}
	})
	if err != nil {
		t.Fatalf("read %s: %v", folder, err)
	}
	return found
}

// Behaviour 83: no role of the project has a wildcard.
func TestNoRoleHasAWildcard(t *testing.T) {
	for _, folder := range []string{"operands", "operator"} {
		for _, r := range readRBAC(t, folder, "Role", "ClusterRole") {
			for _, rule := range r.Rules {
				for _, list := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs} {
					for _, entry := range list {
						if strings.Contains(entry, "*") {
							t.Errorf("%s: %s %s has the wildcard %q", r.file, r.Kind, r.Name, entry)
						}
					}
				}
			}
		}
	}
}

// Behaviour 83: the operator holds every rule of every role that it installs, or Kubernetes would refuse
// to let it write that role.
func TestOperatorHoldsWhatItGrants(t *testing.T) {
	clusterWide, inNamespace := operatorRules(t)
	for _, granted := range readRBAC(t, "operands", "Role", "ClusterRole") {
		held := clusterWide
		if granted.Kind == "Role" {
			held = append(slices.Clone(clusterWide), inNamespace...)
		}
		for _, rule := range granted.Rules {
			for _, single := range split(rule) {
				if !slices.ContainsFunc(held, func(have rbacv1.PolicyRule) bool { return covers(have, single) }) {
					t.Errorf("%s %s grants %+v, which the operator does not hold", granted.Kind, granted.Name, single)
				}
			}
		}
	}
}

// Behaviour 83. All parts have their lease in one namespace. The registry, which everybody talks to, must not be able
// to take away the operator's.
func TestNoOperandMayChangeTheLeaseOfAnother(t *testing.T) {
	own := map[string]string{"image-registry": "image-registry-gc", "image-api-server": "image-api-server-controllers"}
	for _, granted := range readRBAC(t, "operands", "Role", "ClusterRole") {
		for _, rule := range granted.Rules {
			for _, single := range split(rule) {
				if !slices.Contains(single.Resources, "leases") || single.Verbs[0] == "create" {
					continue // the name of what is created cannot be demanded, and what exists cannot be created
				}
				if len(single.ResourceNames) == 0 || single.ResourceNames[0] != own[granted.Name] {
					t.Errorf("%s %s in %s: %+v", granted.Kind, granted.Name, granted.file, single)
				}
			}
		}
	}
}

// Behaviour 83: every role that a binding of an operand names is one that the operator may bind.
func TestOperatorMayBindWhatItBinds(t *testing.T) {
	clusterWide, inNamespace := operatorRules(t)
	own := map[string]bool{}
	for _, r := range readRBAC(t, "operands", "Role") {
		own[r.Name] = true // its rules are held, which the test above checks
	}
	held := append(slices.Clone(clusterWide), inNamespace...)
	for _, binding := range readRBAC(t, "operands", "RoleBinding", "ClusterRoleBinding") {
		if binding.RoleRef.Kind == "Role" && own[binding.RoleRef.Name] {
			continue
		}
		want := rbacv1.PolicyRule{
			APIGroups:     []string{rbacv1.GroupName},
			Resources:     []string{strings.ToLower(binding.RoleRef.Kind) + "s"},
			Verbs:         []string{"bind"},
			ResourceNames: []string{binding.RoleRef.Name},
		}
		if !slices.ContainsFunc(held, func(have rbacv1.PolicyRule) bool { return covers(have, want) }) {
			t.Errorf("%s %s binds %s %s, which the operator may not bind", binding.Kind, binding.Name, binding.RoleRef.Kind, binding.RoleRef.Name)
		}
	}
}

// kinds are those of the manifests of the operands.
var kinds = map[string]string{
	"ServiceAccount": "serviceaccounts", "Service": "services", "ConfigMap": "configmaps", "PersistentVolumeClaim": "persistentvolumeclaims",
	"Deployment": "deployments", "DaemonSet": "daemonsets", "CronJob": "cronjobs", "PodDisruptionBudget": "poddisruptionbudgets",
	"Role": "roles", "RoleBinding": "rolebindings", "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
	"ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors", "PrometheusRule": "prometheusrules",
	"NetworkPolicy": "networkpolicies", "Ingress": "ingresses", "APIService": "apiservices", "CustomResourceDefinition": "customresourcedefinitions",
	"FlowSchema": "flowschemas", "PriorityLevelConfiguration": "prioritylevelconfigurations",
	"MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
	"ValidatingAdmissionPolicy":    "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	"MutatingAdmissionPolicy": "mutatingadmissionpolicies", "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}

// Behaviour 83: the operator may apply every object of the operands, which takes create and patch, and may
// read it.
func TestOperatorMayApplyItsManifests(t *testing.T) {
	clusterWide, inNamespace := operatorRules(t)
	objects := readRBAC(t, "operands", slices.Collect(maps.Keys(kinds))...)
	if len(objects) < 40 {
		t.Fatalf("only %d objects were read", len(objects))
	}
	for _, object := range objects {
		group, _, found := strings.Cut(object.APIVersion, "/")
		if !found {
			group = ""
		}
		held := clusterWide
		if object.Namespace == "image-registry-system" {
			held = append(slices.Clone(clusterWide), inNamespace...)
		}
		for _, verb := range []string{"get", "list", "watch", "create", "patch"} {
			want := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{kinds[object.Kind]}, Verbs: []string{verb}, ResourceNames: []string{object.Name}}
			if !slices.ContainsFunc(held, func(have rbacv1.PolicyRule) bool { return covers(have, want) }) {
				t.Errorf("%s: the operator may not %s %s %s", object.file, verb, object.Kind, object.Name)
			}
		}
	}
}

// Behaviour 83: of what others have too in the whole cluster, the operator changes and deletes by name only.
func TestOperatorChangesClusterObjectsByNameOnly(t *testing.T) {
	// Pull secrets belong to ServiceAccounts of any name, and Config is the operator's own kind.
	unnamed := []string{"serviceaccounts", "secrets", "events", "configs", "configs/status", "imagepruners/status"}
	for _, r := range readRBAC(t, "operator", "ClusterRole") {
		if strings.HasSuffix(r.Name, "-grants") {
			continue
		}
		for _, rule := range r.Rules {
			for _, single := range split(rule) {
				if len(single.Resources) == 0 {
					continue
				}
				changes := slices.Contains([]string{"patch", "update", "delete", "deletecollection", "bind"}, single.Verbs[0])
				if changes && len(single.ResourceNames) == 0 && !slices.Contains(unnamed, single.Resources[0]) {
					t.Errorf("%s: %s %s of any name", r.file, single.Verbs[0], single.Resources[0])
				}
				if single.Verbs[0] == "delete" && single.Resources[0] == "serviceaccounts" {
					t.Errorf("%s: deletes ServiceAccounts of the whole cluster", r.file)
				}
			}
		}
	}
}

func operatorRules(t *testing.T) (clusterWide, inNamespace []rbacv1.PolicyRule) {
	t.Helper()
	for _, r := range readRBAC(t, "operator", "ClusterRole") {
		clusterWide = append(clusterWide, r.Rules...)
	}
	for _, r := range readRBAC(t, "operator", "Role") {
		inNamespace = append(inNamespace, r.Rules...)
	}
	if len(clusterWide) == 0 || len(inNamespace) == 0 {
		t.Fatal("the operator's own roles were not found")
	}
	return clusterWide, inNamespace
}

// split breaks a rule into rules of one group, one resource, one verb and one name.
func split(rule rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, verb := range rule.Verbs {
		for _, url := range rule.NonResourceURLs {
			out = append(out, rbacv1.PolicyRule{NonResourceURLs: []string{url}, Verbs: []string{verb}})
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				single := rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: []string{verb}}
				if len(rule.ResourceNames) == 0 {
					out = append(out, single)
				}
				for _, name := range rule.ResourceNames {
					named := single
					named.ResourceNames = []string{name}
					out = append(out, named)
				}
			}
		}
	}
	return out
}

// covers says whether have allows everything that the single rule want allows.
func covers(have, want rbacv1.PolicyRule) bool {
	if !slices.Contains(have.Verbs, want.Verbs[0]) {
		return false
	}
	if len(want.NonResourceURLs) > 0 {
		return slices.Contains(have.NonResourceURLs, want.NonResourceURLs[0])
	}
	if !slices.Contains(have.APIGroups, want.APIGroups[0]) || !slices.Contains(have.Resources, want.Resources[0]) {
		return false
	}
	if len(have.ResourceNames) == 0 {
		return true
	}
	return len(want.ResourceNames) > 0 && slices.Contains(have.ResourceNames, want.ResourceNames[0])
}
