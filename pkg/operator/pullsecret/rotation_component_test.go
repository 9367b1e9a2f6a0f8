//go:build component

package pullsecret

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/test/controlplane"
)

// keysSeen waits until the controller has looked at the keys twice more.
func (l *live) keysSeen(t *testing.T) {
	t.Helper()
	looks := func() int { return l.count(func(request string) bool { return request == "GET "+keySetPath }) }
	before := looks()
	eventually(t, "two more looks at the keys", func(context.Context) bool { return looks() >= before+2 })
}

func (l *live) keyOf(t *testing.T, namespace, name string) (id, version string) {
	t.Helper()
	secret, err := l.client.CoreV1().Secrets(namespace).Get(t.Context(), SecretName(name), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Annotations[keyIDAnnotation], secret.ResourceVersion
}

// Behaviour 69. The signing key of a real kube-apiserver is rotated, as administrators do it: a new key is added,
// and later the former one is dropped.
func TestTokensOfDroppedKeysAreReplacedAndNoOthers(t *testing.T) {
	plane := controlplane.Start(t)
	l := startLiveOn(t, plane, "rotation-system", func(c *Controller) {
		c.keyPace = pace{look: 300 * time.Millisecond, spread: time.Second}
	})
	for _, name := range []string{"first", "second"} {
		l.account(t, "rotated", name)
		eventually(t, "the credential of "+name, func(ctx context.Context) bool { return l.referenced(ctx, "rotated", name) })
	}
	former, firstVersion := l.keyOf(t, "rotated", "first")
	_, secondVersion := l.keyOf(t, "rotated", "second")

	if err := plane.AddSigningKey(); err != nil {
		t.Fatal(err)
	}
	l.account(t, "rotated", "third")
	eventually(t, "the credential of third", func(ctx context.Context) bool { return l.referenced(ctx, "rotated", "third") })
	l.keysSeen(t)
	current, thirdVersion := l.keyOf(t, "rotated", "third")
	if current == former || former == "" {
		t.Fatalf("keys %q and %q: the new token is not signed with the new key", former, current)
	}
	for name, want := range map[string]string{"first": firstVersion, "second": secondVersion} {
		if _, version := l.keyOf(t, "rotated", name); version != want {
			t.Errorf("%s was written although its key is still accepted", name)
		}
	}

	if err := plane.DropFormerKeys(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		eventually(t, "a token of the new key for "+name, func(context.Context) bool {
			id, _ := l.keyOf(t, "rotated", name)
			return id == current
		})
		if _, token := l.credentialOf(t, "rotated", name); !l.authenticated(t, token, "image-registry.alauda.io").Authenticated {
			t.Errorf("the token of %s is not accepted", name)
		}
	}
	l.keysSeen(t)
	if _, version := l.keyOf(t, "rotated", "third"); version != thirdVersion {
		t.Error("third was written although its key is still accepted")
	}
}

// Behaviour 69. Who may not read the keys learns the one in use from the header of a token.
func TestTheKeyIsLearnedFromATokenWhereKeysAreForbidden(t *testing.T) {
	plane := shared.Get(t)
	admin := kubernetes.NewForConfigOrDie(plane.Config)
	create(t, admin, "probing")
	for _, object := range []func() error{
		func() error {
			_, err := admin.CoreV1().ServiceAccounts("probing").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "operator"}}, metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := admin.RbacV1().Roles("probing").Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "tokens"},
				Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}}}}, metav1.CreateOptions{})
			return err
		},
		func() error {
			_, err := admin.RbacV1().RoleBindings("probing").Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "tokens"},
				RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tokens"},
				Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "prober"}}}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := object(); err != nil {
			t.Fatal(err)
		}
	}
	published, err := SigningKeys(admin, "probing", "operator")(t.Context())
	if err != nil || len(published) != 1 {
		t.Fatalf("published keys %q, error %v", published, err)
	}
	prober := kubernetes.NewForConfigOrDie(plane.RestConfigFor("prober"))
	if _, err := prober.Discovery().RESTClient().Get().AbsPath(keySetPath).DoRaw(t.Context()); !apierrors.IsForbidden(err) {
		t.Fatalf("the keys are not forbidden: %v", err)
	}
	learned, err := SigningKeys(prober, "probing", "operator")(t.Context())
	if err != nil || !slices.Equal(learned, published) {
		t.Errorf("learned %q, error %v, want %q", learned, err, published)
	}
}
