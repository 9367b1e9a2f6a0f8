//go:build component

package pruner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"image.alauda.io/registry/pkg/pruner/app"
)

// account is the ServiceAccount of the CronJob.
const account = "system:serviceaccount:image-registry-system:pruner"

var (
	rollouts = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"}
	fleets   = schema.GroupVersionResource{Group: "custom.example.com", Version: "v1", Resource: "fleets"}
	engines  = schema.GroupVersionResource{Group: "engines.example.com", Version: "v1", Resource: "engines"}
	notes    = schema.GroupVersionResource{Group: "custom.example.com", Version: "v1", Resource: "notes"}
)

const (
	// ofRollouts says nothing, as the schema of some projects.
	ofRollouts = `{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}`
	ofFleets   = `{"type":"object","properties":{"spec":{"type":"object","properties":{"podTemplate":{"type":"object","properties":{"spec":{"type":"object","properties":{"containers":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"image":{"type":"string"}}}}}}}}}}}}`
	ofEngines  = `{"type":"object","properties":{"spec":{"type":"object","properties":{"image":{"type":"string"},"replicas":{"type":"integer"}}}}}`
	ofNotes    = `{"type":"object","properties":{"spec":{"type":"object","properties":{"text":{"type":"string"}}}}}`
)

// define creates a custom kind and waits until discovery and the published schemas know it. It goes with
// the test.
func (e *environment) define(t *testing.T, gvr schema.GroupVersionResource, kind, openAPI string) {
	t.Helper()
	client, err := apiextensions.NewForConfig(e.CP.Config)
	if err != nil {
		t.Fatal(err)
	}
	var properties apiextensionsv1.JSONSchemaProps
	if err := json.Unmarshal([]byte(openAPI), &properties); err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: gvr.Resource + "." + gvr.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: gvr.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: gvr.Resource, Kind: kind},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: gvr.Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &properties},
			}},
		},
	}
	definitions := client.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := definitions.Delete(context.Background(), definition.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		within(t, "the kind "+definition.Name+" is gone", func() bool { return !e.served(gvr, kind) && !e.published(gvr, kind) })
	})
	within(t, "the kind "+definition.Name+" is served and published", func() bool { return e.served(gvr, kind) && e.published(gvr, kind) })
}

func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// served tells whether discovery names the kind, and its objects can be listed.
func (e *environment) served(gvr schema.GroupVersionResource, kind string) bool {
	list, err := e.Kube.Discovery().ServerResourcesForGroupVersion(gvr.GroupVersion().String())
	if err != nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
		return false
	}
	_, _, err = e.Kube.Discovery().ServerGroupsAndResources()
	return err == nil
}

func (e *environment) published(gvr schema.GroupVersionResource, kind string) bool {
	text, err := e.Kube.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/" + gvr.GroupVersion().String()).DoRaw(context.Background())
	return err == nil && bytes.Contains(text, []byte(fmt.Sprintf(`"kind":%q`, kind)))
}

// object creates an object of a custom kind.
func (e *environment) object(t *testing.T, gvr schema.GroupVersionResource, kind, namespace, spec string) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(spec), &fields); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(e.CP.Config)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": gvr.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": "user"}, "spec": fields,
	}}
	if _, err := client.Resource(gvr).Namespace(namespace).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// roots executes `pruner roots`.
func (r *runner) roots(t *testing.T, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = app.Run(t.Context(), append([]string{"roots", "--kubeconfig=" + r.kubeconfig}, flags...), &out, &problems)
	return code, out.String(), problems.String()
}

// Behaviour 22: real custom kinds, read with the role of the manifests and with what `pruner roots` adds.
func testCustomRoots(t *testing.T, e *environment) {
	namespace := e.namespace(t)
	e.cleanUp(t, namespace)
	digests := e.stream(t, namespace, "app", 5)
	pruner := e.proxied(t, e.CP.RestConfigFor(account, "system:authenticated"))

	if code, stdout, stderr := pruner.roots(t); code != 0 {
		t.Fatalf("the role of the manifests lacks something on a plain cluster: exit %d\n%s%s", code, stdout, stderr)
	}
	e.define(t, rollouts, "Rollout", ofRollouts)
	e.define(t, notes, "Note", ofNotes)
	e.define(t, fleets, "Fleet", ofFleets)
	e.object(t, rollouts, "Rollout", namespace, `{"workload":{"somewhere":"mirror.example.test/`+namespace+`/app@`+digests[0]+`"}}`)
	e.object(t, fleets, "Fleet", namespace, `{"podTemplate":{"spec":{"containers":[{"name":"a","image":"`+namespace+`/app@`+digests[1]+`"}]}}}`)
	e.object(t, notes, "Note", namespace, `{"text":"mirror.example.test/`+namespace+`/app@`+digests[2]+`"}`)

	code, stdout, stderr := pruner.run(t.Context(), "--confirm")
	if code != 3 || len(pruner.changes()) != 0 || !strings.Contains(stderr, "--exclude-root-kind=fleets.custom.example.com") {
		t.Fatalf("a kind that may not be listed: exit %d, changes %v\n%s%s", code, pruner.changes(), stdout, stderr)
	}
	code, stdout, stderr = pruner.roots(t, "-o", "json")
	for kind, want := range map[string]string{
		"rollouts.argoproj.io":      "rollouts.argoproj.io preset required listable",
		"fleets.custom.example.com": "fleets.custom.example.com discovered required unlistable .spec.podTemplate.spec.containers",
		"notes.custom.example.com":  "",
		"pods":                      "pods built in required listable",
	} {
		if got := lineOf(t, stdout, kind); got != want {
			t.Errorf("pruner roots says %q about %s, want %q", got, kind, want)
		}
	}
	if code != 3 {
		t.Errorf("pruner roots: exit %d, %s", code, stderr)
	}
	code, role, stderr := pruner.roots(t, "-o", "rbac")
	if code != 0 {
		t.Fatalf("pruner roots -o rbac: exit %d, %s", code, stderr)
	}
	e.grant(t, role)
	within(t, "the grant counts", func() bool {
		code, _, _ := pruner.roots(t)
		return code == 0
	})

	code, stdout, stderr = pruner.run(t.Context(), "--confirm")
	if revisions, images := e.left(t, namespace, "app", digests); code != 0 || revisions != "abde" || images != "abde" {
		t.Errorf("exit %d, revisions %q, images %q left; want abde: one of a preset, one of a discovered kind, two newest\n%s%s", code, revisions, images, stdout, stderr)
	}

	// A kind that comes later, with nothing but the name of a field: the role that is printed now replaces the first
	// one, and must not take away what that granted.
	e.define(t, engines, "Engine", ofEngines)
	e.object(t, engines, "Engine", namespace, `{"image":"`+namespace+`/app@`+digests[1]+`"}`)
	if code, stdout, stderr = pruner.run(t.Context(), "--confirm"); code != 3 || !strings.Contains(stderr, "engines.engines.example.com") {
		t.Errorf("a kind with an image alone: exit %d\n%s%s", code, stdout, stderr)
	}
	_, role, _ = pruner.roots(t, "-o", "rbac")
	e.grant(t, role)
	within(t, "the second grant counts", func() bool {
		code, _, _ := pruner.roots(t)
		return code == 0
	})
	code, stdout, stderr = pruner.run(t.Context(), "--confirm", "--exclude-root-kind=fleets.custom.example.com")
	if revisions, _ := e.left(t, namespace, "app", digests); code != 0 || revisions != "abde" {
		t.Errorf("with a kind left out, and the image in another: exit %d, revisions %q left; want abde\n%s%s", code, revisions, stdout, stderr)
	}
	code, stdout, stderr = pruner.run(t.Context(), "--confirm", "--exclude-root-kind=fleets.custom.example.com", "--exclude-root-kind=engines.example.com")
	if revisions, _ := e.left(t, namespace, "app", digests); code != 0 || revisions != "ade" {
		t.Errorf("with both left out: exit %d, revisions %q left; want ade\n%s%s", code, revisions, stdout, stderr)
	}
}

// lineOf describes what `pruner roots -o json` says about a kind.
func lineOf(t *testing.T, text, kind string) string {
	t.Helper()
	var listed struct {
		Kinds []struct {
			Kind, Origin, Reason string
			Required, Listable   bool
		}
	}
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, line := range listed.Kinds {
		if line.Kind != kind {
			continue
		}
		words := []string{line.Kind, line.Origin, "optional", "unlistable"}
		if line.Required {
			words[2] = "required"
		}
		if line.Listable {
			words[3] = "listable"
		}
		if strings.HasPrefix(line.Reason, ".") {
			words = append(words, line.Reason)
		}
		return strings.Join(words, " ")
	}
	return ""
}

// grant applies the ClusterRole and its binding from the YAML.
func (e *environment) grant(t *testing.T, text string) {
	t.Helper()
	documents := strings.Split(text, "---\n")
	if len(documents) != 2 {
		t.Fatalf("%s", text)
	}
	role, binding := &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}
	for i, object := range []any{role, binding} {
		if err := yaml.UnmarshalStrict([]byte(documents[i]), object); err != nil {
			t.Fatal(err)
		}
	}
	_, err := e.Kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if _, err := e.Kube.RbacV1().ClusterRoles().Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		return // bound already
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, err := range []error{
			e.Kube.RbacV1().ClusterRoleBindings().Delete(context.Background(), binding.Name, metav1.DeleteOptions{}),
			e.Kube.RbacV1().ClusterRoles().Delete(context.Background(), role.Name, metav1.DeleteOptions{}),
		} {
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		}
	})
}
