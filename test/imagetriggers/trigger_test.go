//go:build component

package imagetriggers

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	imagetrigger "image.alauda.io/registry/pkg/imageapiserver/controllers/trigger"
	"image.alauda.io/registry/test/imageapi"
)

const elsewhere = "registry.test/elsewhere:1"

// Behaviour image-api 48: a moved tag rolls all four kinds, a removed annotation ends that, tags of other
// namespaces need the right to pull, a fight is given up, and without rights there is an Event.
func TestWorkloadsFollowTheirTags(t *testing.T) {
	server := imageapi.Start(t, shared.Get(t))
	f := newFixture(t, server)
	f.newStream(f.namespace, "app", false)
	first := f.push(f.namespace, "app", "v1", f.namespace+" one")

	for _, k := range followers() {
		annotations := trigger("", "app:v1", k.fieldPath(`?(@.name=="c1")`))
		f.create(k, k.workload("web", annotations, elsewhere, elsewhere))
		live := f.runs(k, "web", elsewhere, first)
		if !slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == imagetrigger.FieldManager }) {
			t.Errorf("%s: the change is not signed by %s: %v", k.name, imagetrigger.FieldManager, live.GetManagedFields())
		}
	}
	second := f.push(f.namespace, "app", "v1", f.namespace+" two")
	for _, k := range followers() {
		live := f.runs(k, "web", elsewhere, second)
		if live.GetGeneration() != 3 {
			t.Errorf("%s: generation %d, want 3: one change for each image", k.name, live.GetGeneration())
		}
	}
	f.rolledOut(second)

	t.Run("a removed annotation", func(t *testing.T) {
		f.t = t
		k := kindNamed("StatefulSet")
		f.change(k, "web", func(object *unstructured.Unstructured) { object.SetAnnotations(nil) })
		third := f.push(f.namespace, "app", "v1", f.namespace+" three")
		f.runs(kindNamed("DaemonSet"), "web", elsewhere, third)
		f.runs(kindNamed("CronJob"), "web", elsewhere, third)
		live, err := f.client(k).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || k.images(live)[1] != second {
			t.Errorf("images %q, error %v, want %s still", k.images(live), err, second)
		}
	})
	t.Run("another namespace", func(t *testing.T) { f.t = t; f.otherNamespaces() })
	t.Run("a wrong annotation", func(t *testing.T) {
		f.t = t
		k := kindNamed("Deployment")
		f.create(k, k.workload("wrong", trigger("", "app:v1", "spec.template.spec.containers[7].image"), elsewhere))
		f.told("wrong", "InvalidImageTrigger", "there is no such container")
	})
	t.Run("something changes it back", func(t *testing.T) { f.t = t; f.fight() })
	t.Run("without the right to patch", func(t *testing.T) { f.t = t; f.withoutRights() })
}

// rolledOut waits until the Deployment web has a ReplicaSet for each image that it ran.
func (f *fixture) rolledOut(image string) {
	f.t.Helper()
	imageapi.Eventually(f.t, "the Deployment is rolled out", func(ctx context.Context) error {
		sets, err := f.Kube.AppsV1().ReplicaSets(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil {
			return err
		}
		for _, set := range sets.Items {
			if set.Spec.Template.Spec.Containers[1].Image == image && len(sets.Items) > 1 {
				return nil
			}
		}
		return fmt.Errorf("%d ReplicaSets, none of several runs %s", len(sets.Items), image)
	})
}

func (f *fixture) otherNamespaces() {
	t, k := f.t, kindNamed("Deployment")
	source := f.namespace + "-source"
	f.newNamespace(source)
	f.newStream(source, "open", false)
	f.newStream(source, "closed", false)
	open := f.push(source, "open", "v1", source+" open")
	f.push(source, "closed", "v1", source+" closed")
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "pull-open"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"image.alauda.io"}, Resources: []string{"imagestreams/layers"}, ResourceNames: []string{"open"}, Verbs: []string{"get"}},
	}}
	if _, err := f.Kube.RbacV1().Roles(source).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "pull-open"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "pull-open"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts:" + f.namespace}},
	}
	if _, err := f.Kube.RbacV1().RoleBindings(source).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.create(k, k.workload("denied", trigger(source, "closed:v1", k.fieldPath("0")), elsewhere))
	f.told("denied", "InvalidImageTrigger", "may not pull")
	f.create(k, k.workload("allowed", trigger(source, "open:v1", k.fieldPath("0")), elsewhere))
	f.runs(k, "allowed", open)
	live, err := f.client(k).Get(t.Context(), "denied", metav1.GetOptions{})
	if err != nil || k.images(live)[0] != elsewhere {
		t.Errorf("images %q, error %v", k.images(live), err)
	}
}

func (f *fixture) fight() {
	k := kindNamed("Deployment")
	f.newStream(f.namespace, "fought", false)
	image := f.push(f.namespace, "fought", "v1", f.namespace+" fought")
	f.create(k, k.workload("fought", trigger("", "fought:v1", k.fieldPath("0")), elsewhere))
	for range 3 {
		f.runs(k, "fought", image)
		f.change(k, "fought", setImages(k, elsewhere))
	}
	f.told("fought", "ImageTriggerConflict", "changing it back")
	f.runs(k, "fought", elsewhere)
}

// withoutRights takes the right to patch workloads from the server, as an administrator may.
func (f *fixture) withoutRights() {
	t, k := f.t, kindNamed("DaemonSet")
	f.newStream(f.namespace, "late", false)
	f.push(f.namespace, "late", "v1", f.namespace+" late")
	roles := f.Kube.RbacV1().ClusterRoles()
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		role, err := roles.Get(t.Context(), "system:image-api-server", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for i := range role.Rules {
			if slices.Contains([]string{"apps", "batch"}, role.Rules[i].APIGroups[0]) {
				role.Rules[i].Verbs = []string{"get", "list", "watch"}
			}
		}
		_, err = roles.Update(t.Context(), role, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	imageapi.Eventually(t, "the right is gone", func(ctx context.Context) error {
		// Rights reach the authorizer a moment later; until then workloads are patched.
		name := "late-" + fmt.Sprint(len(f.names(ctx, k)))
		f.create(k, k.workload(name, trigger("", "late:v1", k.fieldPath("0")), elsewhere))
		events, err := f.Kube.CoreV1().Events(f.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=ImageTriggerForbidden"})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("no Event")
		}
		return err
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/readyz", f.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("readiness: %s", response.Status)
	}
}

func (f *fixture) names(ctx context.Context, k kind) []string {
	list, err := f.client(k).List(ctx, metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, item := range list.Items {
		names = append(names, item.GetName())
	}
	return names
}
