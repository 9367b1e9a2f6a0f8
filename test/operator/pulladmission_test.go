//go:build component

package operator

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	registryv1 "image.alauda.io/api/imageregistry/v1"
)

const policyName = "image-registry-pull-secret"

// policies says which of policy and binding exist.
func (c *cluster) policies() string {
	c.t.Helper()
	var found []string
	api := c.kube.AdmissionregistrationV1()
	_, err := api.MutatingAdmissionPolicies().Get(c.t.Context(), policyName, metav1.GetOptions{})
	if err == nil {
		found = append(found, "policy")
	} else if !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
	_, err = api.MutatingAdmissionPolicyBindings().Get(c.t.Context(), policyName, metav1.GetOptions{})
	if err == nil {
		found = append(found, "binding")
	} else if !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
	return strings.Join(found, " and ")
}

// bootstrapped waits until the operator has made Config.
func (c *cluster) bootstrapped() {
	c.t.Helper()
	c.eventually("Config exists", func() (bool, string) { return c.config().Name != "", "it does not" })
}

func (c *cluster) waitForPolicies(want string) {
	c.t.Helper()
	c.eventually("policy: "+want, func() (bool, string) { found := c.policies(); return found == want, found })
}

func (c *cluster) newNamespace(name string, labels map[string]string) {
	c.t.Helper()
	_, err := c.kube.CoreV1().Namespaces().Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err)
	}
}

// admitted creates a ServiceAccount as a dry run, which no controller sees, and returns its references.
func (c *cluster) admitted(namespace string, account corev1.ServiceAccount) []string {
	c.t.Helper()
	after, err := c.kube.CoreV1().ServiceAccounts(namespace).Create(c.t.Context(), &account, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		c.t.Fatal(err)
	}
	return names(after)
}

func names(account *corev1.ServiceAccount) []string {
	var out []string
	for _, reference := range account.ImagePullSecrets {
		out = append(out, reference.Name)
	}
	return out
}

func withName(name string, references ...string) corev1.ServiceAccount {
	account := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, reference := range references {
		account.ImagePullSecrets = append(account.ImagePullSecrets, corev1.LocalObjectReference{Name: reference})
	}
	return account
}

// Behaviours 67, 68 and 72. The policy on a real API server, with the operator's own rights.
func TestPullSecretsAreNamedAtAdmission(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.newNamespace("team-a", nil)
	c.newNamespace("quiet", map[string]string{registryv1.IgnoreLabel: "true"})
	c.newNamespace("named", nil)
	c.newNamespace("kube-extra", nil)
	c.bootstrapped()
	c.waitForPolicies("") // Removed, as installed
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage.EmptyDir = &registryv1.EmptyDirStorage{}
		config.Spec.ImagePullSecret.IgnoredNamespaces = []string{"named"}
	})
	c.waitForPolicies("policy and binding")
	c.eventually("the policy works", func() (bool, string) {
		got := c.admitted("team-a", withName("app"))
		return slices.Equal(got, []string{"app-registry-pull"}), strings.Join(got, ",")
	})

	optedOut := withName("app")
	optedOut.Annotations = map[string]string{registryv1.InjectPullSecretAnnotation: "false"}
	optedIn := withName("app")
	optedIn.Annotations = map[string]string{registryv1.InjectPullSecretAnnotation: "true", "other": "x"}
	generated := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "gen-"}}
	longest, tooLong := strings.Repeat("a", 239), strings.Repeat("a", 240)
	for _, test := range []struct {
		what, namespace string
		account         corev1.ServiceAccount
		want            []string
	}{
		{"appended to others", "team-a", withName("app", "b", "a"), []string{"b", "a", "app-registry-pull"}},
		{"named already", "team-a", withName("app", "app-registry-pull", "a"), []string{"app-registry-pull", "a"}},
		{"opted out", "team-a", optedOut, nil},
		{"opted in", "team-a", optedIn, []string{"app-registry-pull"}},
		{"no name yet", "team-a", generated, nil},
		{"longest name", "team-a", withName(longest), []string{longest + "-registry-pull"}},
		{"name that makes a hash", "team-a", withName(tooLong), nil},
		{"labelled namespace", "quiet", withName("app"), nil},
		{"ignored namespace", "named", withName("app"), nil},
		{"namespace of the system", "kube-extra", withName("app"), nil},
		{"namespace of Kubernetes", "kube-system", withName("app"), nil},
		{"the registry's own namespace", ns, withName("app"), nil},
	} {
		if got := c.admitted(test.namespace, test.account); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}

	t.Run("what writers strip is back in the same request, and what the controller removes stays removed", c.stripAndOptOut)
	t.Run("an edit and a deletion are put back", func(t *testing.T) {
		api := c.kube.AdmissionregistrationV1().MutatingAdmissionPolicies()
		if _, err := api.Patch(t.Context(), policyName, types.MergePatchType, []byte(`{"spec":{"failurePolicy":"Fail"}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		c.eventually("failurePolicy Ignore", func() (bool, string) {
			policy, err := api.Get(t.Context(), policyName, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			return *policy.Spec.FailurePolicy == "Ignore", string(*policy.Spec.FailurePolicy)
		})
		if err := c.kube.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Delete(t.Context(), policyName, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.waitForPolicies("policy and binding")
	})
	for _, mode := range []struct {
		what    string
		off, on func(*registryv1.Config)
	}{
		{what: "Disabled",
			off: func(config *registryv1.Config) { config.Spec.ImagePullSecret.Admission = registryv1.AdmissionDisabled },
			on:  func(config *registryv1.Config) { config.Spec.ImagePullSecret.Admission = registryv1.AdmissionAuto }},
		{what: "pull secrets Unmanaged",
			off: func(config *registryv1.Config) { config.Spec.ImagePullSecret.ManagementState = registryv1.Unmanaged },
			on:  func(config *registryv1.Config) { config.Spec.ImagePullSecret.ManagementState = registryv1.Managed }},
		{what: "registry Unmanaged",
			off: func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Unmanaged },
			on:  func(config *registryv1.Config) { config.Spec.ManagementState = registryv1.Managed }},
		{what: "pull secrets Removed",
			off: func(config *registryv1.Config) { config.Spec.ImagePullSecret.ManagementState = registryv1.Removed },
			on:  func(*registryv1.Config) {}},
	} {
		c.edit(mode.off)
		c.eventually(mode.what+" takes the policy away", func() (bool, string) { found := c.policies(); return found == "", found })
		c.edit(mode.on)
		if mode.what != "pull secrets Removed" {
			c.waitForPolicies("policy and binding")
		}
	}
	c.eventually("Remove leaves no reference and no Secret", func() (bool, string) { return c.noPullSecret(t.Context()) })
}

// stripAndOptOut works on a ServiceAccount that stays.
func (c *cluster) stripAndOptOut(t *testing.T) {
	accounts := c.kube.CoreV1().ServiceAccounts("team-a")
	account := withName("kept", "mine")
	created, err := accounts.Create(t.Context(), &account, metav1.CreateOptions{})
	if err != nil || !slices.Equal(names(created), []string{"mine", "kept-registry-pull"}) {
		t.Fatalf("created with %q, error %v", names(created), err)
	}
	c.eventually("the Secret behind the name", func() (bool, string) {
		secret, err := c.kube.CoreV1().Secrets("team-a").Get(t.Context(), "kept-registry-pull", metav1.GetOptions{})
		return err == nil && secret.Annotations[registryv1.TokenExpiresAtAnnotation] != "", "no token"
	})
	stripped, err := accounts.Patch(t.Context(), "kept", types.MergePatchType, []byte(`{"imagePullSecrets":[{"name":"new"}]}`), metav1.PatchOptions{})
	if err != nil || !slices.Equal(names(stripped), []string{"new", "kept-registry-pull"}) {
		t.Errorf("after stripping %q, error %v", names(stripped), err)
	}
	optOut := []byte(`{"metadata":{"annotations":{"` + registryv1.InjectPullSecretAnnotation + `":"false"}}}`)
	if _, err := accounts.Patch(t.Context(), "kept", types.MergePatchType, optOut, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the reference and the Secret are gone", func() (bool, string) {
		live, err := accounts.Get(t.Context(), "kept", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		_, err = c.kube.CoreV1().Secrets("team-a").Get(t.Context(), "kept-registry-pull", metav1.GetOptions{})
		return slices.Equal(names(live), []string{"new"}) && apierrors.IsNotFound(err), strings.Join(names(live), ",")
	})
}

func (c *cluster) noPullSecret(ctx context.Context) (bool, string) {
	secrets, err := c.kube.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: registryv1.ManagedPullSecretLabel})
	if err != nil {
		return false, err.Error()
	}
	accounts, err := c.kube.CoreV1().ServiceAccounts("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err.Error()
	}
	var left []string
	for i := range secrets.Items {
		left = append(left, "Secret "+secrets.Items[i].Name)
	}
	for i := range accounts.Items {
		for _, name := range names(&accounts.Items[i]) {
			if strings.HasSuffix(name, "-registry-pull") {
				left = append(left, "reference "+name)
			}
		}
	}
	return len(left) == 0, strings.Join(left, ", ")
}

// Behaviour 72. A second look writes nothing.
func TestThePolicyIsWrittenOnce(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.bootstrapped()
	c.edit(func(config *registryv1.Config) {
		config.Spec.ManagementState = registryv1.Managed
		config.Spec.Storage.EmptyDir = &registryv1.EmptyDirStorage{}
	})
	c.waitForPolicies("policy and binding")
	count := func() (n int) {
		for _, write := range c.writes.list() {
			if strings.Contains(write, "/mutatingadmission") {
				n++
			}
		}
		return n
	}
	for i := range 5 { // each edit is a look
		c.edit(func(config *registryv1.Config) {
			config.Annotations = map[string]string{"test/look": time.Duration(i).String()}
		})
	}
	c.edit(func(config *registryv1.Config) { config.Spec.ImagePullSecret.IgnoredNamespaces = []string{"one"} })
	c.eventually("the namespace is in the policy", func() (bool, string) {
		policy, err := c.kube.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(t.Context(), policyName, metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(policy.Spec.MatchConstraints.NamespaceSelector.String(), "one"), "not there"
	})
	if n := count(); n != 3 {
		t.Errorf("%d writes: %q; want one for the policy, one for the binding and one for the changed selector", n, c.writes.list())
	}
}
