//go:build component

package pruner

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Behaviour 58.
func testNoPermission(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	e.stream(t, namespace, "app", 4)
	some, err := e.Kube.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "some-"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pruner := e.as(t, some.Name)
	code, stdout, stderr := pruner.run(t.Context(), "--confirm", "--retries=2")
	if code != 4 || len(pruner.changes()) != 0 {
		t.Errorf("exit %d, changes %v\n%s%s", code, pruner.changes(), stdout, stderr)
	}
	for _, want := range []string{"delete images.image.alauda.io", "update imagestreams/status.image.alauda.io", "list podtemplates"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q does not name %q", stderr, want)
		}
	}
	if strings.Contains(stderr, "list pods,") {
		t.Errorf("%q names a right that the user has", stderr)
	}
}

// permission is one resource and verb of the role.
type permission struct{ group, resource, verb string }

// Behaviour 57, as far as this build uses the role: each right in turn is taken away. What is needed makes
// the confirmed run refuse before it changes anything, naming what is missing.
func testRole(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 4)
	// A history entry without an image makes the run look the image up.
	if err := e.Images.ImageV1().Images().Delete(t.Context(), digests[1], metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	complete, err := e.Kube.RbacV1().ClusterRoles().Get(t.Context(), role, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		permission
		code int
		// text names what is missing.
		text string
	}{
		{permission{"image.alauda.io", "images", "delete"}, 4, "delete images.image.alauda.io"},
		{permission{"image.alauda.io", "imagestreams/status", "update"}, 4, "update imagestreams/status.image.alauda.io"},
		{permission{"", "pods", "list"}, 4, "list pods"},
		{permission{"", "replicationcontrollers", "list"}, 4, "list replicationcontrollers"},
		{permission{"", "podtemplates", "list"}, 4, "list podtemplates"},
		{permission{"apps", "daemonsets", "list"}, 4, "list daemonsets.apps"},
		{permission{"apps", "deployments", "list"}, 4, "list deployments.apps"},
		{permission{"apps", "replicasets", "list"}, 4, "list replicasets.apps"},
		{permission{"apps", "statefulsets", "list"}, 4, "list statefulsets.apps"},
		{permission{"apps", "controllerrevisions", "list"}, 4, "list controllerrevisions.apps"},
		{permission{"batch", "jobs", "list"}, 4, "list jobs.batch"},
		{permission{"batch", "cronjobs", "list"}, 4, "list cronjobs.batch"},
		{permission{"image.alauda.io", "images", "list"}, 4, "list images.image.alauda.io"},
		{permission{"image.alauda.io", "images", "get"}, 4, "get images.image.alauda.io"},
		{permission{"image.alauda.io", "imagestreams", "list"}, 4, "list imagestreams.image.alauda.io"},
		{permission{"image.alauda.io", "imagestreams", "get"}, 4, "get imagestreams.image.alauda.io"},
		{permission{"", "configmaps", "get"}, 3, "image-pruner-config"},
	}
	for _, test := range tests {
		t.Run(strings.Trim(test.verb+" "+test.resource+"."+test.group, "."), func(t *testing.T) {
			reduced := &rbacv1.ClusterRole{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "reduced-"}, Rules: without(complete.Rules, test.permission),
			}
			reduced, err := e.Kube.RbacV1().ClusterRoles().Create(t.Context(), reduced, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			pruner := e.as(t, reduced.Name)
			code, stdout, stderr := pruner.run(t.Context(), "--confirm")
			if code != test.code || !strings.Contains(stdout+stderr, test.text) {
				t.Errorf("exit %d, want %d with %q\n%s%s", code, test.code, test.text, stdout, stderr)
			}
			if len(pruner.changes()) != 0 {
				t.Errorf("changes %v", pruner.changes())
			}
			if revisions, images := e.left(t, namespace, "app", digests); revisions != "abcd" || images != "acd" {
				t.Errorf("left: revisions %q, images %q; want all as before", revisions, images)
			}
		})
	}
	code, stdout, stderr := e.as(t, role).run(t.Context(), "--confirm")
	if revisions, images := e.left(t, namespace, "app", digests); code != 0 || revisions != "cd" || images != "cd" {
		t.Errorf("with the whole role: exit %d, revisions %q, images %q left\n%s%s", code, revisions, images, stdout, stderr)
	}
}

// without takes one permission out of the rules.
func without(rules []rbacv1.PolicyRule, p permission) []rbacv1.PolicyRule {
	var reduced []rbacv1.PolicyRule
	for _, rule := range rules {
		if !slices.Contains(rule.APIGroups, p.group) || !slices.Contains(rule.Resources, p.resource) {
			reduced = append(reduced, rule)
			continue
		}
		rest, other := *rule.DeepCopy(), *rule.DeepCopy()
		rest.Resources = slices.DeleteFunc(rest.Resources, func(name string) bool { return name == p.resource })
		other.Resources = []string{p.resource}
		other.Verbs = slices.DeleteFunc(other.Verbs, func(verb string) bool { return verb == p.verb })
		if len(rest.Resources) > 0 {
			reduced = append(reduced, rest)
		}
		if len(other.Verbs) > 0 {
			reduced = append(reduced, other)
		}
	}
	return reduced
}
