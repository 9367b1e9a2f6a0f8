//go:build component

package apply

import (
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"image.alauda.io/registry/test/controlplane"
)

var shared = controlplane.NewShared()

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func sized(marked bool) *unstructured.Unstructured {
	o := claim("", marked)
	o.SetNamespace("claims")
	o.Object["spec"] = map[string]any{
		"accessModes": []any{"ReadWriteOnce"},
		"resources":   map[string]any{"requests": map[string]any{"storage": "1Gi"}},
	}
	return o
}

// Behaviour 15, with the API server's own idea of preconditions: no request of the operator can change a claim
// but the one that it looked at.
func TestARequestIsBoundToTheClaimThatWasLookedAt(t *testing.T) {
	ctx := t.Context()
	config := shared.Get(t).Config
	kube, client := kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config)
	_, err := kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "claims"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	a, err := New(Options{Client: client, Cache: NewCache(client, "claims", "x=y", 0), FieldManager: manager, OwnedAnnotation: mark})
	if err != nil {
		t.Fatal(err)
	}
	claims := client.Resource(corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims")).Namespace("claims")
	drop := func() {
		t.Helper()
		_, err := claims.Patch(ctx, "data", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err == nil {
			err = claims.Delete(ctx, "data", metav1.DeleteOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	created, sent, err := a.Apply(ctx, sized(true))
	if err != nil || !sent {
		t.Fatalf("create: sent %t, error %v", sent, err)
	}
	if _, err := a.request(ctx, claims, sized(true), nil); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create what exists: %v", err)
	}
	var applied *unstructured.Unstructured
	for range 2 {
		if applied, sent, err = a.Apply(ctx, sized(true)); err != nil {
			t.Fatal(err)
		}
	}
	if sent {
		t.Error("a claim that is as wanted is written again and again")
	}

	drop()
	if _, err := a.request(ctx, claims, sized(true), applied); !apierrors.IsConflict(err) {
		t.Errorf("change what is gone: %v", err)
	}
	if _, err := a.request(ctx, claims, sized(true), created); !apierrors.IsNotFound(err) {
		t.Errorf("take over what is gone: %v", err)
	}
	if _, err := claims.Create(ctx, sized(false), metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.request(ctx, claims, sized(true), applied); !apierrors.IsInvalid(err) {
		t.Errorf("change what took its place: %v", err)
	}
	if _, err := a.request(ctx, claims, sized(true), created); !apierrors.IsConflict(err) {
		t.Errorf("take over what took its place: %v", err)
	}
	if _, sent, err := a.Apply(ctx, sized(true)); err == nil || sent {
		t.Errorf("apply over a foreign claim: sent %t, error %v", sent, err)
	}
	live, err := claims.Get(ctx, "data", metav1.GetOptions{})
	if err != nil || live.GetAnnotations()[mark] != "" {
		t.Errorf("the foreign claim: annotations %v, error %v", live.GetAnnotations(), err)
	}
	drop()
}
