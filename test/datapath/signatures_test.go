//go:build component

package datapath

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Behaviour 63.
func TestSignaturesOfImages(t *testing.T) {
	e := start(t)
	namespace, other := e.namespace(t), e.namespace(t)
	user := e.user(t, namespace, "pusher", pusher, viewer)
	signer := e.user(t, namespace, "signer", puller)
	image := newImage(t)
	digest := hash(t, image).String()
	must(t, remote.Write(e.tag(t, namespace+"/app", "v1"), image, as(t, user)...))

	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "signer"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"image.alauda.io"}, Resources: []string{"imagesignatures"}, Verbs: []string{"create"},
	}}}
	_, err := e.Kube.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{})
	must(t, err)
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "signer"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "signer"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "signer"}}}
	_, err = e.Kube.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{})
	must(t, err)

	ask := func(method, repository string, who authn.Authenticator, document any) (int, string) {
		t.Helper()
		raw, err := json.Marshal(document)
		must(t, err)
		got := send(t, http.DefaultClient, method, "http://"+e.host+"/extensions/v2/"+repository+"/signatures/"+digest, who, raw)
		return got.status, string(got.body)
	}
	given := map[string]any{"schemaVersion": 2, "name": digest + "@first", "type": "atomic", "content": []byte("signed")}
	for _, test := range []struct {
		what, method, repository string
		who                      authn.Authenticator
		document                 any
		status                   int
	}{
		{"no signatures yet", "GET", namespace + "/app", user, nil, 200},
		{"a pusher is no signer", "PUT", namespace + "/app", user, given, 403},
		{"first", "PUT", namespace + "/app", signer, given, 201},
		{"again", "PUT", namespace + "/app", signer, given, 409},
		{"the same content", "PUT", namespace + "/app", signer, map[string]any{"schemaVersion": 2, "name": digest + "@second", "type": "atomic", "content": []byte("signed")}, 409},
		{"a name that the API refuses", "PUT", namespace + "/app", signer, map[string]any{"schemaVersion": 2, "name": digest + "@a@b", "content": []byte("x")}, 400},
		{"too much for the API", "PUT", namespace + "/app", signer, map[string]any{"schemaVersion": 2, "name": digest + "@big", "content": make([]byte, 150<<10)}, 400},
		{"another stream", "GET", namespace + "/none", user, nil, 404},
		{"another namespace", "PUT", other + "/app", signer, given, 403},
	} {
		if status, body := ask(test.method, test.repository, test.who, test.document); status != test.status {
			t.Errorf("%s: %d %s, want %d", test.what, status, body, test.status)
		}
	}
	want := `{"signatures":[{"schemaVersion":2,"name":"` + digest + `@first","type":"atomic","content":"c2lnbmVk"}]}`
	if status, body := ask("GET", namespace+"/app", user, nil); status != 200 || body != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	stored, err := e.Images.ImageV1().Images().Get(t.Context(), digest, metav1.GetOptions{})
	must(t, err)
	if len(stored.Signatures) != 1 || string(stored.Signatures[0].Content) != "signed" {
		t.Errorf("the Image has %+v", stored.Signatures)
	}
}
