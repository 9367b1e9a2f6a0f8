//go:build component

package imageoperation

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/imageapi"
)

// resources of the group, with whether they have a namespace.
var resources = map[string]bool{
	"images": false, "imagesignatures": false,
	"imagestreams": true, "imagestreams/status": true, "imagestreams/layers": true, "imagestreams/secrets": true,
	"imagestreamtags": true, "imagetags": true, "imagestreamimages": true,
	"imagestreammappings": true, "imagestreamimports": true,
}

var verbs = map[string]string{
	"get": http.MethodGet, "list": http.MethodGet, "watch": http.MethodGet, "create": http.MethodPost, "update": http.MethodPut,
	"patch": http.MethodPatch, "delete": http.MethodDelete, "deletecollection": http.MethodDelete,
}

const (
	readWrite = "get list watch create update patch delete deletecollection"
	readOnly  = "get list watch"
)

// roleCase is a role and all that it allows.
type roleCase struct {
	role string
	// everywhere binds it in the whole cluster.
	everywhere bool
	allowed    map[string]string
}

func roleCases() []roleCase {
	editor := map[string]string{
		"imagestreams": readWrite, "imagestreamtags": readWrite, "imagetags": readWrite, "imagestreamimages": readWrite,
		"imagestreammappings": readWrite, "imagestreams/secrets": readWrite, "imagestreams/status": "get",
		"imagestreams/layers": "get update", "imagestreamimports": "create",
	}
	return []roleCase{
		{role: "system:image-puller", allowed: map[string]string{"imagestreams/layers": "get", "imagestreams": "get"}},
		{role: "system:image-pusher", allowed: map[string]string{"imagestreams/layers": "get update", "imagestreams": "get"}},
		{role: "system:image-builder", allowed: map[string]string{"imagestreams/layers": "get update", "imagestreams": "get create"}},
		{role: "system:image-deleter", allowed: map[string]string{
			"imagestreams": "get list delete", "imagestreamtags": "get list delete", "imagetags": "get list delete",
			"imagestreamimages": "get", "imagestreams/layers": "get delete",
		}},
		{role: "system:image-signer", everywhere: true, allowed: map[string]string{
			"images": "get", "imagestreams/layers": "get", "imagesignatures": "create delete",
		}},
		{role: "system:image-auditor", everywhere: true, allowed: map[string]string{"images": "get list watch patch update"}},
		{role: "admin", allowed: editor},
		{role: "edit", allowed: editor},
		{role: "view", allowed: map[string]string{
			"imagestreams": readOnly, "imagestreamtags": readOnly, "imagetags": readOnly, "imagestreamimages": readOnly, "imagestreams/status": "get",
		}},
		{role: ""},
	}
}

// Behaviour 56: every role allows what it should and nothing else, asked over kube-apiserver with every verb
// of every resource. Kubernetes' own roles admin, edit and view have what is aggregated into them: who may
// view may not pull, and who may delete may not push.
func TestRolesAllowAndDeny(t *testing.T) {
	s := imageapi.Start(t, shared.Get(t))
	imageapi.Apply(t, s.CP.Config, manifests.Shared, "user-roles.yaml")
	namespace, other := newNamespace(t, s), newNamespace(t, s)
	for _, c := range roleCases() {
		t.Run("role "+c.role, func(t *testing.T) {
			name := "user-of-" + strings.ReplaceAll(c.role, ":", "-")
			config := s.CP.RestConfigFor(name)
			bind(t, s, namespace, name, c)
			asking := newClient(t, config)
			for resource, list := range c.allowed {
				verb := strings.Fields(list)[0]
				imageapi.Eventually(t, c.role+" is in force", func(context.Context) error {
					denied, err := asking.denied(verb, resource, namespace)
					if err == nil && denied {
						err = fmt.Errorf("%s %s is denied", verb, resource)
					}
					return err
				})
			}
			for resource, namespaced := range resources {
				for verb := range verbs {
					if !canBeAsked(verb, resource) {
						continue
					}
					want := contained(verb, c.allowed[resource])
					denied, err := asking.denied(verb, resource, namespace)
					if err != nil {
						t.Errorf("%s %s: %v", verb, resource, err)
					} else if denied == want {
						t.Errorf("%s %s: allowed %t, want %t", verb, resource, !denied, want)
					}
					if !want || !namespaced || c.everywhere {
						continue
					}
					if denied, err := asking.denied(verb, resource, other); err != nil || !denied {
						t.Errorf("%s %s in another namespace: denied %t, error %v", verb, resource, denied, err)
					}
				}
			}
		})
	}
	t.Run("kubectl auth can-i", func(t *testing.T) { testCanI(t, s, namespace) })
}

// canBeAsked tells whether there is a request for a verb: parts of an object cannot be listed.
func canBeAsked(verb, resource string) bool {
	return !strings.Contains(resource, "/") || contained(verb, "get create update patch delete")
}

func contained(word, list string) bool {
	for field := range strings.FieldsSeq(list) {
		if field == word {
			return true
		}
	}
	return false
}

// denied asks for something that changes nothing, and tells whether that is refused for lack of rights.
func (c *client) denied(verb, resource, namespace string) (bool, error) {
	path := group
	if resources[resource] {
		path += "/namespaces/" + namespace
	}
	main, sub, _ := strings.Cut(resource, "/")
	path += "/" + main
	if sub != "" {
		path += "/absent/" + sub
	} else if contained(verb, "get update patch delete") {
		path += "/absent"
	}
	var object any
	switch verb {
	case "watch":
		path += "?watch=true&timeoutSeconds=1"
	case "create", "update", "patch", "delete", "deletecollection":
		path += "?dryRun=All"
		object = map[string]any{}
	}
	code, text, err := c.do(verbs[verb], path, object)
	if err != nil {
		return false, err
	}
	if code >= http.StatusInternalServerError || code == http.StatusUnauthorized {
		return false, fmt.Errorf("status %d: %s", code, text)
	}
	return code == http.StatusForbidden && strings.Contains(string(text), fmt.Sprintf("cannot %s resource", verb)), nil
}

func bind(t *testing.T, s *imageapi.Server, namespace, user string, c roleCase) {
	t.Helper()
	if c.role == "" {
		return
	}
	meta := metav1.ObjectMeta{Name: user}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: c.role}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	var err error
	if c.everywhere {
		_, err = s.Kube.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, err = s.Kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: role, Subjects: subjects}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// testCanI asks the documented question. kubectl takes it for a stream of that name, which is why pullers may
// get streams.
func testCanI(t *testing.T, s *imageapi.Server, namespace string) {
	for user, want := range map[string]string{"user-of-system-image-puller": "yes", "user-of-system-image-pusher": "yes", "user-of-": "no"} {
		kubeconfig, err := s.CP.WriteKubeconfig(user, s.CP.RestConfigFor(user))
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), kubectl(t), "--kubeconfig", kubeconfig, "-n", namespace,
			"auth", "can-i", "get", "imagestreams/layers.image.alauda.io")
		// The exit code repeats the answer.
		output, _ := command.Output()
		if got := strings.TrimSpace(string(output)); got != want {
			t.Errorf("%s: %q, want %q", user, got, want)
		}
	}
}

// kubectl is beside the other programs of the control plane.
func kubectl(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DEVCLUSTER_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "_output", "devcluster", "bin")
	}
	return filepath.Join(dir, "kubectl")
}
