package namespacepull

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imageregistryv1 "image.alauda.io/api/imageregistry/v1"
)

// Behaviour 71.
func TestDecide(t *testing.T) {
	own := newBinding("team")
	optedOut := newBinding("team")
	optedOut.Subjects = nil
	foreign := newBinding("team")
	foreign.Annotations = nil
	other := newBinding("team")
	other.RoleRef.Name = "view"
	tests := []struct {
		name string
		in   Input
		want Action
	}{
		{"missing", Input{Grant: true}, Create},
		{"there", Input{Grant: true, Binding: own}, Keep},
		{"opted out", Input{Grant: true, Binding: optedOut}, Keep},
		{"other role", Input{Grant: true, Binding: other}, Report},
		{"revoked", Input{Revoke: true, Binding: own}, Delete},
		{"revoked, opted out", Input{Revoke: true, Binding: optedOut}, Delete},
		{"revoked, foreign", Input{Revoke: true, Binding: foreign}, Keep},
		{"revoked, missing", Input{Revoke: true}, Keep},
		{"neither", Input{Binding: own}, Keep},
	}
	for _, test := range tests {
		if got := Decide(test.in); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestWanted(t *testing.T) {
	namespace := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	terminating := namespace("team")
	terminating.DeletionTimestamp = &metav1.Time{}
	managed := func(state imageregistryv1.ManagementState, grant *bool) *imageregistryv1.Config {
		config := &imageregistryv1.Config{}
		config.Spec.ManagementState = state
		config.Spec.ImagePullSecret.GrantNamespacePull = grant
		return config
	}
	no := false
	tests := []struct {
		name          string
		config        *imageregistryv1.Config
		namespace     *corev1.Namespace
		grant, revoke bool
	}{
		{"managed", managed(imageregistryv1.Managed, nil), namespace("team"), true, false},
		{"system namespace", managed(imageregistryv1.Managed, nil), namespace("kube-system"), false, true},
		{"switched off", managed(imageregistryv1.Managed, &no), namespace("team"), false, true},
		{"unmanaged", managed(imageregistryv1.Unmanaged, nil), namespace("team"), false, false},
		{"removed", managed(imageregistryv1.Removed, nil), namespace("team"), false, true},
		{"no config", nil, namespace("team"), false, true},
		{"terminating", managed(imageregistryv1.Managed, nil), terminating, false, false},
	}
	for _, test := range tests {
		grant, revoke := wanted(test.config, test.namespace, "ns")
		if grant != test.grant || revoke != test.revoke {
			t.Errorf("%s: grant %v, revoke %v, want %v, %v", test.name, grant, revoke, test.grant, test.revoke)
		}
	}
}

func TestBindingGrantsTheGroupOfTheNamespace(t *testing.T) {
	binding := newBinding("team")
	want := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts:team"}
	if len(binding.Subjects) != 1 || binding.Subjects[0] != want || binding.RoleRef.Name != "system:image-puller" {
		t.Errorf("binding %+v to %+v", binding.Subjects, binding.RoleRef)
	}
}
