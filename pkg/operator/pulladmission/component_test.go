//go:build component

package pulladmission

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/pkg/operator/render"
	"image.alauda.io/registry/test/controlplane"
)

// Behaviour 72. No ServiceAccount makes the API server fail over the policy, whatever it looks like.
func TestThePolicyBearsEveryServiceAccount(t *testing.T) {
	plane := controlplane.Start(t)
	kube, client := kubernetes.NewForConfigOrDie(plane.Config), dynamic.NewForConfigOrDie(plane.Config)
	objects, err := render.PullAdmission(render.Settings{Namespace: "image-registry-system"}, "v1", []string{"named"}, []string{"kube-"})
	if err != nil {
		t.Fatal(err)
	}
	for i, resource := range []string{policies, bindings} {
		gvr := schema.GroupVersionResource{Group: render.PullAdmissionGroup, Version: "v1", Resource: resource}
		if _, err := client.Resource(gvr).Create(t.Context(), objects[i], metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}); err != nil {
			t.Fatal(err)
		}
	}
	create := func(account corev1.ServiceAccount) (string, error) {
		after, err := kube.CoreV1().ServiceAccounts("default").Create(t.Context(), &account, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return "", err
		}
		var names []string
		for _, reference := range after.ImagePullSecrets {
			names = append(names, reference.Name)
		}
		return strings.Join(names, ","), nil
	}
	named := func(name string, references ...string) corev1.ServiceAccount {
		account := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		for _, reference := range references {
			account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: reference})
		}
		return account
	}
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(100 * time.Millisecond) {
		if got, err := create(named("app")); err == nil && got == "app-registry-pull" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the policy does not work: %q, %v\n%s", got, err, panics(plane.Log(t, "kube-apiserver")))
		}
	}
	for what, account := range map[string]corev1.ServiceAccount{
		"others":         named("app", "b", "a"),
		"named already":  named("app", "app-registry-pull"),
		"empty entry":    named("app", ""),
		"generated name": {ObjectMeta: metav1.ObjectMeta{GenerateName: "gen-"}},
		"long":           named(strings.Repeat("a", 253)),
		"annotated":      {ObjectMeta: metav1.ObjectMeta{Name: "app", Annotations: map[string]string{"a": "b"}}},
	} {
		if got, err := create(account); err != nil {
			t.Errorf("%s: %q, %v\n%s", what, got, err, panics(plane.Log(t, "kube-apiserver")))
		}
	}
}

func panics(log string) string {
	if at := strings.Index(log, "panic"); at >= 0 {
		return log[at:min(len(log), at+2500)]
	}
	return "no panic"
}
