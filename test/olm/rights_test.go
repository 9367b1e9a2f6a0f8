//go:build olm

package olm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/test/installed"
)

// ofTheManager are rules that the lifecycle manager adds by itself: a Role for all namespaces comes with the
// right to see these, and each operator may say whether it can be upgraded.
var ofTheManager = []rbacv1.PolicyRule{
	{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"namespaces"}},
	{Verbs: []string{"get", "update", "patch"}, APIGroups: []string{"operators.coreos.com"}, Resources: []string{"operatorconditions"}},
}

// rightsAreThoseOfTheBundle compares what the ServiceAccount of the running operator is bound to with the
// rules of the bundle: with these alone everything else in this test works.
func rightsAreThoseOfTheBundle(t *testing.T, cluster *installed.Cluster, r *release) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "manifests", "bundle", "manifests", operator+".clusterserviceversion.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type permission struct {
		Rules []rbacv1.PolicyRule `json:"rules"`
	}
	var csv struct {
		Spec struct {
			Install struct {
				Spec struct {
					ClusterPermissions []permission `json:"clusterPermissions"`
					Permissions        []permission `json:"permissions"`
				} `json:"spec"`
			} `json:"install"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(data, &csv); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, p := range append(csv.Spec.Install.Spec.ClusterPermissions, csv.Spec.Install.Spec.Permissions...) {
		for _, rule := range p.Rules {
			want[key(t, rule)] = true
		}
	}
	if len(want) < 20 {
		t.Fatalf("the bundle has only %d rules", len(want))
	}
	got := bound(t, cluster)
	for rule := range want {
		if !got[rule] {
			t.Errorf("the operator lacks %s", rule)
		}
	}
	for _, rule := range ofTheManager {
		want[key(t, rule)] = true
	}
	for rule := range got {
		if !want[rule] {
			t.Errorf("the operator has a right that the bundle does not ask for: %s", rule)
		}
	}
}

// bound are the rules of every role that names the operator's ServiceAccount.
func bound(t *testing.T, cluster *installed.Cluster) map[string]bool {
	t.Helper()
	var clusterRoles rbacv1.ClusterRoleList
	var clusterBindings rbacv1.ClusterRoleBindingList
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	for kind, list := range map[string]any{"clusterroles": &clusterRoles, "clusterrolebindings": &clusterBindings, "roles": &roles, "rolebindings": &bindings} {
		if err := json.Unmarshal([]byte(cluster.Shell(t, "kubectl get "+kind+" -A -o json")), list); err != nil {
			t.Fatal(err)
		}
	}
	rules := map[string][]rbacv1.PolicyRule{}
	for _, role := range clusterRoles.Items {
		rules["/"+role.Name] = role.Rules
	}
	for _, role := range roles.Items {
		rules[role.Namespace+"/"+role.Name] = role.Rules
	}
	found := map[string]bool{}
	take := func(subjects []rbacv1.Subject, reference rbacv1.RoleRef, namespace string) {
		if reference.Kind == "ClusterRole" {
			namespace = ""
		}
		for _, subject := range subjects {
			if subject.Kind != rbacv1.ServiceAccountKind || subject.Name != operator || subject.Namespace != installed.Namespace {
				continue
			}
			for _, rule := range rules[namespace+"/"+reference.Name] {
				rule.ResourceNames = withoutConditions(rule)
				found[key(t, rule)] = true
			}
		}
	}
	for _, binding := range clusterBindings.Items {
		take(binding.Subjects, binding.RoleRef, "")
	}
	for _, binding := range bindings.Items {
		take(binding.Subjects, binding.RoleRef, binding.Namespace)
	}
	return found
}

// withoutConditions leaves out the names of OperatorConditions, which are those of versions.
func withoutConditions(rule rbacv1.PolicyRule) []string {
	if len(rule.Resources) == 1 && rule.Resources[0] == "operatorconditions" {
		return nil
	}
	return rule.ResourceNames
}

func key(t *testing.T, rule rbacv1.PolicyRule) string {
	t.Helper()
	data, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
