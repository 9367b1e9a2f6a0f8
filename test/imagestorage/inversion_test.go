//go:build component

package imagestorage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "image.alauda.io/api/image/v1"
	imageclient "image.alauda.io/client-go/clientset/versioned"
	"image.alauda.io/registry/manifests"
	"image.alauda.io/registry/test/controlplane"
	"image.alauda.io/registry/test/imageapi"
)

// Behaviour 62. Kube-apiserver has a few seats only, and many more image requests of service accounts
// than that arrive at once, as they do when a cluster starts. Each holds a seat while the server calls
// kube-apiserver again; without a level of their own the inner calls would wait for the outer ones.
func TestImageRequestsDoNotStarveTheirInnerCalls(t *testing.T) {
	cp := controlplane.Start(t, controlplane.WithAPIServerFlags("--max-requests-inflight=8", "--max-mutating-requests-inflight=8"))
	server := imageapi.Start(t, cp)
	imageapi.Apply(t, cp.Config, manifests.ImageAPIServer, "flowcontrol.yaml")
	imageapi.CreateNamespace(t, server.Kube, "busy")
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "builders"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "stream-writer"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:busy"}},
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: binding.RoleRef.Name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{imagev1.GroupName}, Resources: []string{"imagestreams"}, Verbs: []string{"*"}}},
	}
	if _, err := server.Kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Kube.RbacV1().RoleBindings("busy").Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	const clients, each, limit = 40, 5, 60 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	var all errgroup.Group
	for i := range clients {
		config := cp.RestConfigFor(fmt.Sprintf("system:serviceaccount:busy:builder-%d", i), "system:serviceaccounts", "system:serviceaccounts:busy", "system:authenticated")
		client := imageclient.NewForConfigOrDie(config).ImageV1().ImageStreams("busy")
		all.Go(func() error {
			for n := range each {
				stream := &imagev1.ImageStream{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("app-%d-%d", i, n)}}
				if _, err := client.Create(ctx, stream, metav1.CreateOptions{}); err != nil {
					return fmt.Errorf("after %s: %w", time.Since(start).Round(time.Millisecond), err)
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d creations in %s", clients*each, time.Since(start).Round(time.Millisecond))
}
